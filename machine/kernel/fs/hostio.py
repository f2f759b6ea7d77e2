"""The guest's standard files: descriptors of the host.  Regular files among them: hostregular.py."""

from __future__ import annotations

import fcntl
import os
import stat
import termios
from typing import TYPE_CHECKING, Any, Optional, Union

from machine.kernel.abi.errno import EACCES, EFAULT, EINVAL, ENOTTY, EPIPE, Errno
from machine.kernel.abi.signal import SIGPIPE, SIGTTIN, SIGTTOU
from machine.kernel.fs import nowait
from machine.kernel.fs.anon import anon_inode
from machine.kernel.fs.buffers import spend_output
from machine.kernel.fs.file import FMODE_READ, FMODE_WRITE, O_NONBLOCK, file, file_operations, inode
from machine.kernel.fs.hostfs import host_error
from machine.kernel.fs.hostregular import HostFile, read_at, seek_alone, write_at
from machine.kernel.fs.namei import Dentry
from machine.kernel.fs.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, poll_table

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

TCGETS, TCSETS, TCGETA, TCSETA, TCSBRK, TCXONC, TCFLSH, TIOCOUTQ, TIOCGWINSZ, TIOCSWINSZ, FIONREAD, TCSBRKP = (
    0x5401, 0x5402, 0x5405, 0x5406, 0x5409, 0x540A, 0x540B, 0x5411, 0x5413, 0x5414, 0x541B, 0x5425,
)  # fmt: skip
TCGETS2, TCSETS2, TIOCGETD = 0x802C542A, 0x402C542B, 0x5424
TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCNOTTY, TIOCGSID = 0x540E, 0x540F, 0x5410, 0x5422, 0x5429
_TERMIOS, _TERMIOS2, _TERMIO, _WINSIZE = 36, 44, 18, 8
_QUESTIONS = {
    TCGETS: _TERMIOS, TCGETS2: _TERMIOS2, TCGETA: _TERMIO, TIOCGWINSZ: _WINSIZE, TIOCOUTQ: 4, TIOCGETD: 4,
}  # fmt: skip
"""What is asked of the host's terminal: command -> bytes of the answer."""
_SETTINGS = {
    **{TCSETS + when: _TERMIOS for when in (0, 1, 2)},
    **{TCSETS2 + when: _TERMIOS2 for when in (0, 1, 2)},
    **{TCSETA + when: _TERMIO for when in (0, 1, 2)},
    TIOCSWINSZ: _WINSIZE,
}
_WAYS = frozenset((TCSBRK, TCSBRKP, TCXONC, TCFLSH))
"""Commands whose argument is a number."""
JOB_CONTROL = frozenset((TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCNOTTY, TIOCGSID))
TOSTOP = 0x100
_EAGAIN_LATER = 1_000_000
"""A descriptor that says EAGAIN and is not pollable is tried again after a millisecond."""
_ROOM_LATER = 10_000_000
"""One that has some room, but not enough, after so many nanoseconds."""


class HostDescriptor(anon_inode):
    """A descriptor of the host process: what it is (terminal, pipe, file) shows in fstat."""

    def __init__(self, kernel: Kernel, fd: int) -> None:
        super().__init__(kernel, stat.S_IFREG, host_operations, "hostio")
        self.kernel = kernel
        self.fd = fd
        self.is_tty: bool = kernel.host(os.isatty, fd)
        self.flags: int = kernel.host(_flags, fd)
        """How the user's shell opened it: O_ACCMODE, and O_APPEND for ``>>``."""
        self.waits = False
        """Whether the host's read or write of it may wait."""
        self.pushed = b""
        """Bytes that were read and could not be delivered."""
        self.getattr()
        self.waits = self.is_tty or stat.S_ISFIFO(self.i_mode) or stat.S_ISSOCK(self.i_mode)

    def getattr(self) -> None:
        info = self.kernel.host(os.fstat, self.fd)
        self.i_mode, self.i_uid, self.i_gid, self.i_nlink = info.st_mode, info.st_uid, info.st_gid, info.st_nlink
        self.i_rdev, self.i_size, self.i_blocks = info.st_rdev, info.st_size, info.st_blocks
        self.i_atime, self.i_mtime, self.i_ctime = info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns

    def truncate(self, length: int) -> None:
        """A redirection to a file of the host may be truncated: the user gave it for writing."""
        try:
            self.kernel.host(os.ftruncate, self.fd, length)
        except OSError as failure:
            raise host_error(failure) from None


