"""`struct tty_struct` and the operations of open terminals (drivers/tty/tty_io.c, drivers/tty/n_tty.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.capability import CAP_SYS_ADMIN
from machine.kernel.abi.errno import EAGAIN, EBUSY, EIO, ENOTTY, Errno
from machine.kernel.abi.signal import POLL_IN, SIGIO, SIGTTIN, SIGTTOU, SIGWINCH
from machine.kernel.capability import capable
from machine.kernel.fs.fasync import fasync_helper, kill_fasync
from machine.kernel.fs.file import FASYNC, FMODE_READ, O_NOCTTY, O_NONBLOCK, file, file_operations, inode
from machine.kernel.fs.poll import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDNORM,
    POLLWRNORM,
    poll_table,
)
from machine.kernel.task.signal import kill_pgrp
from machine.kernel.tty.n_tty import n_tty
from machine.kernel.tty.termios import TOSTOP, VMIN, VTIME, ktermios

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

TTY_READ_CHUNK = 64
"""Bytes after which a raw read is content whatever MIN says (iterate_tty_read)."""
TENTH_NS = 100_000_000
TIOCPKT_DATA, TIOCPKT_FLUSHREAD, TIOCPKT_FLUSHWRITE, TIOCPKT_STOP, TIOCPKT_START = 0, 1, 2, 4, 8
TIOCPKT_NOSTOP, TIOCPKT_DOSTOP, TIOCPKT_IOCTL = 16, 32, 64


class tty_struct:
    """One side of a pseudo terminal; `link` is the other."""

    is_host = False

    def __init__(self, kernel: Kernel, name: str, dev: int, termios: ktermios, is_master: bool) -> None:
        self.kernel = kernel
        self.name = name
        self.dev = dev
        """st_rdev of its node."""
        self.is_master = is_master
        self.link: tty_struct
        self.termios = termios
        self.winsize = bytes(8)
        self.files: list[file] = []
        """Open files of it (`tty_files`)."""
        self.session = 0
        """The session whose controlling terminal it is; 0: of none."""
        self.pgrp = 0
        """The foreground process group."""
        self.read_wait = kernel.sched.queue()
        self.write_wait = kernel.sched.queue()
        self.other_closed = False
        """TTY_OTHER_CLOSED: the other side was open and is not any more."""
        self.flow_stopped = self.tco_stopped = False
        """By Ctrl-S or tcflow(TCOOFF), by the latter."""
        self.exclusive = False
        self.packet = False
        """TIOCPKT of a master: what happens to the slave is told in a byte before the data."""
        self.pktstatus = 0
        """Of a slave: what its master has still to be told."""
        self.fasync: list[Any] = []
        self.locked = False
        """TIOCSPTLCK."""
        self.ldisc = n_tty(self)

    def reset(self, termios: ktermios) -> None:
        """As if it had just been made (tty_ldisc_hangup)."""
        self.termios = termios
        self.ldisc = n_tty(self)

    # -- between the sides -----------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Give bytes to the other side; who does has asked for room."""
        self.link.ldisc.receive(data)

    def room(self) -> int:
        """How much the other side still takes: nothing after Ctrl-S (pty_write_room)."""
        return 0 if self.flow_stopped else self.link.ldisc.flip_room()

    def wake_readers(self) -> None:
        """Input has come."""
        self.read_wait.wake()
        if self.fasync:
            kill_fasync(self.kernel, self.fasync, SIGIO, POLL_IN)

    def wake(self) -> None:
        """Everybody looks again."""
        self.read_wait.wake()
        self.write_wait.wake()

    # -- flow ------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ctrl-S: nothing is written, not even echo, until Ctrl-Q."""
        if not self.flow_stopped:
            self.flow_stopped = True
            self.tell_master(TIOCPKT_STOP, TIOCPKT_START)

    def start(self) -> None:
        """Ctrl-Q, which does not undo tcflow(TCOOFF)."""
        if self.flow_stopped and not self.tco_stopped:
            self.flow_stopped = False
            self.tell_master(TIOCPKT_START, TIOCPKT_STOP)
            self.write_wait.wake()

    def tell_master(self, status: int, instead_of: int = 0) -> None:
        """In packet mode: the master's next read begins with it."""
        if not self.is_master and self.link.packet:
            self.pktstatus = self.pktstatus & ~instead_of | status
            self.link.read_wait.wake()

    def tell_flushed(self) -> None:
        """What had come and was not read is gone (n_tty_packet_mode_flush)."""
        self.tell_master(TIOCPKT_FLUSHREAD)

    def flush_input(self) -> None:
        """Forget what was typed and not read (TCIFLUSH)."""
        self.ldisc.reset_buffer()
        self.ldisc.pump()
        self.link.write_wait.wake()

    def flush_output(self) -> None:
        """Forget what was written and has no room in the other side's buffer yet (pty_flush_buffer)."""
        self.link.ldisc.flush_unseen()
        self.write_wait.wake()
        self.tell_master(TIOCPKT_FLUSHWRITE)

    # -- signals ---------------------------------------------------------------------------------

    def signal_foreground(self, signo: int) -> None:
        """Send a signal to the foreground group, if there is one."""
        if self.pgrp:
            kill_pgrp(self.kernel, self.pgrp, signo)

    def resize(self, size: bytes) -> None:
        """TIOCSWINSZ on either side: both have the new size, and SIGWINCH if it is another (pty_resize)."""
        if size == self.winsize:
            return
        groups = {self.pgrp, self.link.pgrp} - {0}
        self.winsize = self.link.winsize = size
        for pgrp in groups:
            kill_pgrp(self.kernel, pgrp, SIGWINCH)


