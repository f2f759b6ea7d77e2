"""What a tracer asks of a task that has stopped (kernel/ptrace.c: ptrace_request; arch/x86/kernel/ptrace.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.hardware.cpu import EFLAGS, RIP, RSP
from machine.hardware.fpu import FXSAVE_SIZE
from machine.kernel.abi.errno import EFAULT, EINVAL, EIO, ENOSPC, ESRCH, Errno
from machine.kernel.abi.layout import USER_DESC
from machine.kernel.abi.signal import FULL_SET, NSIG, SIGKILL, UNBLOCKABLE
from machine.kernel.mm.gup import read_process_vm, write_process_vm
from machine.kernel.task import ptrace as p
from machine.kernel.task import user_regs as u
from machine.kernel.task.siginfo import SIZE as SIGINFO_SIZE
from machine.kernel.task.siginfo import siginfo, unpack
from machine.kernel.task.signal import recalc_sigpending, send_signal, signal_wake_up
from machine.kernel.task.task import TASK_TRACED, task_struct
from machine.kernel.task.tls import get_tls_entry, set_tls_entry

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

NT_PRSTATUS, NT_PRFPREG, NT_X86_XSTATE, NT_PRXFPREG = 1, 2, 0x202, 0x46E62B7F
AUDIT_ARCH = {64: 0xC000003E, 32: 0x40000003}
PTRACE_SYSCALL_INFO_NONE, PTRACE_SYSCALL_INFO_ENTRY, PTRACE_SYSCALL_INFO_EXIT = 0, 1, 2
XSTATE_SIZE = FXSAVE_SIZE + 64
Request = Callable[["Kernel", task_struct, task_struct, int, int], int]

_USER = {64: (912, 848), 32: (284, 252)}
"""Size of `struct user`, and where u_debugreg is in it."""


# -- going on -------------------------------------------------------------------------------------------


def single_step(kernel: Kernel, task: task_struct, found: p.tracee, on: bool) -> None:
    """TF in the task's flags: user_enable_single_step, user_disable_single_step."""
    found.step = on
    with u.of_task(kernel, task) as cpu:
        flags = cpu.eflags()
        if on and not flags & u.TF:
            found.forced_tf = True
            cpu.set_register(EFLAGS, flags | u.TF)
        elif not on and found.forced_tf:
            found.forced_tf = False
            cpu.set_register(EFLAGS, flags & ~u.TF)


def _resume(
    kernel: Kernel, task: task_struct, signo: int, *, syscalls: bool = False, emulate: bool = False, step: bool = False
) -> int:
    """ptrace_resume.  EIO: no such signal."""
    if not 0 <= signo <= NSIG:
        raise Errno(EIO)
    found = task.ptrace
    found.syscalls, found.emulate = syscalls, emulate
    single_step(kernel, task, found, step)
    found.code = signo
    p.wake_traced(kernel, task)
    return 0


def _detach(kernel: Kernel, task: task_struct, signo: int) -> int:
    if not 0 <= signo <= NSIG:
        raise Errno(EIO)
    task.ptrace.code = signo
    p.detach(kernel, task)
    return 0


def kill(kernel: Kernel, task: task_struct) -> int:
    """PTRACE_KILL: a task that has stopped goes on with SIGKILL."""
    if task.state == TASK_TRACED:
        send_signal(kernel, task, SIGKILL, None, group=False)
    return 0


def interrupt(kernel: Kernel, task: task_struct) -> int:
    """PTRACE_INTERRUPT: stop a seized task.  EIO: it was attached to in another way."""
    if not task.ptrace.seized:
        raise Errno(EIO)
    task.ptrace.trap_stop = True
    if task.state != TASK_TRACED or task.ptrace.listening:
        task.sigpending = True
        if task.ptrace.listening:
            p.wake_traced(kernel, task)
        else:
            signal_wake_up(kernel, task, False)
    return 0


def _listen(task: task_struct) -> int:
    found = task.ptrace
    if not found.seized or found.info is None or found.info.code >> 8 != p.PTRACE_EVENT_STOP:
        raise Errno(EIO)
    found.listening = True
    if found.trap_stop:
        p.wake_traced(task.kernel, task)
    return 0


# -- memory and registers ---------------------------------------------------------------------------------


def _peek(task: task_struct, target: task_struct, address: int, data: int) -> int:
    word = read_process_vm(target.mm, address, task.abi.word)
    if len(word) < task.abi.word:
        raise Errno(EIO)
    task.mm.copy_to_user(data, word)
    return 0


