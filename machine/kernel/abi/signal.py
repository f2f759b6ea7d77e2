"""Signal numbers, flags, codes and default actions (include/uapi/asm-generic/{signal,siginfo}.h, kernel/signal.c)."""

from __future__ import annotations

from functools import lru_cache

SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE = 1, 2, 3, 4, 5, 6, 7, 8
SIGKILL, SIGUSR1, SIGSEGV, SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT = 9, 10, 11, 12, 13, 14, 15, 16
SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGXCPU = 17, 18, 19, 20, 21, 22, 23, 24
SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS = 25, 26, 27, 28, 29, 30, 31
SIGRTMIN, SIGRTMAX, NSIG = 32, 64, 64

NAMES: dict[int, str] = {v: k for k, v in list(globals().items()) if k.startswith("SIG") and v < SIGRTMIN}
NAMES.update({n: f"SIGRT_{n - SIGRTMIN}" for n in range(SIGRTMIN, SIGRTMAX + 1)})
NUMBERS: dict[str, int] = {name: number for number, name in NAMES.items()}
SIGIOT, SIGPOLL = SIGABRT, SIGIO


def name(signo: int) -> str:
    """The name as strace prints it: ``SIGSEGV``, ``SIGRT_2``; a number where there is none."""
    return NAMES.get(signo, str(signo))


SIG_DFL, SIG_IGN, SIG_ERR = 0, 1, -1
SIG_BLOCK, SIG_UNBLOCK, SIG_SETMASK = 0, 1, 2

SA_NOCLDSTOP, SA_NOCLDWAIT, SA_SIGINFO, SA_UNSUPPORTED, SA_EXPOSE_TAGBITS = 1, 2, 4, 0x400, 0x800
SA_RESTORER, SA_ONSTACK, SA_RESTART = 0x04000000, 0x08000000, 0x10000000
SA_NODEFER, SA_RESETHAND = 0x40000000, 0x80000000
SA_IMMUTABLE = 0x00800000
"""The kernel's own: neither a tracer nor rt_sigaction changes what will happen."""
SA_UAPI_FLAGS = (
    SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND
    | SA_EXPOSE_TAGBITS | SA_RESTORER
)  # fmt: skip
"""The bits that sigaction keeps; others are cleared (kernel/signal.c: do_sigaction)."""

SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31
MINSIGSTKSZ = 2048

# si_code, any signal
SI_USER, SI_KERNEL, SI_QUEUE, SI_TIMER, SI_MESGQ, SI_ASYNCIO, SI_SIGIO, SI_TKILL = 0, 0x80, -1, -2, -3, -4, -5, -6
SI_DETHREAD, SI_ASYNCNL = -7, -60
# si_code, by signal
ILL_ILLOPC, ILL_ILLOPN, ILL_ILLADR, ILL_ILLTRP, ILL_PRVOPC, ILL_PRVREG, ILL_COPROC, ILL_BADSTK = range(1, 9)
FPE_INTDIV, FPE_INTOVF, FPE_FLTDIV, FPE_FLTOVF, FPE_FLTUND, FPE_FLTRES, FPE_FLTINV, FPE_FLTSUB = range(1, 9)
SEGV_MAPERR, SEGV_ACCERR, SEGV_BNDERR, SEGV_PKUERR = 1, 2, 3, 4
BUS_ADRALN, BUS_ADRERR, BUS_OBJERR, BUS_MCEERR_AR, BUS_MCEERR_AO = 1, 2, 3, 4, 5
TRAP_BRKPT, TRAP_TRACE, TRAP_BRANCH, TRAP_HWBKPT, TRAP_UNK = 1, 2, 3, 4, 5
CLD_EXITED, CLD_KILLED, CLD_DUMPED, CLD_TRAPPED, CLD_STOPPED, CLD_CONTINUED = 1, 2, 3, 4, 5, 6
POLL_IN, POLL_OUT, POLL_MSG, POLL_ERR, POLL_PRI, POLL_HUP = 1, 2, 3, 4, 5, 6
SYS_SECCOMP, SYS_USER_DISPATCH = 1, 2

# Sets of signals: bit n-1 for signal n.
FULL_SET = (1 << NSIG) - 1


def sigmask(*numbers: int) -> int:
    """The set of these signals."""
    bits = 0
    for number in numbers:
        bits |= 1 << (number - 1)
    return bits


UNBLOCKABLE = sigmask(SIGKILL, SIGSTOP)
SYNCHRONOUS = sigmask(SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS)
"""Delivered before the others (SYNCHRONOUS_MASK)."""
DEFAULT_IGNORE = sigmask(SIGCONT, SIGCHLD, SIGWINCH, SIGURG)
DEFAULT_STOP = sigmask(SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU)
DEFAULT_CORE = sigmask(SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGFPE, SIGSEGV, SIGBUS, SIGSYS, SIGXCPU, SIGXFSZ)
"""What is in none of the three sets terminates the process without a core."""

TERM, CORE, STOP, IGNORE = "term", "core", "stop", "ignore"


def default_action(signo: int) -> str:
    """What SIG_DFL does: ``term``, ``core``, ``stop`` or ``ignore`` (SIGCONT also continues)."""
    bit = 1 << (signo - 1)
    if bit & DEFAULT_IGNORE:
        return IGNORE
    if bit & DEFAULT_STOP:
        return STOP
    return CORE if bit & DEFAULT_CORE else TERM


def layout_of(signo: int, code: int) -> str:
    """Which part of the siginfo union is in use (kernel/signal.c: siginfo_layout): ``kill``, ``rt``,
    ``timer``, ``fault``, ``chld``, ``poll`` or ``sys``."""
    if SI_USER < code < SI_KERNEL:
        if signo in (SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP):
            return "fault"
        if signo == SIGCHLD:
            return "chld"
        if signo == SIGSYS:
            return "sys"
        return "poll" if signo == SIGIO or code <= POLL_HUP else "kill"
    if code == SI_TIMER:
        return "timer"
    if code == SI_SIGIO:
        return "poll"
    return "rt" if code < 0 else "kill"


_CODES: dict[int, dict[int, str]] = {
    SIGILL: {v: k for k, v in list(globals().items()) if k.startswith("ILL_")},
    SIGFPE: {v: k for k, v in list(globals().items()) if k.startswith("FPE_")},
    SIGSEGV: {v: k for k, v in list(globals().items()) if k.startswith("SEGV_")},
    SIGBUS: {v: k for k, v in list(globals().items()) if k.startswith("BUS_")},
    SIGTRAP: {v: k for k, v in list(globals().items()) if k.startswith("TRAP_")},
    SIGCHLD: {v: k for k, v in list(globals().items()) if k.startswith("CLD_")},
}
_COMMON_CODES = {v: k for k, v in list(globals().items()) if k.startswith("SI_") and k != "SI_USER"}
_COMMON_CODES[SI_USER] = "SI_USER"


def code_name(signo: int, code: int) -> str:
    """The name of an `si_code` for that signal; the number where there is none."""
    return _CODES.get(signo, {}).get(code) or _COMMON_CODES.get(code, str(code))


@lru_cache(256)  # a guest chooses codes
def describe(signo: int, code: int) -> str:
    """A signal and its cause for a person: ``SIGSEGV (SEGV_MAPERR)``."""
    return f"{name(signo)} ({code_name(signo, code)})"