def tty_of(filp: file) -> tty_struct:
    """The terminal of an open file."""
    tty = filp.private_data
    assert isinstance(tty, tty_struct)
    return tty


def tty_open(tty: tty_struct, filp: file, takes_control: bool = True) -> int:
    """One more open file; the first terminal that a session's leader opens becomes its controlling one."""
    from machine.kernel.tty.tty_jobctrl import proc_set_tty

    task = tty.kernel.current
    if tty.exclusive and task is not None and not capable(task, CAP_SYS_ADMIN):
        return -EBUSY
    filp.private_data = tty
    filp.f_op = tty_fops
    tty.files.append(filp)
    if not tty.is_master:
        tty.other_closed = tty.link.other_closed = False
    if task is None or tty.is_master or not takes_control or filp.f_flags & O_NOCTTY:
        return 0
    signal = task.signal
    if signal.session_leader and signal.tty is None and not tty.session and filp.f_mode & FMODE_READ:
        proc_set_tty(task, tty)
    return 0


class TtyOperations(file_operations):
    """Both sides of pseudo terminals: `tty_fops` with the line discipline n_tty."""

    stream = True

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        from machine.kernel.tty.tty_jobctrl import tty_check_change

        tty = tty_of(filp)
        if not tty.is_master:
            tty_check_change(tty, SIGTTIN)
        if not count:
            return b""
        data = self._read(tty, filp, count)
        tty.ldisc.pump()
        tty.link.write_wait.wake()
        return data

    def _read(self, tty: tty_struct, filp: file, count: int) -> bytes:
        """A line, or MIN characters with at most TIME tenths of a second between them (n_tty_read)."""
        ldisc, cc = tty.ldisc, tty.termios.c_cc
        minimum = 0 if ldisc.icanon else max(1, cc[VMIN])
        tenths = 0 if ldisc.icanon or not cc[VMIN] else cc[VTIME]
        timeout = None if ldisc.icanon or cc[VMIN] else cc[VTIME] * TENTH_NS
        packet, data = tty.packet, b""
        most = count if ldisc.by_lines() else min(count, TTY_READ_CHUNK)
        while len(data) < most:
            if packet and tty.link.pktstatus:
                return data or self._status(tty)
            try:
                if not self._wait_for_input(tty, filp, timeout):
                    return data
            except Errno:
                if data:
                    return data
                raise
            if packet and tty.link.pktstatus:
                continue
            if packet and not data:
                data = bytes((TIOCPKT_DATA,))
            data += ldisc.take(most - len(data))
            if len(data) >= minimum:
                return data + ldisc.take(count - len(data)) if ldisc.more() else data
            timeout = tenths * TENTH_NS if tenths else timeout
        return data

    @staticmethod
    def _status(tty: tty_struct) -> bytes:
        status, tty.link.pktstatus = tty.link.pktstatus, 0
        return bytes((status,))

    @staticmethod
    def _wait_for_input(tty: tty_struct, filp: file, timeout: Optional[int]) -> bool:
        """Sleep until there is input; False when `timeout` nanoseconds are over, or the terminal was hung up."""
        while not (tty.ldisc.available() or (tty.packet and tty.link.pktstatus)):
            if filp.f_op is hung_up_tty_fops:
                return False
            if tty.other_closed:
                raise Errno(EIO)
            if timeout == 0:
                return False
            if filp.f_flags & O_NONBLOCK:
                raise Errno(EAGAIN)
            if not tty.kernel.sched.wait(tty.read_wait, timeout) and timeout is not None:
                return tty.ldisc.available()
        return True

    def unread(self, filp: file, data: bytes) -> None:
        """Put back what the reader's memory could not take."""
        tty_of(filp).ldisc.unread(data)

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        from machine.kernel.tty.tty_jobctrl import tty_check_change

        tty = tty_of(filp)
        if not tty.is_master and tty.termios.c_lflag & TOSTOP:
            tty_check_change(tty, SIGTTOU)
        done = 0
        while done < len(data):
            if filp.f_op is hung_up_tty_fops or (not tty.is_master and not tty.link.files):
                if done:
                    break
                raise Errno(EIO)
            wrote = tty.ldisc.out.write(data[done:])
            if wrote:
                done += wrote
                continue
            if filp.f_flags & O_NONBLOCK:
                if done:
                    break
                raise Errno(EAGAIN)
            try:
                tty.kernel.sched.wait(tty.write_wait)
            except Errno:
                if done:
                    break
                raise
        return done

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        tty = tty_of(filp)
        if table is not None:
            table.wait(tty.read_wait)
            table.wait(tty.write_wait)
        mask = 0
        if tty.ldisc.available(poll=True):
            mask |= POLLIN | POLLRDNORM
        if tty.packet and tty.link.pktstatus:
            mask |= POLLPRI | POLLIN | POLLRDNORM
        if tty.other_closed:
            mask |= POLLHUP
        if tty.room():
            mask |= POLLOUT | POLLWRNORM
        return mask

    def ioctl(self, node: inode, filp: file, cmd: int, arg: int) -> int:
        from machine.kernel.tty.tty_ioctl import tty_ioctl

        return tty_ioctl(tty_of(filp), filp, cmd, arg)

    def fasync(self, fd: int, filp: file, on: int) -> int:
        """O_ASYNC was switched."""
        fasync_helper(fd, filp, on, tty_of(filp).fasync)
        return 0

    def release(self, node: inode, filp: file) -> int:
        """tty_release: the last file of a slave is the master's EIO, that of a master hangs the slave up."""
        from machine.kernel.tty.pty import pty_gone
        from machine.kernel.tty.tty_jobctrl import tty_vhangup

        tty = tty_of(filp)
        if filp.f_flags & FASYNC:
            self.fasync(-1, filp, 0)
        if filp in tty.files:
            tty.files.remove(filp)
        if tty.files:
            return 0
        link = tty.link
        tty.packet = tty.exclusive = False
        link.other_closed = True
        if tty.is_master:
            pty_gone(tty)
            tty_vhangup(link)
        link.wake()
        return 0


class HungUpOperations(TtyOperations):
    """`hung_up_tty_fops`: what is left of an open file after a hangup."""

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        return b""

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        raise Errno(EIO)

    def poll(self, filp: file, table: Optional[poll_table]) -> int:
        return POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM

    def ioctl(self, node: inode, filp: file, cmd: int, arg: int) -> int:
        return -ENOTTY if cmd == 0x5410 else -EIO

    def fasync(self, fd: int, filp: file, on: int) -> int:
        return -ENOTTY


tty_fops = TtyOperations()
hung_up_tty_fops = HungUpOperations()