class HostOperations(file_operations):
    """Reads and writes of a host descriptor; tasks sleep, the machine does not."""

    def open(self, node: inode, filp: file) -> int:
        """/dev/stdin and /proc/self/fd/N: the same descriptor again; of a regular file, another position.  EACCES for
        more than the user's shell opened it for."""
        host: Any = node
        more = filp.f_mode & ~((host.flags & os.O_ACCMODE) + 1)
        return -EACCES if stat.S_ISREG(node.i_mode) and more & (FMODE_READ | FMODE_WRITE) else 0

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        node: Any = filp.f_inode
        if node.is_tty:
            _check_background(node, SIGTTIN)
        if node.pushed:
            data, node.pushed = node.pushed[:count], node.pushed[count:]
            return bytes(data)
        if stat.S_ISREG(node.i_mode):
            return read_at(node, count, position)
        while True:
            self._ready(node, filp, False)
            try:
                read = nowait.read if node.waits else os.read
                return bytes(node.kernel.host(read, node.fd, min(count, 1 << 20)))
            except BlockingIOError:  # somebody else was quicker
                node.kernel.sched.wait_host_fd(node.fd, timeout_ns=_EAGAIN_LATER)
            except OSError as failure:
                raise host_error(failure) from None

    def unread(self, filp: file, data: bytes) -> None:
        """Put back what the reader's memory could not take: the next read finds it here."""
        node: Any = filp.f_inode
        node.pushed = data + node.pushed

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        node: Any = filp.f_inode
        done, refused = 0, False
        spend_output(node.kernel, len(data))
        if stat.S_ISREG(node.i_mode):
            return write_at(node, filp, data, position)
        if node.is_tty:
            _check_background(node, SIGTTOU)
        while done < len(data):
            piece = data[done : done + (1 << 20)]
            try:
                done += node.kernel.host(nowait.write if node.waits else os.write, node.fd, piece)
            except BlockingIOError:
                if filp.f_flags & O_NONBLOCK:
                    if done:
                        break
                    raise Errno(11) from None
                try:
                    _wait_for_room(node, refused)
                    refused = not refused
                    continue
                except Errno:
                    if done:
                        break
                    raise
            except OSError as failure:
                if failure.errno == EPIPE:
                    _broken_pipe(node.kernel)
                if done:
                    break
                raise host_error(failure) from None
            refused = False
        return done

    @staticmethod
    def _ready(node: Any, filp: file, write: bool) -> None:
        """Sleep until a terminal, pipe or socket has something; EAGAIN with O_NONBLOCK."""
        while not _poll_now(node, write):
            if filp.f_flags & O_NONBLOCK:
                raise Errno(11)
            node.kernel.sched.wait_host_fd(node.fd, write)

    def llseek(self, filp: file, offset: int, whence: int) -> int:
        """The host's own position; ESPIPE for terminals and pipes, as the host says."""
        node: Any = filp.f_inode
        if stat.S_ISREG(node.i_mode) and not isinstance(filp, HostFile):
            filp.f_pos = seek_alone(node, filp.f_pos, offset, whence)
            return filp.f_pos
        try:
            filp.f_pos = node.kernel.host(os.lseek, node.fd, offset, whence)
        except OSError as failure:
            return -(failure.errno or EINVAL)
        return filp.f_pos

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        node: Any = filp.f_inode
        if table is not None:
            if table.key & (POLLIN | POLLRDNORM):
                table.wait(node.kernel.sched.host_queue(node.fd))
            if table.key & (POLLOUT | POLLWRNORM):
                table.wait(node.kernel.sched.host_queue(node.fd, True))
        return _poll_mask(node)

    def fsync(self, filp: file, datasync: int) -> int:
        node: Any = filp.f_inode
        try:
            node.kernel.host(os.fsync, node.fd)
        except OSError as failure:
            return -(failure.errno or EINVAL)
        return 0

    def ioctl(self, node: inode, filp: file, cmd: int, arg: int) -> int:
        """What programs ask of a terminal is passed to the host's; ENOTTY for anything else."""
        host: Any = node
        kernel = host.kernel
        task = kernel.current
        if cmd == FIONREAD and not stat.S_ISREG(node.i_mode):
            data = _host_ioctl(host, cmd, bytes(4))
        elif not host.is_tty:
            return -ENOTTY
        elif cmd in _QUESTIONS:
            data = _host_ioctl(host, cmd, bytes(_QUESTIONS[cmd]))
        elif cmd in _SETTINGS or cmd in _WAYS:
            if cmd != TIOCSWINSZ:
                _check_background(host, SIGTTOU, setting=True)
            _host_ioctl(host, cmd, task.mm.copy_from_user(arg, _SETTINGS[cmd]) if cmd in _SETTINGS else arg)
            return 0
        elif cmd in JOB_CONTROL:
            from machine.kernel.tty.tty_jobctrl import jobctrl_ioctl

            terminal = kernel.vfs.host_tty
            return jobctrl_ioctl(terminal, terminal, cmd, arg, bool(filp.f_mode & FMODE_READ))
        else:
            return -ENOTTY
        task.mm.copy_to_user(arg, data)
        return 0


