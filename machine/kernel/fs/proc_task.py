"""/proc/PID: one directory a process, and one a thread below its ``task`` (fs/proc/base.c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.errno import EINVAL, EIO, ENOENT, Errno
from machine.kernel.abi.resource import RLIM_INFINITY
from machine.kernel.fs.file import S_IFREG, file, file_operations, inode, super_block
from machine.kernel.fs.proc import (
    DT_DIR,
    DT_LNK,
    DT_REG,
    ProcDirectory,
    ProcFile,
    ProcInode,
    ProcLink,
    Shown,
    TaskEntry,
    Text,
    TextOperations,
    alive,
    must_access,
    shown_or_not_opened,
)
from machine.kernel.fs.proc_fd import FdDirectory
from machine.kernel.fs.proc_net import NetDirectory
from machine.kernel.fs.proc_status import stat, status
from machine.kernel.fs.proc_vm import pagemap, rollup, smaps
from machine.kernel.mm.gup import read_process_vm, write_process_vm
from machine.kernel.task.task import EXIT_ZOMBIE

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import task_struct

_LIMITS = (
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
)


def mm_of(task: task_struct) -> Optional[mm_struct]:
    """The task's address space; None for a zombie, which has given it up."""
    mm = getattr(task, "mm", None)
    return None if mm is None or mm.closed or task.state & EXIT_ZOMBIE else mm


# -- texts --------------------------------------------------------------------------------------


def _maps(task: task_struct) -> Shown:
    mm = mm_of(task)
    return "" if mm is None else (vma.maps_line() + "\n" for vma in mm.next_vmas())


def _smaps(task: task_struct) -> Shown:
    mm = mm_of(task)
    return "" if mm is None else smaps(mm)


def _smaps_rollup(task: task_struct) -> Text:
    mm = mm_of(task)
    return "" if mm is None else rollup(mm)


def _statm(task: task_struct) -> Text:
    """size resident shared text lib data dt, in pages (fs/proc/array.c: proc_pid_statm)."""
    mm = mm_of(task)
    if mm is None:
        return "0 0 0 0 0 0 0\n"
    text = ((mm.end_code + PAGE_SIZE - 1) >> PAGE_SHIFT) - (mm.start_code >> PAGE_SHIFT)
    return f"{mm.total_vm} {mm.rss()} {mm.rss_file} {text} 0 {mm.data_vm + mm.stack_vm} 0\n"


def _area(task: task_struct, start: str, end: str) -> bytes:
    mm = mm_of(task)
    if mm is None:
        return b""
    first, last = getattr(mm, start), getattr(mm, end)
    return mm.read_some(first, last - first)


def _cmdline(task: task_struct) -> Text:
    """argv as it stands in memory.  When the program wrote over its last NUL (setproctitle), the text
    goes on into the environment, up to a NUL (fs/proc/base.c: get_mm_proctitle)."""
    text = _area(task, "arg_start", "arg_end")
    if not text or text.endswith(b"\0"):
        return text
    whole = text + _area(task, "env_start", "env_end")
    return whole[: whole.find(b"\0")] if b"\0" in whole else whole


def _environ(task: task_struct) -> Text:
    return _area(task, "env_start", "env_end")


def _auxv(task: task_struct) -> Text:
    mm = mm_of(task)
    return b"" if mm is None else mm.saved_auxv


def _comm(task: task_struct) -> Text:
    return task.comm + "\n"


def _set_comm(task: task_struct, data: bytes) -> None:
    """At most 15 bytes are kept (comm_write)."""
    task.comm = os.fsdecode(data.rstrip(b"\n").split(b"\0")[0][:15])


def _limit(value: int) -> str:
    return "unlimited" if value == RLIM_INFINITY else str(value)


def _limits(task: task_struct) -> Text:
    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}\n"]
    for (name, unit), (soft, hard) in zip(_LIMITS, task.signal.rlimits, strict=True):
        line = f"{name:<25} {_limit(soft):<20} {_limit(hard):<20} "
        lines.append(f"{line}{unit:<10}\n" if unit else f"{line}\n")
    return "".join(lines)


def _oom_score_adj(task: task_struct) -> Text:
    return f"{task.signal.oom_score_adj}\n"


def _set_oom_score_adj(task: task_struct, data: bytes) -> None:
    """-1000 to 1000, else EINVAL (oom_score_adj_write)."""
    try:
        value = int(data.strip())
    except ValueError:
        raise Errno(EINVAL) from None
    if not -1000 <= value <= 1000:
        raise Errno(EINVAL)
    task.signal.oom_score_adj = value


