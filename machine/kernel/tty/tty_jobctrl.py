"""Sessions and their terminals: who may read, write and set (drivers/tty/tty_jobctrl.c).

A `Terminal` here is a `tty_struct`, or `HostTerminal` (fs/tty.py) for the one of the user.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from machine.kernel.abi.capability import CAP_SYS_ADMIN
from machine.kernel.abi.errno import EINVAL, EIO, ENOTTY, EPERM, ERESTARTSYS, ESRCH, Errno
from machine.kernel.abi.signal import SIG_IGN, SIGCONT, SIGHUP, SIGTTIN, SIGTTOU
from machine.kernel.capability import capable
from machine.kernel.task.signal import kill_pgrp, process_leaders, send_signal
from machine.kernel.tty.termios import raw_termios, std_termios

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCNOTTY, TIOCGSID = 0x540E, 0x540F, 0x5410, 0x5422, 0x5429
COMMANDS = frozenset((TIOCSCTTY, TIOCGPGRP, TIOCSPGRP, TIOCNOTTY, TIOCGSID))


def _is_ignored(task: Task, signo: int) -> bool:
    return bool(task.blocked >> (signo - 1) & 1) or task.sighand.action[signo].handler == SIG_IGN


def tty_check_change(tty: Any, signo: int) -> None:
    """A background process reads (SIGTTIN), writes or sets (SIGTTOU): its group gets the signal and the call is
    restarted after it (ERESTARTSYS).  EIO where it would do no good."""
    from machine.kernel.task.exit import is_current_pgrp_orphaned

    kernel = tty.kernel
    task = kernel.current
    if task is None or task.signal.tty is not tty:
        return
    group = task.signal.pgrp
    if not tty.pgrp or group == tty.pgrp:
        return
    if _is_ignored(task, signo):
        if signo == SIGTTIN:
            raise Errno(EIO)
        return
    if is_current_pgrp_orphaned(kernel, task):
        raise Errno(EIO)
    kill_pgrp(kernel, group, signo)
    raise Errno(ERESTARTSYS)


def proc_set_tty(task: Task, tty: Any) -> None:
    """The terminal is the session's from now on, its group is in the foreground (__proc_set_tty)."""
    tty.session, tty.pgrp = task.signal.session, task.signal.pgrp
    task.signal.tty = tty


def session_clear_tty(kernel: Kernel, session: int) -> None:
    """No process of the session has a controlling terminal any more."""
    for leader in process_leaders(kernel):
        if leader.signal.session == session:
            leader.signal.tty = None


def disassociate_ctty(kernel: Kernel, task: Task, on_exit: bool) -> None:
    """A session's leader ends, or gives its terminal up: the foreground group gets SIGHUP (and SIGCONT)."""
    tty = task.signal.tty
    if tty is None:
        return
    foreground = tty.pgrp
    tty.session = tty.pgrp = 0
    if foreground:
        kill_pgrp(kernel, foreground, SIGHUP)
        if not on_exit or tty.is_host:
            kill_pgrp(kernel, foreground, SIGCONT)
    session_clear_tty(kernel, task.signal.session)


def tty_vhangup(tty: Any) -> None:
    """The line is gone: the session's leader gets SIGHUP, open files become useless (__tty_hangup)."""
    from machine.kernel.tty.tty_io import hung_up_tty_fops

    kernel = tty.kernel
    for filp in tty.files:
        filp.f_op = hung_up_tty_fops
    if tty.session:
        for leader in process_leaders(kernel):
            if leader.signal.session == tty.session:
                leader.signal.tty = None
                if leader.signal.session_leader:
                    send_signal(kernel, leader, SIGHUP, None)
                    send_signal(kernel, leader, SIGCONT, None)
    tty.session = tty.pgrp = 0
    tty.reset(raw_termios() if tty.is_master else std_termios())
    tty.wake()


# -- ioctl ---------------------------------------------------------------------------------------------


def jobctrl_ioctl(tty: Any, real: Any, cmd: int, arg: int, readable: bool) -> int:
    """The commands about sessions and groups.  `tty` is what was opened, `real` the slave of a master."""
    task: Task = tty.kernel.current
    if cmd == TIOCSCTTY:
        return _tiocsctty(task, real, arg, readable)
    if cmd == TIOCNOTTY:
        if task.signal.tty is not tty:
            raise Errno(ENOTTY)
        if task.signal.session_leader:
            disassociate_ctty(tty.kernel, task, False)
        task.signal.tty = None
        return 0
    if cmd == TIOCSPGRP:
        return _tiocspgrp(task, real, task.mm.get_u32(arg))
    if tty is real and task.signal.tty is not real:
        raise Errno(ENOTTY)
    if cmd == TIOCGSID:
        session = task.signal.session if real.is_host else real.session
        if not session:
            raise Errno(ENOTTY)
        task.mm.put_u32(arg, session)
    else:
        task.mm.put_u32(arg, real.pgrp or (task.signal.pgrp if real.is_host else 0))
    return 0


def _tiocsctty(task: Task, tty: Any, arg: int, readable: bool) -> int:
    signal = task.signal
    if signal.session_leader and tty.session == signal.session and signal.tty is tty:
        return 0
    if not signal.session_leader or signal.tty is not None:
        raise Errno(EPERM)
    if tty.session:
        if arg != 1 or not capable(task, CAP_SYS_ADMIN):
            raise Errno(EPERM)
        session_clear_tty(task.kernel, tty.session)
    if not readable and not capable(task, CAP_SYS_ADMIN):
        raise Errno(EPERM)
    proc_set_tty(task, tty)
    return 0


def _tiocspgrp(task: Task, tty: Any, pgrp: int) -> int:
    try:
        tty_check_change(tty, SIGTTOU)
    except Errno as error:
        raise Errno(ENOTTY if error.errno == EIO else error.errno) from None
    signal = task.signal
    if signal.tty is not tty or tty.session not in (signal.session, 0 if tty.is_host else -1):
        raise Errno(ENOTTY)
    if pgrp >> 31:
        raise Errno(EINVAL)
    members: list[Any] = [each for each in process_leaders(task.kernel) if each.signal.pgrp == pgrp]
    if not members:
        raise Errno(ESRCH)
    if members[0].signal.session != signal.session:
        raise Errno(EPERM)
    tty.pgrp = pgrp
    return 0
