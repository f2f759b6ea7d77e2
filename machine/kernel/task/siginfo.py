"""One queued signal and a queue of them.  The layout of `siginfo_t` is in abi/siginfo.py."""

from __future__ import annotations

from typing import Any, Optional

from machine.kernel.abi.errno import E2BIG, Errno
from machine.kernel.abi.siginfo import SI_MAX_SIZE, pack_siginfo, unpack_siginfo
from machine.kernel.abi.signal import SI_ASYNCNL, SI_DETHREAD, SI_USER, layout_of

SIZE = SI_MAX_SIZE
_KERNEL_SIZE = 48
"""sizeof(struct kernel_siginfo)."""

# layout -> (name in the layout, attribute here)
_FIELDS = {
    "kill": (("pid", "pid"), ("uid", "uid")),
    "rt": (("pid", "pid"), ("uid", "uid"), ("value", "value")),
    "timer": (("tid", "timer_id"), ("overrun", "overrun"), ("value", "value")),
    "chld": (("pid", "pid"), ("uid", "uid"), ("status", "status"), ("utime", "utime"), ("stime", "stime")),
    "fault": (("addr", "address"),),
    "poll": (("band", "band"), ("fd", "fd")),
    "sys": (("addr", "address"), ("syscall", "syscall"), ("arch", "arch")),
}


def _is_known(code: int) -> bool:
    """known_siginfo_layout, as far as it matters for what a program makes itself."""
    return code >= SI_DETHREAD or code == SI_ASYNCNL


class siginfo:
    """One queued signal.  Which fields are in use follows from `signo` and `code`."""

    __slots__ = (
        "address", "arch", "band", "code", "errno", "fd", "overrun", "pid", "raw", "signo", "status", "stime",
        "syscall", "timer", "timer_id", "uid", "utime", "value",
    )  # fmt: skip

    def __init__(
        self, signo: int, code: int = SI_USER, *, pid: int = 0, uid: int = 0, address: int = 0, status: int = 0,
        value: int = 0,
    ) -> None:  # fmt: skip
        self.signo = signo
        self.errno = 0
        self.code = code
        self.pid = pid
        self.uid = uid
        self.address = address
        """si_addr of a fault; si_call_addr of SIGSYS."""
        self.status = status
        """si_status of SIGCHLD: the exit code, or the signal."""
        self.value = value
        """si_value as an unsigned word (the pointer member)."""
        self.utime = self.stime = 0
        """Of SIGCHLD, in clock ticks (1/100 s)."""
        self.timer_id = self.overrun = 0
        self.timer: Any = None
        """The POSIX timer that sent it; its ``requeue(info)`` fills in the overrun count at delivery."""
        self.band = self.fd = 0
        self.syscall = self.arch = 0
        self.raw = b""
        """The bytes that an x86-64 program gave rt_sigqueueinfo."""

    def copy(self) -> siginfo:
        """Another record with the same content."""
        other = siginfo(self.signo)
        for name in siginfo.__slots__:
            setattr(other, name, getattr(self, name))
        return other

    def pack(self, bits: int) -> bytes:
        """The 128 bytes that a program of `bits` sees."""
        if self.raw and bits == 64:
            return self.raw
        return pack_siginfo(bits, self.signo, self.errno, self.code, self.fields())

    def fields(self) -> dict[str, int]:
        """The members that are in use, under their names in `siginfo_t` without ``si_``."""
        return {name: getattr(self, mine) for name, mine in _FIELDS[layout_of(self.signo, self.code)]}


def unpack(raw: bytes, bits: int) -> siginfo:
    """The record in the 128 bytes of a program of `bits` (rt_sigqueueinfo); of x86-64 what the kernel's own structure
    holds is kept as given (copy_siginfo_from_user).  E2BIG: more than that, with a code that nobody knows."""
    signo, errno, code, fields = unpack_siginfo(bits, raw)
    info = siginfo(signo, code)
    info.errno = errno
    names = dict(_FIELDS[layout_of(signo, code)])
    for name, value in fields.items():
        if name in names:
            setattr(info, names[name], value)
    if bits == 64:
        if not _is_known(code) and any(raw[_KERNEL_SIZE:]):
            raise Errno(E2BIG)
        info.raw = raw[:_KERNEL_SIZE].ljust(SIZE, b"\0")
    return info


class sigpending:
    """A queue of signals: the set `signal` and, for those that carry something, `list`."""

    __slots__ = ("list", "signal")

    def __init__(self) -> None:
        self.signal = 0
        self.list: list[siginfo] = []

    def discard(self, mask: int) -> None:
        """Drop every signal of the set `mask` (flush_sigqueue_mask)."""
        if self.signal & mask:
            self.signal &= ~mask
            dropped = [info for info in self.list if mask >> (info.signo - 1) & 1]
            self.list = [info for info in self.list if not mask >> (info.signo - 1) & 1]
            for info in dropped:
                if info.timer is not None:
                    info.timer.requeue(info)

    def collect(self, signo: int) -> siginfo:
        """Take the oldest `signo` out (collect_signal); the set keeps it while more are queued."""
        found: Optional[siginfo] = None
        more = False
        for info in self.list:
            if info.signo == signo:
                if found is None:
                    found = info
                else:
                    more = True
                    break
        if found is None:
            found = siginfo(signo, SI_USER)
        else:
            self.list.remove(found)
        if not more:
            self.signal &= ~(1 << (signo - 1))
        return found