def _oom_score(task: task_struct) -> Text:
    """Share of memory in thousandths, shifted by oom_score_adj (mm/oom_kill.c: oom_badness)."""
    mm = mm_of(task)
    total = task.kernel.mem.total_frames()
    points = 0 if mm is None else (mm.rss() + mm.tables.table_frames()) * 1000 // total
    return f"{max(0, (points + 1000 + task.signal.oom_score_adj) * 2 // 3)}\n"


def _wchan(task: task_struct) -> Text:
    """The call in which it sleeps, "0" for a task that runs; no newline."""
    return "0" if task.state == 0 or not task.syscall else f"do_{task.syscall}"


def _personality(task: task_struct) -> Text:
    return f"{task.personality:08x}\n"


def _cgroup(_task: task_struct) -> Text:
    return "0::/\n"


def _mounts(task: task_struct) -> Text:
    """EINVAL for a zombie, which has given its namespaces up."""
    if task.state & EXIT_ZOMBIE:
        raise Errno(EINVAL)
    from machine.kernel.fs.proc_misc import mounts

    return mounts(task.kernel, task)


def _mountinfo(task: task_struct) -> Text:
    """EINVAL for a zombie."""
    if task.state & EXIT_ZOMBIE:
        raise Errno(EINVAL)
    from machine.kernel.fs.proc_misc import mountinfo

    return mountinfo(task.kernel, task)


def _id_map(_task: task_struct) -> Text:
    """Every id is itself: there is one user namespace."""
    return f"{0:>10} {0:>10} {0xFFFFFFFF:>10}\n"


def _setgroups(_task: task_struct) -> Text:
    return "allow\n"


def _timerslack(task: task_struct) -> Text:
    """Nanoseconds (PR_SET_TIMERSLACK)."""
    return f"{task.timer_slack}\n"


FILES: dict[str, TaskEntry] = {
    "timerslack_ns": TaskEntry(0o666, _timerslack),
    "auxv": TaskEntry(0o400, _auxv),
    "cgroup": TaskEntry(0o444, _cgroup),
    "cmdline": TaskEntry(0o444, _cmdline),
    "comm": TaskEntry(0o644, _comm, _set_comm),
    "environ": TaskEntry(0o400, _environ),
    "gid_map": TaskEntry(0o444, _id_map),
    "limits": TaskEntry(0o444, _limits),
    "maps": TaskEntry(0o444, _maps),
    "mountinfo": TaskEntry(0o444, _mountinfo),
    "mounts": TaskEntry(0o444, _mounts),
    "oom_score": TaskEntry(0o444, _oom_score),
    "oom_score_adj": TaskEntry(0o644, _oom_score_adj, _set_oom_score_adj),
    "personality": TaskEntry(0o400, _personality),
    "setgroups": TaskEntry(0o444, _setgroups),
    "smaps": TaskEntry(0o444, _smaps),
    "smaps_rollup": TaskEntry(0o444, _smaps_rollup),
    "stat": TaskEntry(0o444, stat),
    "statm": TaskEntry(0o444, _statm),
    "status": TaskEntry(0o444, status),
    "uid_map": TaskEntry(0o444, _id_map),
    "wchan": TaskEntry(0o444, _wchan),
}
_GUARDED = (_auxv, _environ, _maps, _smaps, _smaps_rollup)
"""Files that open only for who may look at the process (proc_mem_open)."""
LINKS = ("cwd", "exe", "root")


class _GuardedText(TextOperations):
    def __init__(self, task: task_struct) -> None:
        super().__init__()
        self.task = task

    def open(self, node: Any, filp: file) -> int:
        must_access(self.task)
        return 0


# -- files that are no texts --------------------------------------------------------------------


class _MemOperations(file_operations):
    """/proc/PID/mem: the process's memory at the position, as a debugger reaches it; EIO elsewhere (mem_rw)."""

    def open(self, node: Any, filp: file) -> int:
        """EACCES (mem_open)."""
        must_access(node.task)
        return 0

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        mm = self._mm(filp)
        if mm is None or not count:
            return b""
        data = read_process_vm(mm, position, count)
        if not data:
            raise Errno(EIO)
        return data

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        mm = self._mm(filp)
        if mm is None or not data:
            return 0
        done = write_process_vm(mm, position, data)
        if not done:
            raise Errno(EIO)
        return done

    def llseek(self, filp: file, offset: int, whence: int) -> int:
        """Positions are addresses: SEEK_SET and SEEK_CUR, any 64-bit value (mem_lseek)."""
        if whence == 1:
            offset += filp.f_pos
        elif whence != 0:
            return -EINVAL
        filp.f_pos = offset & (1 << 64) - 1
        return filp.f_pos

    @staticmethod
    def _mm(filp: file) -> Optional[mm_struct]:
        node = filp.f_inode
        assert isinstance(node, _TaskFile)
        return mm_of(node.task)


