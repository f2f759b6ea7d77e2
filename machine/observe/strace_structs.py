"""How strace prints structures: times, signals, files, limits, vectors, polls.

The names are those that follow the colon in a row's types (see `strace_args`): ``ptr:ts`` reads a structure that the
program gave, ``ptr:ts>`` one that the kernel filled in.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from machine.kernel.abi.layout import ITIMERSPEC64, TIMESPEC64, UTSNAME
from machine.kernel.abi.stat import STAT64, STAT64_I386, STAT_I386, STATX
from machine.observe.strace_args import (
    ARRAY_LIMIT,
    Call,
    Decoder,
    argument,
    buffer,
    decoder,
    descriptor_text,
    octal,
    pointer,
    quote,
)
from machine.observe.strace_flags import flags, signal_name

Formatter = Callable[[Call, bytes], str]


def _structure(name: str, size: Callable[[Call], int], formatter: Formatter) -> None:
    """Register ``name`` and ``name>`` for a structure of `size(call)` bytes."""

    def decode(call: Call, index: int) -> str:
        address = call.values[index]
        length = size(call)
        data = call.memory(address, length) if address else b""
        return formatter(call, data) if len(data) == length else pointer(address)

    function: Decoder = decode
    decoder(name, name + ">")(function)


# -- times -----------------------------------------------------------------------------------------------


def _ts(seconds: int, ns: int) -> str:
    return f"{{tv_sec={seconds}, tv_nsec={ns}}}"


def _tv(seconds: int, us: int) -> str:
    return f"{{tv_sec={seconds}, tv_usec={us}}}"


_structure("ts", lambda call: call.abi.timespec.size, lambda call, data: _ts(*call.abi.timespec.unpack(data)))
_structure("ts64", lambda call: 16, lambda call, data: _ts(*TIMESPEC64.unpack(data)))
_structure("tv", lambda call: call.abi.timeval.size, lambda call, data: _tv(*call.abi.timeval.unpack(data)))
_structure("long", lambda call: call.abi.word, lambda call, data: f"[{int.from_bytes(data, 'little', signed=True)}]")
_structure("int", lambda call: 4, lambda call, data: f"[{int.from_bytes(data, 'little', signed=True)}]")
_structure("uid", lambda call: 4, lambda call, data: f"[{int.from_bytes(data, 'little')}]")
_structure("u16", lambda call: 2, lambda call, data: f"[{int.from_bytes(data, 'little')}]")
_structure("off64", lambda call: 8, lambda call, data: f"[{int.from_bytes(data, 'little', signed=True)}]")
_structure(
    "fds",
    lambda call: 8,
    lambda call, data: f"[{', '.join(f'{fd}{descriptor_text(call, fd)}' for fd in struct.unpack('<ii', data))}]",
)


def _interval(interval: str, value: str) -> str:
    return f"{{it_interval={interval}, it_value={value}}}"


def _itimerval(call: Call, data: bytes) -> str:
    a, b, c, d = call.abi.itimerval.unpack(data)
    return _interval(_tv(a, b), _tv(c, d))


def _itimerspec(call: Call, data: bytes) -> str:
    a, b, c, d = (ITIMERSPEC64 if call.name.endswith("64") else call.abi.itimerspec).unpack(data)
    return _interval(_ts(a, b), _ts(c, d))


_structure("itv", lambda call: call.abi.itimerval.size, _itimerval)
_structure("its", lambda call: 32 if call.name.endswith("64") else call.abi.itimerspec.size, _itimerspec)


@decoder("rem>")
def _remaining(call: Call, index: int) -> str:
    """nanosleep's second argument: filled in only when a signal ended the sleep, so always bare on success."""
    return pointer(call.values[index])


# -- signals -----------------------------------------------------------------------------------------------


