"""Where a core goes, what it is called, and whether there is one (fs/coredump.c: do_coredump).

`nopage run --core DIR` puts cores into a directory of the host and lifts RLIMIT_CORE for the programs that it starts.
Without it a program that raises its own limit gets its core where Linux puts it: in the guest, under the name that
/proc/sys/kernel/core_pattern gives, in the process's current directory.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Optional

from machine.events import Signal
from machine.hardware.cpu import RIP
from machine.kernel.abi.errno import EEXIST, EFBIG, Errno
from machine.kernel.abi.resource import RLIM_INFINITY, RLIMIT_CORE
from machine.kernel.fs.file import O_CREAT, O_LARGEFILE, O_NOFOLLOW, O_RDWR, S_IFMT, S_IFREG
from machine.kernel.fs.namei import open_file
from machine.kernel.fs.read_write import write_bytes
from machine.observe.corefile import CoreFile
from machine.observe.fatal import ReadFile, why_line

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.siginfo import siginfo
    from machine.kernel.task.task import Task

MIN_COREDUMP = 4096
"""RLIMIT_CORE below a page: no core (`elf_format.min_coredump`)."""
CORENAME_MAX_SIZE = 128
MOST_FAILED = 100
"""Of so many processes it is kept why they have no core: there may be any number of them."""
CORE_LEAST = 1 << 16
"""What a core counts for even if there is nothing in it: names and inodes take room too."""


def core_name(kernel: Kernel, task: Task, signo: int, pattern: str) -> str:
    """`pattern` filled in (format_corename): %p %P %i %I %u %g %d %s %t %h %e %f %E %c %%; others vanish."""
    exe = getattr(task.exe, "f_path", "")
    values = {
        "%": "%", "p": task.tgid, "P": task.tgid, "i": task.pid, "I": task.pid, "u": task.uid, "g": task.gid,
        "d": task.mm.dumpable, "s": signo, "t": kernel.clock.realtime_ns() // 10**9, "h": _escaped(kernel.hostname),
        "e": _escaped(task.comm), "f": _escaped(exe.rsplit("/", 1)[-1]), "E": _escaped(exe),
        "c": task.signal.rlimits[RLIMIT_CORE][0],
    }  # fmt: skip
    name, rest = "", pattern
    while rest:
        before, percent, rest = rest.partition("%")
        name += before
        if percent and rest:
            name += str(values.get(rest[0], ""))
            rest = rest[1:]
    if kernel.sysctl["kernel/core_uses_pid"] and "%p" not in pattern:
        name += f".{task.tgid}"
    return name


def _escaped(text: str) -> str:
    """A name inside a file name: no way up or down (cn_esc_printf)."""
    return "!" if text in (".", "..") else text.replace("/", "!")


class CoreDumper:
    """`kernel.coredump`: called with the dying thread and its signal; True when a core was written.

    `read_file` gives a file of the guest, for symbols.  `directory`: of the host, with the `pattern` of the names
    there, or None for the guest's own files, where the guest's core_pattern rules.  `max_bytes`: how much cores on
    the host may take in all.  `written` has the core of each process, by pid.
    """

    def __init__(
        self, kernel: Kernel, read_file: ReadFile, directory: Optional[str], pattern: str, max_bytes: Optional[int]
    ) -> None:
        self.kernel = kernel
        self.read_file = read_file
        self.left = max_bytes
        self.directory = directory
        self.pattern = pattern
        self.written: dict[int, str] = {}
        self.failed: dict[int, str] = {}
        """Why there is no core of a process, by pid."""

    def __call__(self, task: Task, info: siginfo) -> bool:
        limit = task.signal.rlimits[RLIMIT_CORE][0]
        if task.mm.dumpable != 1 or limit < MIN_COREDUMP:
            return False
        pattern = self.kernel.core_pattern if self.directory is None else self.pattern
        name = core_name(self.kernel, task, info.signo, pattern)
        if not name:
            return False
        core = CoreFile(self.kernel, task, info, self._why(task, info))
        try:
            path = self._to_host(core, name, limit) if self.directory is not None else self._to_guest(core, task, name)
        except (OSError, Errno) as error:
            why = f"{name}: {os.strerror(error.errno or 0)}"
            self.kernel.printk(f"{task.comm}[{task.tgid}]: no core: {why}", 4)
            if len(self.failed) < MOST_FAILED:
                self.failed[task.tgid] = why
            return False
        self.written[task.tgid] = path
        return True

    def _why(self, task: Task, info: siginfo) -> str:
        event = Signal(task.pid, task.comm, info.signo, info.code, info.address, "core", self.kernel.cpu.regs[RIP])
        return why_line(self.kernel, task.mm, event, self.read_file)

    def _to_host(self, core: CoreFile, name: str, limit: int) -> str:
        assert self.directory is not None
        path = os.path.join(self.directory, name.rsplit("/", 1)[-1])
        if self.left is not None:
            self.left -= CORE_LEAST
            if self.left < 0:
                raise OSError(EFBIG, os.strerror(EFBIG))
        descriptor = _fresh(path)
        try:
            for position, data in core.pieces():
                if self.left is not None:
                    self.left -= len(data)
                    if self.left < 0:
                        raise OSError(EFBIG, os.strerror(EFBIG))
                _write(descriptor, _cut(data, position, limit), position)
            os.ftruncate(descriptor, min(core.size, limit))
        except BaseException:  # a part of a core is none
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)
        return path

    def _to_guest(self, core: CoreFile, task: Task, name: str) -> str:
        limit = task.signal.rlimits[RLIMIT_CORE][0]
        opened = open_file(self.kernel, task, name, O_CREAT | O_RDWR | O_NOFOLLOW | O_LARGEFILE, 0o600 & ~task.fs.umask)
        try:
            node = opened.f_inode
            if node.i_mode & S_IFMT != S_IFREG or node.i_nlink != 1 or node.i_uid != task.fsuid:
                raise PermissionError(1, "")
            node.truncate(0)
            for position, data in core.pieces():
                piece = _cut(data, position, limit)
                while piece:
                    done = write_bytes(opened, piece, position)
                    piece, position = piece[done:], position + done
            node.truncate(min(core.size, limit))
            return opened.f_path
        finally:
            opened.put()


def _write(descriptor: int, data: bytes, position: int) -> None:
    """All of it: the host takes a part where the disk or the limit on files ends.  OSError."""
    while data:
        done = os.pwrite(descriptor, data, position)
        data, position = data[done:], position + done


def _fresh(path: str) -> int:
    """A descriptor for a new file of the host.  Only a core is replaced: the guest has a say in the name.  OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        descriptor = os.open(path, flags & ~os.O_CREAT)
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and is_core(os.pread(descriptor, 18, 0)):
        os.ftruncate(descriptor, 0)
        return descriptor
    os.close(descriptor)
    raise FileExistsError(EEXIST, os.strerror(EEXIST), path)


def is_core(start: bytes) -> bool:
    """Whether a file that starts so is an ELF core, or empty."""
    return not start or (start[:4] == b"\x7fELF" and start[16:18] == b"\x04\0")


def _cut(data: bytes, position: int, limit: int) -> bytes:
    """What of `data` lies below the limit: a core that is too large ends there."""
    return data if limit == RLIM_INFINITY else data[: max(0, limit - position)]