class _PagemapOperations(_MemOperations):
    """/proc/PID/pagemap: 8 bytes a page, at 8 times the page number; EINVAL off that grid (pagemap_read)."""

    write_iter = None  # type: ignore[assignment]

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        if position & 7 or count & 7:
            raise Errno(EINVAL)
        mm = self._mm(filp)
        return b"" if mm is None else pagemap(mm, position >> 3, count >> 3)


class _TaskFile(ProcInode):
    """A file of /proc/PID with operations of its own."""

    def __init__(self, sb: super_block, path: str, mode: int, fop: file_operations, task: task_struct) -> None:
        super().__init__(task.kernel, sb, path, S_IFREG | mode, fop)
        self.task = task
        self.own(task)


SPECIAL: dict[str, tuple[int, file_operations]] = {
    "mem": (0o600, _MemOperations()),
    "pagemap": (0o400, _PagemapOperations()),
}


# -- directories ----------------------------------------------------------------------------------


class TaskDirectory(ProcDirectory):
    """/proc/PID, or /proc/PID/task/TID."""

    def __init__(self, kernel: Kernel, sb: super_block, path: str, task: task_struct) -> None:
        super().__init__(kernel, sb, path)
        self.task = task
        self.is_thread = "/task/" in path
        self.own(task)

    def names(self) -> list[tuple[str, int]]:
        alive(self.task)
        directories = ["fd", "fdinfo", "net"] if self.is_thread else ["fd", "fdinfo", "net", "task"]
        return [
            *((name, DT_DIR) for name in directories),
            *((name, DT_REG) for name in (*FILES, *SPECIAL)),
            *((name, DT_LNK) for name in LINKS),
        ]

    def child(self, name: str) -> Optional[inode]:
        task, path = alive(self.task), self.below(name)
        if name in FILES:
            return self._text(path, FILES[name])
        if name in SPECIAL:
            mode, operations = SPECIAL[name]
            return _TaskFile(self.i_sb, path, mode, operations, task)
        if name in LINKS:
            link = ProcLink(self.kernel, self.i_sb, path, lambda: _seen(task, name)[1], lambda: _seen(task, name))
            link.own(task)
            return link
        if name in ("fd", "fdinfo"):
            return FdDirectory(self.kernel, self.i_sb, path, task, name == "fdinfo")
        if name == "net":
            return NetDirectory(self.kernel, self.i_sb, path)
        if name == "task" and not self.is_thread:
            return _ThreadsDirectory(self.kernel, self.i_sb, path, task)
        return None

    def _text(self, path: str, entry: TaskEntry) -> inode:
        task, store = self.task, entry.store
        node = ProcFile(
            self.kernel,
            self.i_sb,
            path,
            entry.mode,
            lambda: entry.show(alive(task)),
            None if store is None else lambda data: store(alive(task), data),
        )
        node.own(task)
        if entry.show in (_mounts, _mountinfo):
            node.i_fop = shown_or_not_opened
        elif entry.show in _GUARDED:
            node.i_fop = _GuardedText(task)
        return node


def _seen(task: task_struct, name: str) -> tuple[inode, str]:
    must_access(task)
    return _led(task, name)


def _led(task: task_struct, name: str) -> tuple[inode, str]:
    """Where the magic links cwd, exe and root lead: ENOENT for a zombie (proc_exe_link)."""
    alive(task)
    fs: Any = getattr(task, "fs", None)
    if name == "exe":
        if task.exe is None or mm_of(task) is None:
            raise Errno(ENOENT)
        return task.exe.f_inode, task.exe.f_path
    if fs is None or task.state & EXIT_ZOMBIE:
        raise Errno(ENOENT)
    where = fs.cwd if name == "cwd" else fs.root
    return where.d_inode, where.path()


class _ThreadsDirectory(ProcDirectory):
    """/proc/PID/task: the threads of the process."""

    def __init__(self, kernel: Kernel, sb: super_block, path: str, leader: task_struct) -> None:
        super().__init__(kernel, sb, path)
        self.tgid = leader.tgid
        self.own(leader)

    def getattr(self) -> None:
        """The link count is 2 and one a thread (fs/proc/base.c: proc_task_getattr)."""
        self.i_nlink = 2 + len(self.names())

    def names(self) -> list[tuple[str, int]]:
        return [(str(t.pid), DT_DIR) for t in sorted(self.kernel.tasks.values(), key=_pid) if t.tgid == self.tgid]

    def child(self, name: str) -> Optional[inode]:
        task = self.kernel.tasks.get(int(name)) if name.isdecimal() else None
        if task is None or task.tgid != self.tgid:
            return None
        return TaskDirectory(self.kernel, self.i_sb, self.below(name), task)


def _pid(task: task_struct) -> int:
    return task.pid