def sigset_text(mask: int, bits: int = 64) -> str:
    """``[INT USR1]``; a set of two thirds or more by what it lacks: ``~[KILL STOP]``."""
    inverted = bin(mask).count("1") >= bits * 2 // 3
    shown = ~mask & ((1 << bits) - 1) if inverted else mask
    names = [signal_name(signo).removeprefix("SIG") for signo in range(1, bits + 1) if shown >> (signo - 1) & 1]
    return ("~[" if inverted else "[") + " ".join(names) + "]"


def _handler(address: int) -> str:
    return {0: "SIG_DFL", 1: "SIG_IGN"}.get(address, f"{address:#x}")


def _sigaction(call: Call, data: bytes) -> str:
    handler, bits, restorer, mask = call.abi.sigaction.unpack(data)
    text = f"{{sa_handler={_handler(handler)}, sa_mask={sigset_text(mask)}, sa_flags={flags('SA_', bits & 0xFFFFFFFF)}"
    if bits & 4:
        text = text.replace("sa_handler", "sa_sigaction", 1)
    return text + (f", sa_restorer={restorer:#x}}}" if bits & 0x04000000 else "}")


def _stack(call: Call, data: bytes) -> str:
    sp, bits, size = call.abi.stack_t.unpack(data)
    return f"{{ss_sp={pointer(sp)}, ss_flags={flags('SS_', bits & 0xFFFFFFFF)}, ss_size={size}}}"


def siginfo_text(signo: int, code: int, fields: dict[str, int]) -> str:
    """``{si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=5, si_uid=0, si_status=0, ...}``."""
    from machine.kernel.abi.signal import SIGCHLD, code_name

    parts = [f"si_signo={signal_name(signo)}", f"si_code={code_name(signo, code)}"]
    for name, value in fields.items():
        if name == "addr":
            parts.append(f"si_addr={pointer(value)}")
        elif name == "status" and signo == SIGCHLD and code != 1:
            parts.append(f"si_status={signal_name(value)}")
        elif name in ("pid", "uid", "status", "utime", "stime", "tid", "overrun", "band", "fd", "syscall"):
            parts.append(f"si_{'timerid' if name == 'tid' else name}={value}")
        elif name == "value" and value:
            parts.append(f"si_value={{sival_int={value & 0xFFFFFFFF}, sival_ptr={pointer(value)}}}")
    return "{" + ", ".join(parts) + "}"


def _siginfo(call: Call, data: bytes) -> str:
    signo, _, code, fields = call.abi.unpack_siginfo(data)
    return siginfo_text(signo, code, fields) if signo else "{}"


_structure("sigset", lambda call: 8, lambda call, data: sigset_text(int.from_bytes(data, "little")))
_structure("oldset", lambda call: call.abi.word, lambda call, data: sigset_text(int.from_bytes(data, "little"), 32))
_structure("sigaction", lambda call: call.abi.sigaction.size, _sigaction)
_structure("stack", lambda call: call.abi.stack_t.size, _stack)
_structure("siginfo", lambda call: 128, _siginfo)


def wait_status_text(status: int) -> str:
    """The macros of wait(2) that are true of a status word."""
    if status == 0xFFFF:
        return "{WIFCONTINUED(s)}"
    if status & 0xFF == 0x7F:
        return f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(status >> 8 & 0xFF)}}}"
    if status & 0x7F:
        core = " && WCOREDUMP(s)" if status & 0x80 else ""
        return f"{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(status & 0x7F)}{core}}}"
    return f"{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}"


@decoder("wstatus>")
def _wstatus(call: Call, index: int) -> str:
    data = call.memory(call.values[index], 4) if call.result else b""
    return f"[{wait_status_text(int.from_bytes(data, 'little'))}]" if len(data) == 4 else pointer(call.values[index])


# -- files --------------------------------------------------------------------------------------------------

_TYPES = {1: "S_IFIFO", 2: "S_IFCHR", 4: "S_IFDIR", 6: "S_IFBLK", 8: "S_IFREG", 10: "S_IFLNK", 12: "S_IFSOCK"}


