"""Calls whose arguments depend on each other so much that a row's types can't say it: clone, futex, prctl."""

from __future__ import annotations

from collections.abc import Callable

from machine.hardware.cpu import RSP
from machine.observe.strace_args import Call, argument, buffer, hexadecimal, pointer
from machine.observe.strace_commands import fcntl_result
from machine.observe.strace_flags import BITS, VALUES, flags, join_bits, signal_name
from machine.observe.strace_sockets import socketcall
from machine.observe.strace_structs import poll_result, select_result, sigset_text


def _clone(call: Call) -> list[str]:
    """Flags and signal share a word; the last pointers are there only with their flags (order: kernel/fork.c)."""
    word, stack, parent, *rest = call.values
    child, tls = rest if call.abi.bits == 64 else rest[::-1]
    signo = word & 0xFF
    text = join_bits(word & ~0xFF, BITS["CLONE"])
    if signo:
        text = signal_name(signo) if text == "0" else f"{text}|{signal_name(signo)}"
    shown = [f"child_stack={pointer(stack)}", f"flags={text}"]
    if word & (0x00100000 | 0x1000):  # CLONE_PARENT_SETTID, CLONE_PIDFD
        shown.append(f"parent_tid={pointer(parent)}")
    if word & 0x00080000:  # CLONE_SETTLS
        shown.append(f"tls={pointer(tls)}")
    if word & (0x01000000 | 0x00200000):  # CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID
        shown.append(f"child_tidptr={pointer(child)}")
    return shown


_CLONE3 = ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls")


def _clone3(call: Call) -> list[str]:
    address, size = call.values
    data = call.memory(address, 64)
    if len(data) < 64:
        return [pointer(address), str(size)]
    parts = []
    for at, name in enumerate(_CLONE3):
        value = int.from_bytes(data[8 * at : 8 * at + 8], "little")
        if name == "flags":
            parts.append(f"flags={join_bits(value, BITS['CLONE'])}")
        elif name == "exit_signal":
            parts.append(f"exit_signal={signal_name(value) if value else 0}")
        elif name == "pidfd" and not int.from_bytes(data[:8], "little") & 0x1000:
            continue  # glibc gives the address whether the flag is set or not
        elif value or name == "stack":
            parts.append(f"{name}={value:#x}" if value else f"{name}=NULL")
    return ["{" + ", ".join(parts) + "}", str(size)]


_WAITS, _BITSETS = (0, 9, 6, 11, 13), (9, 10)
_REQUEUES = (3, 4, 5, 12)


def _futex(call: Call) -> list[str]:
    """Which of the six arguments mean something depends on the operation (futex(2))."""
    address, op, value, timeout, second, third = call.values
    operation = op & 0x7F
    name = VALUES["FUTEX_"].get(operation, f"{operation:#x}")
    name += "_PRIVATE" if op & 0x80 else ""
    name += "|FUTEX_CLOCK_REALTIME" if op & 0x100 else ""
    shown = [pointer(address), name]
    if operation in (6, 7, 8, 13):
        return [*shown, pointer(timeout)] if operation in (6, 13) else shown
    shown.append(str(value))
    if operation in _WAITS:
        shown.append(_timeout(call, 3))
    elif operation in _REQUEUES:
        shown += [str(timeout), pointer(second)]
        shown += [f"{third:#x}" if operation == 5 else str(third)] if operation != 3 else []
    if operation in _BITSETS:
        shown.append("FUTEX_BITSET_MATCH_ANY" if third == 0xFFFFFFFF else f"{third:#x}")
    return shown


def _timeout(call: Call, index: int) -> str:
    kind = "ptr:ts64" if call.name.endswith("64") else "ptr:ts"
    types, call.types = call.types, (*call.types[:index], kind, *call.types[index + 1 :])
    text = argument(call, index)
    call.types = types
    return text or "NULL"


_PRCTL_ARGUMENTS = {"PR_GET_DUMPABLE": 0, "PR_GET_KEEPCAPS": 0, "PR_GET_TIMERSLACK": 0, "PR_GET_SECUREBITS": 0,
                    "PR_GET_SECCOMP": 0, "PR_GET_TIMING": 0, "PR_SET_NO_NEW_PRIVS": 4, "PR_GET_NO_NEW_PRIVS": 4,
                    "PR_SET_THP_DISABLE": 4, "PR_GET_THP_DISABLE": 4, "PR_CAP_AMBIENT": 4, "PR_SET_VMA": 4}  # fmt: skip


def _prctl(call: Call) -> list[str]:
    option, *rest = call.values
    name = flags("PR_", option)
    if name == "PR_SET_NAME":
        text = call.string(rest[0], 15)
        return [name, buffer(call, rest[0], len(text)) if text is not None else pointer(rest[0])]
    if name == "PR_SET_PDEATHSIG":
        return [name, signal_name(rest[0])]
    return [name, *(hexadecimal(value) for value in rest[: _PRCTL_ARGUMENTS.get(name, 1)])]


SIGMASK_IN_FRAME = 8 + 8 + 24 + 256
"""Offset of the mask in x86_64's ucontext: behind uc_flags, uc_link, uc_stack and the registers."""


def _rt_sigreturn(call: Call) -> list[str]:
    """The mask that comes back, from the frame on the program's stack."""
    data = call.memory(call.kernel.cpu.regs[RSP] + SIGMASK_IN_FRAME, 8) if call.abi.bits == 64 else b""
    return [f"{{mask={sigset_text(int.from_bytes(data, 'little'))}}}"] if len(data) == 8 else []


WHOLE: dict[str, Callable[[Call], list[str]]] = {
    "clone": _clone, "clone3": _clone3, "futex": _futex, "futex_time64": _futex, "prctl": _prctl,
    "rt_sigreturn": _rt_sigreturn, "socketcall": socketcall,
}  # fmt: skip
"""Calls that are formatted as a whole, when they begin."""


def _poll_aux(call: Call) -> str:
    return poll_result(call, 0)


AUX: dict[str, Callable[[Call], str]] = {
    "poll": _poll_aux, "ppoll": _poll_aux, "ppoll_time64": _poll_aux,
    "select": lambda call: select_result(call) if len(call.values) > 3 else "", "_newselect": select_result,
    "pselect6": select_result, "pselect6_time64": select_result, "fcntl": fcntl_result, "fcntl64": fcntl_result,
}  # fmt: skip
"""What calls add behind a result that is no error."""
