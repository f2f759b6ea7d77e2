"""ioctl of the machine's own terminals (drivers/tty/tty_ioctl.c, drivers/tty/pty.c)."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN
from machine.kernel.abi.errno import EINVAL, ENOTTY, EPERM, Errno
from machine.kernel.abi.signal import SIGTTOU
from machine.kernel.capability import capable
from machine.kernel.fs.file import FMODE_READ, file
from machine.kernel.tty.termios import (
    EXTPROC,
    IXON,
    TERMIO,
    TERMIOS,
    TERMIOS2,
    VSTART,
    VSTOP,
    ktermios,
)
from machine.kernel.tty.tty_io import TIOCPKT_DOSTOP, TIOCPKT_IOCTL, TIOCPKT_NOSTOP, tty_struct
from machine.kernel.tty.tty_jobctrl import COMMANDS, jobctrl_ioctl, tty_check_change, tty_vhangup

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

TCGETS, TCSETS, TCSETSF, TCGETA, TCSETA, TCSETAF, TCSBRK, TCXONC, TCFLSH = (
    0x5401, 0x5402, 0x5404, 0x5405, 0x5406, 0x5408, 0x5409, 0x540A, 0x540B,
)  # fmt: skip
TCGETS2, TCSETS2, TCSETSF2 = 0x802C542A, 0x402C542B, 0x402C542D
TIOCEXCL, TIOCNXCL, TIOCOUTQ, TIOCSTI, TIOCGWINSZ, TIOCSWINSZ, FIONREAD = (
    0x540C, 0x540D, 0x5411, 0x5412, 0x5413, 0x5414, 0x541B,
)  # fmt: skip
TIOCPKT, TIOCSETD, TIOCGETD, TCSBRKP, TIOCVHANGUP = 0x5420, 0x5423, 0x5424, 0x5425, 0x5437
TIOCGDEV, TIOCGEXCL, TIOCGPKT, TIOCGPTLCK, TIOCGPTN, TIOCSPTLCK, TIOCSIG, TIOCGPTPEER = (
    0x80045432, 0x80045440, 0x80045438, 0x80045439, 0x80045430, 0x40045431, 0x40045436, 0x5441,
)  # fmt: skip
TIOCGLCKTRMIOS, TIOCSLCKTRMIOS, TIOCSBRK, TIOCCBRK = 0x5456, 0x5457, 0x5427, 0x5428
Change = Callable[[ktermios, bytes], None]


def tty_ioctl(tty: tty_struct, filp: file, cmd: int, arg: int) -> int:
    """0 or a number; raises Errno.  ENOTTY for what a pseudo terminal does not have."""
    task: Task = tty.kernel.current  # type: ignore[assignment]
    real = tty.link if tty.is_master else tty
    if cmd in COMMANDS:
        return jobctrl_ioctl(tty, real, cmd, arg, bool(filp.f_mode & FMODE_READ))
    for part in (_mode, _size_and_queues, _master if tty.is_master else _other, _other):
        answer = part(task, tty, real, cmd, arg)
        if answer is not None:
            return answer
    return -ENOTTY


# -- settings ------------------------------------------------------------------------------------------


def _mode(task: Task, tty: tty_struct, real: tty_struct, cmd: int, arg: int) -> int | None:
    """Settings are always the slave's, whichever side asks."""
    termios = real.termios
    if cmd == TCGETS:
        task.mm.copy_to_user(arg, termios.pack())
    elif cmd == TCGETS2:
        task.mm.copy_to_user(arg, termios.pack2())
    elif cmd == TCGETA:
        task.mm.copy_to_user(arg, termios.pack_old())
    elif TCSETS <= cmd <= TCSETSF:
        _set(tty, real, cmd - TCSETS, task.mm.copy_from_user(arg, TERMIOS.size), ktermios.set)
    elif TCSETS2 <= cmd <= TCSETSF2:
        _set(tty, real, cmd - TCSETS2, task.mm.copy_from_user(arg, TERMIOS2.size), ktermios.set2)
    elif TCSETA <= cmd <= TCSETAF:
        _set(tty, real, cmd - TCSETA, task.mm.copy_from_user(arg, TERMIO.size), ktermios.set_old)
    elif cmd == TIOCGLCKTRMIOS:
        task.mm.copy_to_user(arg, termios.locked)
    elif cmd == TIOCSLCKTRMIOS:
        if not capable(task, CAP_SYS_ADMIN) and not capable(task, CAP_CHECKPOINT_RESTORE):
            raise Errno(EPERM)
        termios.locked = bytes(task.mm.copy_from_user(arg, TERMIOS.size))
    else:
        return None
    return 0