def _poke(task: task_struct, target: task_struct, address: int, data: int) -> int:
    word = (data & task.abi.mask).to_bytes(task.abi.word, "little")
    if write_process_vm(target.mm, address, word) != len(word):
        raise Errno(EIO)
    return 0


def _user_place(task: task_struct, address: int) -> tuple[str, int]:
    """What is at `address` of `struct user`.  EIO: outside it, or no whole word."""
    size, debug = _USER[task.abi.bits]
    word = task.abi.word
    if address & word - 1 or not 0 <= address < size:
        raise Errno(EIO)
    if address < (u.WORDS64 if word == 8 else u.WORDS32) * word:
        return "register", address // word
    if debug <= address < debug + 8 * word:
        return "debug", (address - debug) // word
    return "", 0


def _peekuser(kernel: Kernel, task: task_struct, target: task_struct, address: int, data: int) -> int:
    kind, index = _user_place(task, address)
    value = 0
    if kind == "register":
        with u.of_task(kernel, target) as cpu:
            value = u.get_word(cpu, target, index, task.abi.bits == 64)
    elif kind == "debug":
        value = target.ptrace.debugreg[index]
    task.abi.put_word(task.mm, data, value & task.abi.mask)
    return 0


def _pokeuser(kernel: Kernel, task: task_struct, target: task_struct, address: int, data: int) -> int:
    kind, index = _user_place(task, address)
    if kind == "debug":
        _set_debugreg(target, index, data)
    elif kind == "register":
        with u.of_task(kernel, target) as cpu:
            u.set_word(cpu, target, index, data & task.abi.mask, task.abi.bits == 64)
    else:
        raise Errno(EIO)
    return 0


def _set_debugreg(target: task_struct, index: int, value: int) -> None:
    """The engine's breakpoint registers do not work, so none is free: ENOSPC for one that is switched on in DR7."""
    if index in (4, 5):
        raise Errno(EIO)
    if index == 7 and value & 0xFF:
        raise Errno(ENOSPC)
    if index < 4 and value >= target.mm.task_size:
        raise Errno(EINVAL)
    target.ptrace.debugreg[index] = value


# -- register sets ------------------------------------------------------------------------------------------


def _xstate(fxsave: bytes) -> bytes:
    """The standard form of XSAVE: XCR0 in the software bytes, XSTATE_BV in the header."""
    area = bytearray(fxsave)
    area[464:472] = (3).to_bytes(8, "little")
    return bytes(area) + (3).to_bytes(64, "little")


def _read_set(kernel: Kernel, target: task_struct, kind: int, wide: bool) -> bytes:
    with u.of_task(kernel, target) as cpu:
        if kind == NT_PRSTATUS:
            return u.general(cpu, target, wide)
        if kind == NT_PRFPREG:
            return cpu.fxsave() if wide else u.i387(cpu)
        if kind == NT_X86_XSTATE:
            return _xstate(cpu.fxsave())
        if kind == NT_PRXFPREG and not wide:
            return cpu.fxsave()
    raise Errno(EINVAL)


def _write_set(kernel: Kernel, target: task_struct, kind: int, data: bytes, wide: bool) -> None:
    with u.of_task(kernel, target) as cpu:
        if kind == NT_PRSTATUS:
            u.set_general(cpu, target, data, wide)
        elif kind == NT_PRFPREG and not wide:
            u.set_i387(cpu, data)
        elif kind == NT_PRFPREG or (kind == NT_PRXFPREG and not wide):
            u.set_fxsave(cpu, data)
        elif kind == NT_X86_XSTATE:
            if len(data) < XSTATE_SIZE or int.from_bytes(data[512:520], "little") & ~3:
                raise Errno(EFAULT if len(data) < XSTATE_SIZE else EINVAL)
            u.set_fxsave(cpu, data)
        else:
            raise Errno(EINVAL)