host_operations = HostOperations()


def _check_background(node: HostDescriptor, signo: int, setting: bool = False) -> None:
    """Job control on the host's terminal: a background job's read and settings, and with TOSTOP its writing."""
    vfs = node.kernel.vfs
    task = node.kernel.current
    if not vfs.foreground or task is None or task.signal.pgrp == vfs.foreground or task.signal.tty is not vfs.host_tty:
        return
    if signo == SIGTTOU and not setting and not node.kernel.host(_local_modes, node.fd) & TOSTOP:
        return
    from machine.kernel.tty.tty_jobctrl import tty_check_change

    tty_check_change(vfs.host_tty, signo)


def _local_modes(fd: int) -> int:
    """Of a terminal; none once it has gone: the write says so."""
    try:
        modes: int = termios.tcgetattr(fd)[3]
        return modes
    except termios.error:
        return 0


def _host_ioctl(node: Any, cmd: int, data: Union[bytes, int]) -> bytes:
    """An ioctl of the host on one of the descriptors that the user gave us."""
    try:
        answer = node.kernel.host(fcntl.ioctl, node.fd, cmd, data)
        return answer if isinstance(answer, bytes) else b""
    except (OSError, termios.error) as failure:
        raise Errno(failure.errno if isinstance(failure, OSError) and failure.errno else EFAULT) from None


def _poll_mask(node: Any) -> int:
    mask: int = node.kernel.host(_ask_poll, node.fd)
    return mask


def _ask_poll(fd: int) -> int:
    import select

    poller = select.poll()
    poller.register(fd, POLLIN | POLLOUT)
    ready = poller.poll(0)
    mask = ready[0][1] if ready else 0
    if mask & POLLIN:
        mask |= POLLRDNORM
    if mask & POLLOUT:
        mask |= POLLWRNORM
    return mask


def _poll_now(node: Any, write: bool) -> bool:
    return bool(_poll_mask(node) & ((POLLOUT | POLLERR) if write else (POLLIN | POLLHUP | POLLERR)))


def _wait_for_room(node: HostDescriptor, again: bool) -> None:
    """`again`: it said that it has room, and has too little for what is to be written at once."""
    sched = node.kernel.sched
    if node.kernel.cpu.counts_blocks:
        sched.hold_for(node.fd, again)
    elif again:
        sched.wait(sched.queue(), _ROOM_LATER)
    else:
        sched.wait_host_fd(node.fd, write=True)


def _broken_pipe(kernel: Kernel) -> None:
    from machine.kernel.task.signal import send_sig

    if kernel.current is not None:
        send_sig(kernel, kernel.current, SIGPIPE)


def host_file(kernel: Kernel, fd: int) -> file:
    """An open file over a descriptor of the host, which stays the host's: it is never closed here.

    One host object is one inode however often it is given: ``>out 2>&1`` is the same file twice.  It may be read and
    written as the user's shell has opened it.
    """
    for known in kernel.vfs.host_descriptors:
        if known.fd == fd:
            node = known
            break
    else:
        node = HostDescriptor(kernel, fd)
        kernel.vfs.host_descriptors.append(node)
    kind, number, name = kernel.host(_opened, fd)
    if kind not in (stat.S_IFREG, stat.S_IFCHR):
        name = f"pipe:[{number}]" if kind == stat.S_IFIFO else f"socket:[{number}]"
    made = HostFile if kind == stat.S_IFREG else file
    return made(Dentry(node, name, None, name), node.flags, host_operations, name)


def _flags(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_APPEND | os.O_ACCMODE)


def _opened(fd: int) -> tuple[int, int, str]:
    """Of a descriptor: its type, its inode, its name."""
    info = os.fstat(fd)
    try:
        name = os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        name = f"host:[{fd}]"
    return stat.S_IFMT(info.st_mode), info.st_ino, name


__all__ = ["HostDescriptor", "host_file", "host_operations"]
