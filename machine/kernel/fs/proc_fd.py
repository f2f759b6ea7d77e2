"""/proc/PID/fd and /proc/PID/fdinfo: the open files of a process (fs/proc/fd.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import ENOENT, Errno
from machine.kernel.fs.file import FMODE_READ, FMODE_WRITE, file, inode, super_block
from machine.kernel.fs.proc import (
    DT_LNK,
    DT_REG,
    DirOperations,
    ProcDirectory,
    ProcFile,
    ProcLink,
    Text,
    alive,
    must_access,
    shown_or_not_opened,
)

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import task_struct


class _SeenDirectory(DirOperations):
    """Of a directory that opens for those who may look at its process (fs/proc/fd.c: proc_open_fdinfo)."""

    def open(self, node: Any, filp: file) -> int:
        must_access(node.task)
        return 0


_seen_directory = _SeenDirectory()


class FdDirectory(ProcDirectory):
    """/proc/PID/fd, one magic link an open file, and /proc/PID/fdinfo with its position and flags."""

    def __init__(self, kernel: Kernel, sb: super_block, path: str, task: task_struct, info: bool) -> None:
        super().__init__(kernel, sb, path, 0o555 if info else 0o500)
        self.task = task
        self.info = info
        self.own(task)
        if info:
            self.i_fop = _seen_directory

    def lets_in(self, task: task_struct) -> bool:
        """Its own threads may always look, whoever owns it (proc_fd_permission)."""
        return task.signal is self.task.signal

    def _fds(self) -> dict[int, file]:
        files: Any = getattr(alive(self.task), "files", None)
        return {} if files is None else files.fds

    def names(self) -> list[tuple[str, int]]:
        return [(str(fd), DT_REG if self.info else DT_LNK) for fd in sorted(self._fds())]

    def getattr(self) -> None:
        """The directory's size is the number of open files (proc_fd_getattr)."""
        self.i_size = 0 if self.info else len(self._fds())

    def child(self, name: str) -> Optional[inode]:
        if not name.isdecimal() or (name != "0" and name.startswith("0")):
            return None
        fd = int(name)
        filp = self._fds().get(fd)
        if filp is None:
            return None
        path = self.below(name)
        if self.info:
            shown = ProcFile(self.kernel, self.i_sb, path, 0o444, lambda: self._describe(fd))
            shown.i_fop = shown_or_not_opened
            return shown
        mode = (0o500 if filp.f_mode & FMODE_READ else 0) | (0o300 if filp.f_mode & FMODE_WRITE else 0)
        link = ProcLink(self.kernel, self.i_sb, path, lambda: self._led(fd)[1], lambda: self._led(fd), mode)
        link.i_size = 64
        link.own(self.task)
        return link

    def _open(self, fd: int) -> file:
        filp = self._fds().get(fd)
        if filp is None:
            raise Errno(ENOENT)
        return filp

    def _led(self, fd: int) -> tuple[inode, str]:
        filp = self._open(fd)
        must_access(self.task)
        return filp.f_inode, filp.f_path

    def _describe(self, fd: int) -> Text:
        filp = self._open(fd)
        must_access(self.task)
        cloexec = 0o2000000 if fd in self.task.files.cloexec else 0
        node = filp.f_inode
        text = f"pos:\t{filp.f_pos}\nflags:\t0{filp.f_flags | cloexec:o}\nmnt_id:\t0\nino:\t{node.i_ino}\n"
        more = getattr(filp.f_op, "show_fdinfo", None)
        return text if more is None else text + more(filp)