def _regset(kernel: Kernel, task: task_struct, target: task_struct, kind: int, address: int, write: bool) -> int:
    """PTRACE_GETREGSET, PTRACE_SETREGSET: `address` is an iovec, whose length becomes what was moved.

    EINVAL: no such set, or a length that is no multiple of its unit.
    """
    base, length = task.abi.iovec.unpack(task.mm.copy_from_user(address, task.abi.iovec.size))
    wide = target.abi.bits == 64
    data = _read_set(kernel, target, kind, wide)
    unit = 8 if kind == NT_X86_XSTATE or wide else 4
    if length % unit:
        raise Errno(EINVAL)
    length = min(length, len(data))
    if write:
        _write_set(kernel, target, kind, task.mm.copy_from_user(base, length), wide)
    else:
        task.mm.copy_to_user(base, data[:length])
    task.mm.copy_to_user(address, task.abi.iovec.pack(base, length))
    return 0


def _whole_set(kernel: Kernel, task: task_struct, target: task_struct, kind: int, data: int, write: bool) -> int:
    """PTRACE_GETREGS and its family: the set in the tracer's form, whatever the task's is."""
    wide = task.abi.bits == 64
    current = _read_set(kernel, target, kind, wide)
    if write:
        _write_set(kernel, target, kind, task.mm.copy_from_user(data, len(current)), wide)
    else:
        task.mm.copy_to_user(data, current)
    return 0


# -- what a stop was --------------------------------------------------------------------------------------------


def _event_message(task: task_struct, target: task_struct, data: int) -> int:
    task.abi.put_word(task.mm, data, target.ptrace.message)
    return 0


def _get_siginfo(task: task_struct, target: task_struct, data: int) -> int:
    info = target.ptrace.info
    if info is None:
        raise Errno(EINVAL)
    task.mm.copy_to_user(data, info.pack(task.abi.bits))
    return 0


def _set_siginfo(task: task_struct, target: task_struct, data: int) -> int:
    info = target.ptrace.info
    new = unpack(task.mm.copy_from_user(data, SIGINFO_SIZE), task.abi.bits)
    if info is None:
        raise Errno(EINVAL)
    for name in siginfo.__slots__:
        if name != "timer":
            setattr(info, name, getattr(new, name))
    return 0


def _peek_siginfo(task: task_struct, target: task_struct, args: int, data: int) -> int:
    """Signals that wait, from the `off`th on, without taking them: how many were copied."""
    off, flags, count = struct.unpack("<QIi", task.mm.copy_from_user(args, 16))
    if flags & ~1 or count < 0:
        raise Errno(EINVAL)
    queue = target.signal.shared_pending if flags & 1 else target.pending
    done = 0
    for info in queue.list[off : off + count]:
        try:
            task.mm.copy_to_user(data + done * SIGINFO_SIZE, info.pack(task.abi.bits))
        except Errno:
            if not done:
                raise
            break
        done += 1
    return done


def _get_syscall_info(kernel: Kernel, task: task_struct, target: task_struct, size: int, data: int) -> int:
    """`struct ptrace_syscall_info`, as much as `size` holds: its whole size (PTRACE_O_TRACESYSGOOD must be on)."""
    found = target.ptrace
    kind = PTRACE_SYSCALL_INFO_NONE
    if found.info is not None and found.info.code == 0x85:
        kind = found.message
    bits = target.abi.bits
    with u.of_task(kernel, target) as cpu:
        record = struct.pack("<BxxxIQQ", kind, AUDIT_ARCH[bits], cpu.regs[RIP], cpu.regs[RSP])
        if kind == PTRACE_SYSCALL_INFO_ENTRY:
            from machine.kernel.syscalls.table import ARGUMENTS

            mask = (1 << bits) - 1
            arguments = [cpu.regs[index] & mask for index in ARGUMENTS[target.abi.name]]
            record += struct.pack("<Q6Q", target.orig_ax & 0xFFFF_FFFF_FFFF_FFFF, *arguments)
        elif kind == PTRACE_SYSCALL_INFO_EXIT:
            value = target.abi.signed(cpu.regs[0] & target.abi.mask)
            record += struct.pack("<qB", value, int(-4095 <= value < 0))
    task.mm.copy_to_user(data, record[:size])
    return len(record)


def _set_options(task: task_struct, target: task_struct, data: int) -> int:
    p.check_options(task, data)
    target.ptrace.options = data
    return 0


def _get_mask(task: task_struct, target: task_struct, size: int, data: int) -> int:
    if size != 8:
        raise Errno(EINVAL)
    mask = target.blocked if target.saved_sigmask is None else target.saved_sigmask
    task.mm.put_u64(data, mask)
    return 0