def mode_text(mode: int) -> str:
    """``S_IFREG|0755``, ``S_IFREG|S_ISUID|0755``."""
    parts = [_TYPES.get(mode >> 12, f"{mode & 0o170000:#o}".replace("0o", "0"))]
    parts += [name for bit, name in ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX")) if mode & bit]
    return "|".join([*parts, octal(mode & 0o777)])


def _stat_text(mode: int, size: int, rdev: tuple[int, int]) -> str:
    what = f"st_rdev=makedev({rdev[0]:#x}, {rdev[1]:#x})" if mode >> 12 in (2, 6) else f"st_size={size}"
    return f"{{st_mode={mode_text(mode)}, {what}, ...}}"


def _rdev(dev: int) -> tuple[int, int]:
    return dev >> 8 & 0xFFF, (dev & 0xFF) | (dev >> 12 & 0xFFF00)


def _stat(call: Call, data: bytes) -> str:
    if call.abi.bits == 64:
        fields = STAT64.unpack(data)
        return _stat_text(fields[3], fields[7], _rdev(fields[6]))
    fields = STAT_I386.unpack(data)
    return _stat_text(fields[2], fields[7], _rdev(fields[6]))


def _stat64(call: Call, data: bytes) -> str:
    fields = STAT64_I386.unpack(data)
    return _stat_text(fields[2], fields[7], _rdev(fields[6]))


def _statx(call: Call, data: bytes) -> str:
    mask, _, _, _, _, _, mode, _, size = STATX.unpack(data)[:9]
    return f"{{stx_mask={flags('STATX_', mask)}, stx_attributes=0, stx_mode={mode_text(mode)}, stx_size={size}, ...}}"


_structure("stat", lambda call: (STAT64 if call.abi.bits == 64 else STAT_I386).size, _stat)
_structure("stat64", lambda call: STAT64_I386.size, _stat64)
_structure("statx", lambda call: STATX.size, _statx)


def _field(data: bytes) -> str:
    return quote(data.split(b"\0")[0])


def _uname(call: Call, data: bytes) -> str:
    fields = UTSNAME.unpack(data)
    return f"{{sysname={_field(fields[0])}, nodename={_field(fields[1])}, ...}}"


_structure("uname", lambda call: UTSNAME.size, _uname)


def _iovec(call: Call, index: int, limit: int) -> str:
    address, count = call.values[index], call.values[index + 1]
    if not address:
        return "NULL"
    words = call.words(address, 2 * min(count, ARRAY_LIMIT))
    shown = []
    for base, length in zip(words[::2], words[1::2], strict=False):
        have = min(length, limit)
        limit -= have
        shown.append(f"{{iov_base={buffer(call, base, have)}, iov_len={length}}}")
    return "[" + ", ".join([*shown, *(["..."] if count > ARRAY_LIMIT else [])]) + "]"


@decoder("iov")
def _iov_in(call: Call, index: int) -> str:
    return _iovec(call, index, 1 << 62)


@decoder("iov>")
def _iov_out(call: Call, index: int) -> str:
    return _iovec(call, index, call.result or 0)


# -- limits and usage -----------------------------------------------------------------------------------------


def _limit(value: int, infinity: int, name: str) -> str:
    if value == infinity:
        return name
    return f"{value // 1024}*1024" if value > 1024 and value % 1024 == 0 else str(value)


def _rlimit64(call: Call, data: bytes) -> str:
    soft, hard = (_limit(value, (1 << 64) - 1, "RLIM64_INFINITY") for value in struct.unpack("<QQ", data))
    return f"{{rlim_cur={soft}, rlim_max={hard}}}"


def _rlimit(call: Call, data: bytes) -> str:
    soft, hard = (_limit(value, call.abi.mask, "RLIM_INFINITY") for value in call.abi.rlimit.unpack(data))
    return f"{{rlim_cur={soft}, rlim_max={hard}}}"


def _rusage(call: Call, data: bytes) -> str:
    fields = call.abi.rusage.unpack(data)
    return f"{{ru_utime={_tv(*fields[:2])}, ru_stime={_tv(*fields[2:4])}, ...}}"


def _tms(call: Call, data: bytes) -> str:
    names = ("tms_utime", "tms_stime", "tms_cutime", "tms_cstime")
    return "{" + ", ".join(f"{n}={v}" for n, v in zip(names, call.abi.tms.unpack(data), strict=True)) + "}"


_structure("rlimit64", lambda call: 16, _rlimit64)
_structure("rlimit", lambda call: call.abi.rlimit.size, _rlimit)
_structure("rusage", lambda call: call.abi.rusage.size, _rusage)
_structure("tms", lambda call: call.abi.tms.size, _tms)


# -- poll and select -----------------------------------------------------------------------------------------

_POLLFD = struct.Struct("<ihh")


def _pollfds(call: Call, index: int) -> list[tuple[int, int, int]]:
    count = min(call.values[index + 1], ARRAY_LIMIT)
    data = call.memory(call.values[index], count * 8) if call.values[index] else b""
    return [_POLLFD.unpack_from(data, at) for at in range(0, len(data) - 7, 8)]


@decoder("poll")
def _poll(call: Call, index: int) -> str:
    shown = [f"{{fd={fd}{descriptor_text(call, fd)}" + (f", events={flags('POLL', events)}}}" if fd >= 0 else "}")
             for fd, events, _ in _pollfds(call, index)]  # fmt: skip
    more = ["..."] if call.values[index + 1] > ARRAY_LIMIT else []
    return "[" + ", ".join(shown + more) + "]" if shown or not call.values[index] else pointer(call.values[index])


def poll_result(call: Call, index: int) -> str:
    """What poll adds behind its result: ``([{fd=4, revents=POLLOUT}])`` or ``(Timeout)``."""
    if call.result == 0:
        return " (Timeout)"
    ready = [f"{{fd={fd}{descriptor_text(call, fd)}, revents={flags('POLL', revents)}}}"
             for fd, _, revents in _pollfds(call, index) if revents]  # fmt: skip
    shown = "[" + ", ".join(ready) + "]"
    return f" ({', '.join([shown, *_left(call, 2)])})"


def _left(call: Call, index: int) -> list[str]:
    """How much of the timeout was left, where the kernel says it (poll_select_set_timeout)."""
    if ":t" not in call.types[index] or not call.values[index]:
        return []
    return [f"left {argument(call, index)}"]


def _fd_set(call: Call, index: int) -> list[int]:
    count = max(0, min(call.values[0], 1024))
    data = call.memory(call.values[index], (count + 7) // 8) if call.values[index] else b""
    bits = int.from_bytes(data, "little")
    return [fd for fd in range(count) if bits >> fd & 1]


@decoder("fdset")
def _fdset(call: Call, index: int) -> str:
    return f"[{' '.join(map(str, _fd_set(call, index)))}]" if call.values[index] else "NULL"


def select_result(call: Call) -> str:
    """What select adds behind its result: ``(in [3], out [4])`` or ``(Timeout)``."""
    if call.result == 0:
        return " (Timeout)"
    parts = [
        f"{name} [{' '.join(map(str, ready))}]"
        for index, name in ((1, "in"), (2, "out"), (3, "except"))
        if (ready := _fd_set(call, index))
    ]
    return f" ({', '.join([*parts, *_left(call, 4)])})"


# -- epoll --------------------------------------------------------------------------------------------------------


def _epoll_text(data: bytes) -> str:
    events, value = struct.unpack("<IQ", data)
    return f"{{events={flags('EPOLL', events)}, data={{u32={value & 0xFFFFFFFF}, u64={value}}}}}"


_structure("epoll", lambda call: 12, lambda call, data: _epoll_text(data))


@decoder("epolls>")
def _epolls(call: Call, index: int) -> str:
    data = call.memory(call.values[index], 12 * min(call.result or 0, ARRAY_LIMIT))
    return "[" + ", ".join(_epoll_text(data[at : at + 12]) for at in range(0, len(data) - 11, 12)) + "]"