def _set(tty: tty_struct, real: tty_struct, when: int, data: bytes, change: Change) -> None:
    """set_termios: `when` 0 is now, 1 after all output (which is the other side's at once), 2 and without what was
    typed."""
    tty_check_change(tty, SIGTTOU)
    if when == 2:
        real.flush_input()
    termios = real.termios
    old = copy(termios)
    old.c_cc = bytearray(termios.c_cc)
    change(termios, data)
    flow = _flow(termios)
    if flow != _flow(old):
        real.tell_master(*((TIOCPKT_DOSTOP, TIOCPKT_NOSTOP) if flow else (TIOCPKT_NOSTOP, TIOCPKT_DOSTOP)))
    if (old.c_lflag | termios.c_lflag) & EXTPROC:
        real.tell_master(TIOCPKT_IOCTL)
    real.ldisc.set_termios(old)


def _flow(termios: ktermios) -> bool:
    """Whether Ctrl-S and Ctrl-Q have their usual meaning (pty_set_termios)."""
    return bool(termios.c_iflag & IXON) and (termios.c_cc[VSTOP], termios.c_cc[VSTART]) == (19, 17)


# -- size, queues --------------------------------------------------------------------------------------


def _size_and_queues(task: Task, tty: tty_struct, real: tty_struct, cmd: int, arg: int) -> int | None:
    if cmd == TIOCGWINSZ:
        task.mm.copy_to_user(arg, tty.winsize)
    elif cmd == TIOCSWINSZ:
        tty.resize(task.mm.copy_from_user(arg, 8))
    elif cmd == FIONREAD:
        task.mm.put_u32(arg, tty.ldisc.readable())
    elif cmd == TIOCOUTQ:
        task.mm.put_u32(arg, 0)  # all that was written is the other side's already
    elif cmd == TCFLSH:
        tty_check_change(tty, SIGTTOU)
        if arg > 2:
            raise Errno(EINVAL)
        if arg in (0, 2):
            tty.flush_input()
        if arg in (1, 2):
            tty.flush_output()
    elif cmd == TCXONC:
        tty_check_change(tty, SIGTTOU)
        _flow_control(tty, arg)
    elif cmd in (TCSBRK, TCSBRKP, TIOCSBRK, TIOCCBRK):
        tty_check_change(tty, SIGTTOU)  # there is no line that could be broken
    else:
        return None
    return 0


def _flow_control(tty: tty_struct, arg: int) -> None:
    """tcflow: TCOOFF, TCOON for our output; TCIOFF, TCION send the characters."""
    if arg in (0, 1):
        if tty.tco_stopped == (arg == 1):
            tty.tco_stopped = arg == 0
            (tty.start if arg else tty.stop)()
    elif arg in (2, 3):
        c = tty.termios.c_cc[VSTOP if arg == 2 else VSTART]
        if c:
            _send_xchar(tty, c)
    else:
        raise Errno(EINVAL)


def _send_xchar(tty: tty_struct, c: int) -> None:
    """Ahead of everything, after Ctrl-S too (tty_send_xchar)."""
    stopped = tty.flow_stopped
    if stopped:
        tty.start()
    if not tty.flow_stopped:
        tty.send(bytes((c,)))
    if stopped:
        tty.stop()


# -- the rest ------------------------------------------------------------------------------------------


def _other(task: Task, tty: tty_struct, real: tty_struct, cmd: int, arg: int) -> int | None:
    if cmd in (TIOCEXCL, TIOCNXCL):
        tty.exclusive = cmd == TIOCEXCL
    elif cmd == TIOCGEXCL:
        task.mm.put_u32(arg, int(tty.exclusive))
    elif cmd == TIOCGDEV:
        task.mm.put_u32(arg, real.dev)
    elif cmd == TIOCGETD:
        task.mm.put_u32(arg, 0)
    elif cmd == TIOCSETD:
        if task.mm.get_u32(arg):
            raise Errno(EINVAL)  # there is no line discipline but N_TTY
    elif cmd == TIOCVHANGUP:
        if not capable(task, CAP_SYS_ADMIN):
            raise Errno(EPERM)
        tty_vhangup(tty)
    elif cmd == TIOCSTI:
        if task.signal.tty is not tty and not capable(task, CAP_SYS_ADMIN):
            raise Errno(EPERM)
        tty.ldisc.receive(task.mm.copy_from_user(arg, 1))
    else:
        return None
    return 0


def _master(task: Task, tty: tty_struct, real: tty_struct, cmd: int, arg: int) -> int | None:
    """pty_unix98_ioctl."""
    if cmd == TIOCGPTN:
        task.mm.put_u32(arg, int(tty.link.name))
    elif cmd == TIOCSPTLCK:
        tty.link.locked = bool(task.mm.get_u32(arg))
    elif cmd == TIOCGPTLCK:
        task.mm.put_u32(arg, int(tty.link.locked))
    elif cmd == TIOCPKT:
        packet = bool(task.mm.get_u32(arg))
        if packet and not tty.packet:
            tty.link.pktstatus = 0
        tty.packet = packet
    elif cmd == TIOCGPKT:
        task.mm.put_u32(arg, int(tty.packet))
    elif cmd == TIOCSIG:
        if not 0 < arg < 64:
            raise Errno(EINVAL)
        tty.link.signal_foreground(arg)
    elif cmd == TIOCGPTPEER:
        from machine.kernel.tty.pty import open_peer

        return open_peer(task, tty, arg)
    else:
        return None
    return 0
