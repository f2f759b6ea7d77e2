"""/proc/sys: the kernel's settings (kernel/sysctl.c).

Values that nothing in the machine changes are constants; those that it obeys live in ``kernel.sysctl``
(sysctl.py) and can be written by root: a decimal number, EINVAL for anything else or out of range.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.kernel.abi.errno import EINVAL, EPERM, Errno
from machine.kernel.abi.utsname import UTS_RELEASE, UTS_SYSNAME, UTS_VERSION
from machine.kernel.fs.proc import Entry, Text
from machine.kernel.fs.proc_sysctl_fixed import FIXED
from machine.kernel.ipc import msg, sem, shm
from machine.kernel.sysctl import DEFAULTS, RANGES
from machine.kernel.ucount import epoll_max_user_watches, inotify_max_user_watches

if TYPE_CHECKING:
    from machine.kernel.fs.file import file
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import task_struct


def _setting(name: str) -> Entry:
    low, high = RANGES[name]

    def show(kernel: Kernel) -> Text:
        return f"{kernel.sysctl[name]}\n"

    def store(kernel: Kernel, data: bytes) -> None:
        text = data.strip(b" \t\n\0")
        if kernel.current is not None and kernel.current.euid:
            raise Errno(EPERM)
        if not text.isdigit() or not low <= int(text) <= high:
            raise Errno(EINVAL)
        kernel.sysctl[name] = int(text)

    return Entry(0o644, show, store)


def _hostname(kernel: Kernel, data: bytes) -> None:
    """At most 64 bytes, up to the newline (proc_do_uts_string)."""
    kernel.hostname = os.fsdecode(data.split(b"\n")[0][:64])


def _core_pattern(kernel: Kernel, data: bytes) -> None:
    """Up to the newline, at most 127 bytes.  EINVAL for ``|program``: there is nobody to pipe a core to."""
    if kernel.current is not None and kernel.current.euid:
        raise Errno(EPERM)
    if data.startswith(b"|"):
        raise Errno(EINVAL)
    kernel.core_pattern = os.fsdecode(data.split(b"\n")[0].split(b"\0")[0][:127])


def _uuid(raw: bytes) -> str:
    """A random UUID (version 4, RFC 9562) out of 16 bytes."""
    value = bytearray(raw)
    value[6] = value[6] & 0x0F | 0x40
    value[8] = value[8] & 0x3F | 0x80
    text = value.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])) + "\n"


def _fresh_uuid(kernel: Kernel) -> Text:
    return _uuid(kernel.random_bytes(16))


def _boot_id(kernel: Kernel) -> Text:
    return _uuid(kernel.boot_id)


def _ostype(_kernel: Kernel) -> Text:
    return UTS_SYSNAME + "\n"


def _osrelease(_kernel: Kernel) -> Text:
    return UTS_RELEASE + "\n"


def _version(_kernel: Kernel) -> Text:
    return UTS_VERSION + "\n"


def _threads_max(kernel: Kernel) -> Text:
    return f"{kernel.max_threads}\n"


def _min_free(kernel: Kernel) -> Text:
    return f"{kernel.mem.min_free << 2}\n"


def _constant(text: str) -> Callable[[Kernel], Text]:
    return lambda _kernel: text + "\n"


def _tainted(kernel: Kernel) -> Text:
    """Modules that are no part of Linux are loaded: TAINT_OOT_MODULE."""
    return "4096\n" if kernel.modules else "0\n"


def _file_nr(kernel: Kernel) -> Text:
    """Open files, free ones, and how many there may be."""
    opened = {id(filp) for task in kernel.tasks.values() for filp in _files_of(task)}
    return f"{len(opened)}\t0\t9223372036854775807\n"


def _files_of(task: task_struct) -> list[file]:
    files = getattr(task, "files", None)
    return [] if files is None else list(files.fds.values())


def _drop_caches(kernel: Kernel, data: bytes) -> None:
    """1: pages of files that can be read again; 2: what else could be, of which there is nothing (fs/drop_caches.c)."""
    if kernel.current is not None and kernel.current.euid:
        raise Errno(EPERM)
    text = data.strip(b" \t\n\0")
    if text not in (b"1", b"2", b"3", b"4"):
        raise Errno(EINVAL)
    if int(text) & 1:
        kernel.vfs.shrink(1 << 60)


SYSCTLS: dict[str, Entry] = {
    **{f"sys/{name}": Entry(0o444, _constant(text)) for name, text in FIXED.items()},
    "sys/fs/file-nr": Entry(0o444, _file_nr),
    "sys/fs/epoll/max_user_watches": Entry(0o444, lambda kernel: f"{epoll_max_user_watches(kernel)}\n"),
    "sys/fs/inotify/max_user_watches": Entry(0o444, lambda kernel: f"{inotify_max_user_watches(kernel)}\n"),
    "sys/kernel/tainted": Entry(0o444, _tainted),
    "sys/vm/drop_caches": Entry(0o200, _constant("0"), _drop_caches),
    **{f"sys/{name}": _setting(name) for name in DEFAULTS},
    "sys/fs/file-max": Entry(0o444, _constant("9223372036854775807")),
    "sys/vm/min_free_kbytes": Entry(0o444, _min_free),
    "sys/kernel/cap_last_cap": Entry(0o444, _constant("40")),
    "sys/kernel/core_pattern": Entry(0o644, lambda kernel: kernel.core_pattern + "\n", _core_pattern),
    "sys/kernel/domainname": Entry(0o444, _constant("(none)")),
    "sys/kernel/hostname": Entry(0o644, lambda kernel: kernel.hostname + "\n", _hostname),
    "sys/kernel/msgmax": Entry(0o444, _constant(str(msg.MSGMAX))),
    "sys/kernel/msgmnb": Entry(0o444, _constant(str(msg.MSGMNB))),
    "sys/kernel/msgmni": Entry(0o444, _constant(str(msg.MSGMNI))),
    "sys/kernel/ngroups_max": Entry(0o444, _constant("65536")),
    "sys/kernel/osrelease": Entry(0o444, _osrelease),
    "sys/kernel/ostype": Entry(0o444, _ostype),
    "sys/kernel/random/boot_id": Entry(0o444, _boot_id),
    "sys/kernel/random/entropy_avail": Entry(0o444, _constant("256")),
    "sys/kernel/random/uuid": Entry(0o444, _fresh_uuid),
    "sys/kernel/sem": Entry(0o444, _constant(f"{sem.SEMMSL}\t{sem.SEMMNS}\t{sem.SEMOPM}\t{sem.SEMMNI}")),
    "sys/kernel/shmall": Entry(0o444, _constant(str(shm.SHMALL))),
    "sys/kernel/shmmax": Entry(0o444, _constant(str(shm.SHMMAX))),
    "sys/kernel/shmmni": Entry(0o444, _constant("4096")),
    "sys/kernel/threads-max": Entry(0o444, _threads_max),
    "sys/kernel/version": Entry(0o444, _version),
}