def _set_mask(task: task_struct, target: task_struct, size: int, data: int) -> int:
    if size != 8:
        raise Errno(EINVAL)
    target.blocked = task.mm.get_u64(data) & ~UNBLOCKABLE & FULL_SET
    target.saved_sigmask = None
    recalc_sigpending(target)
    return 0


def _thread_area(task: task_struct, target: task_struct, number: int, data: int, write: bool) -> int:
    """PTRACE_GET_THREAD_AREA, PTRACE_SET_THREAD_AREA: TLS descriptor `number` of the GDT.  EINVAL: there is none."""
    if not 12 <= number <= 14:
        raise Errno(EINVAL)
    if write:
        raw = task.mm.copy_from_user(data, USER_DESC.size)
        set_tls_entry(target.tls_array, (number, *USER_DESC.unpack(raw)[1:]))
    else:
        task.mm.copy_to_user(data, USER_DESC.pack(*get_tls_entry(target.tls_array, number)))
    return 0


# -- the table ---------------------------------------------------------------------------------------------------

_REQUESTS: dict[int, Request] = {
    1: lambda k, t, o, a, d: _peek(t, o, a, d),
    2: lambda k, t, o, a, d: _peek(t, o, a, d),
    3: _peekuser,
    4: lambda k, t, o, a, d: _poke(t, o, a, d),
    5: lambda k, t, o, a, d: _poke(t, o, a, d),
    6: _pokeuser,
    7: lambda k, t, o, a, d: _resume(k, o, d),
    9: lambda k, t, o, a, d: _resume(k, o, d, step=True),
    12: lambda k, t, o, a, d: _whole_set(k, t, o, NT_PRSTATUS, d, False),
    13: lambda k, t, o, a, d: _whole_set(k, t, o, NT_PRSTATUS, d, True),
    14: lambda k, t, o, a, d: _whole_set(k, t, o, NT_PRFPREG, d, False),
    15: lambda k, t, o, a, d: _whole_set(k, t, o, NT_PRFPREG, d, True),
    17: lambda k, t, o, a, d: _detach(k, o, d),
    21: lambda k, t, o, a, d: _set_options(t, o, d),
    24: lambda k, t, o, a, d: _resume(k, o, d, syscalls=True),
    25: lambda k, t, o, a, d: _thread_area(t, o, a, d, False),
    26: lambda k, t, o, a, d: _thread_area(t, o, a, d, True),
    30: u.arch_prctl,
    31: lambda k, t, o, a, d: _resume(k, o, d, syscalls=True, emulate=True),
    32: lambda k, t, o, a, d: _resume(k, o, d, syscalls=True, emulate=True, step=True),
    0x4200: lambda k, t, o, a, d: _set_options(t, o, d),
    0x4201: lambda k, t, o, a, d: _event_message(t, o, d),
    0x4202: lambda k, t, o, a, d: _get_siginfo(t, o, d),
    0x4203: lambda k, t, o, a, d: _set_siginfo(t, o, d),
    0x4204: lambda k, t, o, a, d: _regset(k, t, o, a, d, False),
    0x4205: lambda k, t, o, a, d: _regset(k, t, o, a, d, True),
    0x4208: lambda k, t, o, a, d: _listen(o),
    0x4209: lambda k, t, o, a, d: _peek_siginfo(t, o, a, d),
    0x420A: lambda k, t, o, a, d: _get_mask(t, o, a, d),
    0x420B: lambda k, t, o, a, d: _set_mask(t, o, a, d),
    0x420E: _get_syscall_info,
}
_I386_ONLY: dict[int, Request] = {
    18: lambda k, t, o, a, d: _whole_set(k, t, o, NT_PRXFPREG, d, False),
    19: lambda k, t, o, a, d: _whole_set(k, t, o, NT_PRXFPREG, d, True),
}


def request(kernel: Kernel, task: task_struct, target: task_struct, number: int, address: int, data: int) -> int:
    """Any request but those that begin a trace.  ESRCH: not traced by the caller, or not stopped; EIO: unknown."""
    found = target.ptrace
    if found is None or found.tracer is not task:
        raise Errno(ESRCH)
    if number == 8:
        return kill(kernel, target)
    if number == 0x4207:
        return interrupt(kernel, target)
    if target.state != TASK_TRACED or found.listening:
        raise Errno(ESRCH)
    method = _REQUESTS.get(number) or (_I386_ONLY.get(number) if task.abi.bits == 32 else None)
    if method is None:
        raise Errno(EIO)
    return method(kernel, task, target, address, data)
