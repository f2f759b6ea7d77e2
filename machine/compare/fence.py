"""Runs one program natively behind a fence; a script of its own, started with ``python -I -S fence.py SPEC``.

The program gets its own mounts (everything read-only but its working directory and fresh /tmp, /var/tmp and /dev/shm),
its own process numbers, host name, System V objects and a network without interfaces: namespaces(7), in a user
namespace unless we are root.
Process 1 of the fence is this script: it reaps, waits, and takes everything down when it ends.  SPEC is JSON:

argv, env, cwd: what to run.  fence: whether to make one.  binds: [from, to, writable], mounted in this order.
report: a descriptor for the answer, JSON: {"status": N} as wait(2) gives it, {"exec": errno} or {"fence": "why not"}.
limits: [soft, hard] by RLIMIT_ number, as far as we may.  hostname: the fence's.
settle: seconds that processes that outlive the program have.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
import time
from typing import Any, NoReturn

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36
SYS_MOUNT_SETATTR, MOUNT_ATTR_RDONLY, AT_FDCWD, AT_RECURSIVE = 442, 1, -100, 0x8000
FRESH = ("/tmp", "/var/tmp", "/dev/shm")
libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> None:
    """A function of the C library that returns -1 on error.  OSError with its name."""
    if getattr(libc, name)(*arguments) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    """mount(2)."""
    call("mount", source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags), None)


def set_writable(path: str, writable: bool, recursive: bool) -> None:
    """mount_setattr(2) of one mount, or of all below it."""
    bit = (0, MOUNT_ATTR_RDONLY) if writable else (MOUNT_ATTR_RDONLY, 0)
    attributes = (ctypes.c_uint64 * 4)(*bit, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    call("syscall", SYS_MOUNT_SETATTR, AT_FDCWD, path.encode(), flags, attributes, ctypes.c_size_t(32))


def new_namespaces() -> None:
    """Leave the host's; what is forked from now on is in the new process namespace."""
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    call("unshare", flags if uid == 0 else flags | CLONE_NEWUSER)
    if uid != 0:
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as stream:
                stream.write(line)


def make_mounts(binds: list[list[Any]]) -> None:
    """The fence's view of the files, built while the sources of the binds can still be seen."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    sources = [(os.open(source, os.O_PATH), os.path.isdir(source)) for source, _target, _writable in binds]
    set_writable("/", False, True)
    mount("proc", "/proc", "proc", 0)
    for each in FRESH:
        if os.path.isdir(each):
            mount("tmpfs", each, "tmpfs", 0)
            os.chmod(each, 0o1777)
    for (fd, is_directory), (_source, target, writable) in zip(sources, binds, strict=True):
        if not os.path.lexists(target):
            if is_directory:
                os.makedirs(target)
            else:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        mount(f"/proc/self/fd/{fd}", target, None, MS_BIND | MS_REC)
        set_writable(target, writable, False)
        os.close(fd)


def set_limit(limit: int, soft: int, hard: int) -> None:
    """setrlimit(2); what we may not raise stays."""
    if limit == resource.RLIMIT_NPROC and os.getuid() != 0:
        return  # counts all processes of the user, the host's too
    unlimited = resource.RLIM_INFINITY
    allowed = resource.getrlimit(limit)[1]
    hard = unlimited if hard >= 1 << 63 else hard
    soft = unlimited if soft >= 1 << 63 else soft
    try:
        resource.setrlimit(limit, (soft, hard))
    except (ValueError, OSError):
        if allowed == unlimited or (soft != unlimited and soft <= allowed):
            resource.setrlimit(limit, (soft, allowed))


def execute(spec: dict[str, Any]) -> NoReturn:
    """Become the program."""
    os.setsid()
    os.umask(0o022)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one processor, as there
    for limit, (soft, hard) in enumerate(spec["limits"]):
        set_limit(limit, soft, hard)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(spec["cwd"])
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except OSError as error:
        answer(spec, {"exec": error.errno})
    os._exit(127)


def answer(spec: dict[str, Any], what: dict[str, Any]) -> None:
    """Tell who started us."""
    os.write(spec["report"], json.dumps(what).encode() + b"\n")


def supervise(spec: dict[str, Any]) -> NoReturn:
    """Start the program and reap until it has ended; then the others have a little time, and the fence goes."""
    program = os.fork()
    if program == 0:
        execute(spec)
    for fd in (0, 1, 2):
        os.close(fd)  # so that the readers of its output see the end
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == program:
            break
    answer(spec, {"status": status})
    deadline = time.monotonic() + spec["settle"]
    try:
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.002)
    except ChildProcessError:
        os._exit(0)
    try:
        os.killpg(program, signal.SIGKILL)  # the fence's end kills the rest anyway
    except ProcessLookupError:
        pass
    os._exit(0)


def main() -> None:
    """Make the fence, fork its process 1, wait for it."""
    spec = json.loads(sys.argv[1])
    os.set_inheritable(spec["report"], False)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if not spec["fence"]:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        supervise(spec)
    try:
        new_namespaces()
    except OSError as error:
        answer(spec, {"fence": error.args[1]})
        return
    first = os.fork()
    if first == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_NAME, b"init", 0, 0, 0)
        try:
            socket.sethostname(spec["hostname"])
            make_mounts(spec["binds"])
        except OSError as error:
            answer(spec, {"fence": error.args[1] if error.filename is None else str(error)})
            os._exit(1)
        supervise(spec)
    for fd in (0, 1, 2):
        os.close(fd)
    os.waitpid(first, 0)


if __name__ == "__main__":
    main()
