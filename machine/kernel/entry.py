"""The kernel's entries from the CPU, and the way back (arch/x86/kernel/{entry_64.S,traps.c}).

`page_fault`, `system_call` and `exception` are called inside the engine's hook, on the hub.  What can't sleep
is answered there; the rest goes to the task's kernel stack with `Scheduler.enter`.  Nothing here leaves the
engine, and while nobody watches nothing builds a record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Optional

from machine.events import SyscallEnter, SyscallExit
from machine.hardware.cpu import (
    BREAKPOINT,
    DEBUG,
    DIVIDE_ERROR,
    GENERAL_PROTECTION,
    INVALID_OPCODE,
    OVERFLOW,
    PAGE_FAULT,
    R11,
    RAX,
    RCX,
    RDX,
    RIP,
    SIMD_FP,
    STACK_FAULT,
    TF,
    X87_FP,
)
from machine.hardware.gdt import USER_CS
from machine.kernel.abi.errno import ENOSYS, ERESTART_RESTARTBLOCK, ERESTARTSYS, Errno
from machine.kernel.abi.signal import (
    BUS_ADRERR,
    FPE_INTDIV,
    ILL_ILLOPN,
    SI_KERNEL,
    SIGBUS,
    SIGFPE,
    SIGILL,
    SIGSEGV,
    SIGTRAP,
    TRAP_BRKPT,
    TRAP_TRACE,
)
from machine.kernel.mm.fault import do_page_fault
from machine.kernel.mm.noncanonical import is_stack_fault
from machine.kernel.mm.trace import FaultTrace
from machine.kernel.syscalls import SyscallTable
from machine.kernel.syscalls.table import ARGUMENTS
from machine.kernel.task.signal import fatal_signal_pending

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.mm.vma import vm_area_struct
    from machine.kernel.syscalls.table import Syscall
    from machine.kernel.task.task import Task

IA32_SYSCALL_VECTOR = 0x80
INJECTED = "injected"
"""`kernel.fault_answer` of a fault that was not answered because a test wanted so."""

_MASK64 = 0xFFFF_FFFF_FFFF_FFFF
_MASK32 = 0xFFFF_FFFF
_PREFIXES = bytes((0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF2, 0xF3))
_PREFIXES64 = _PREFIXES + bytes(range(0x40, 0x50))
_LEAST_RESTART, _MOST_RESTART = -ERESTART_RESTARTBLOCK & _MASK32, -ERESTARTSYS & _MASK32

TRAPS = {
    DIVIDE_ERROR: (SIGFPE, FPE_INTDIV),
    DEBUG: (SIGTRAP, TRAP_TRACE),
    BREAKPOINT: (SIGTRAP, SI_KERNEL),
    OVERFLOW: (SIGSEGV, SI_KERNEL),
    INVALID_OPCODE: (SIGILL, ILL_ILLOPN),
    STACK_FAULT: (SIGBUS, SI_KERNEL),
    GENERAL_PROTECTION: (SIGSEGV, SI_KERNEL),
    X87_FP: (SIGFPE, SI_KERNEL),
    SIMD_FP: (SIGFPE, SI_KERNEL),
}
"""Exception -> the signal it becomes, and its si_code (arch/x86/kernel/traps.c)."""


class Entry:
    """The entries of one machine's kernel; made at boot, when CPU and scheduler are there."""

    __slots__ = (
        "__dict__", "_dispatch", "_table32", "_table64", "clock", "cpu", "events", "kernel", "sched", "tamper",
        "tamper_fault",
    )  # fmt: skip

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.cpu = kernel.cpu
        self.sched = kernel.sched
        self.clock = kernel.clock
        self.events = kernel.events
        self.tamper: Optional[Callable[[Task, str, Optional[Syscall]], tuple[int, str]]] = None
        """Makes system calls, or doesn't (`-e inject=`): task, name, row -> result, what a view adds.  Asked only while
        somebody listens to system calls."""
        self.tamper_fault: Optional[Callable[[Task, int, int], bool]] = None
        """True where a page fault is to end in SIGBUS: task, address, error code.  Asked only while somebody listens to
        faults."""
        self._dispatch = self._unfiltered
        self._table64 = SyscallTable("x86_64")
        self._table32 = SyscallTable("i386")
        self._steps = kernel.mmio.steps
        self.cpu.on_page_fault = self.page_fault
        self.cpu.on_syscall = self.system_call
        self.cpu.on_exception = self.exception
        self.cpu.on_port = self.port

    # -- page faults -----------------------------------------------------------------------------

    def page_fault(self, address: int, error_code: int) -> None:
        """Exception 14: on the task's kernel stack when a driver's operations may be asked, else at once."""
        sched, kernel = self.sched, self.kernel
        task = sched.current
        if task is None:
            self.cpu.stop()
            return
        kernel.fault_count += 1
        vma = task.mm.mmap_cache
        if vma is None or not vma.vm_start <= address < vma.vm_end:
            vma = task.mm.vma_at(address)
        if vma is not None and (ops := vma.vm_ops) is not None and (ops.owner is not None or ops.userfault is not None):
            if self.events.fault is None:
                sched.enter_fault(task, address, error_code, vma)
            else:
                sched.enter(self._traced_fault, task, address, error_code, vma)
            return
        if self.events.fault is not None:
            self._traced_fault(task, address, error_code, vma)
        else:
            do_page_fault(kernel, task, address, error_code, vma)
        if sched.need_resched or task.sigpending:
            sched.enter(_nothing)

    def _traced_fault(self, task: Task, address: int, error_code: int, vma: Optional[vm_area_struct]) -> None:
        kernel = self.kernel
        trace = FaultTrace(kernel, task, address, error_code, "user", vma)
        if self.injects(task, address, error_code):
            kernel.force_sig_fault(task, SIGBUS, BUS_ADRERR, address, PAGE_FAULT, error_code)
        else:
            do_page_fault(kernel, task, address, error_code, vma)
        trace.end()

    def injects(self, task: Task, address: int, error_code: int) -> bool:
        """Whether somebody wants this fault to fail."""
        if self.tamper_fault is None or not self.tamper_fault(task, address, error_code):
            return False
        self.kernel.fault_answer = INJECTED
        return True

    # -- system calls ----------------------------------------------------------------------------

    def system_call(self) -> None:
        """The SYSCALL instruction."""
        task = self.sched.current
        if task is None:
            self.cpu.stop()
            return
        if self._steps:
            self._end_step(task)
        self._dispatch(task, self._table64)

    def _end_step(self, task: Task) -> None:
        """A call in the middle of a step of one instruction (mmio.py): that one has become another, by another thread's
        hand, or held its trap off.  No task sleeps or ends in a step."""
        step = self._steps.get(task)
        if step is not None:
            self.kernel.mmio.debug_exception(task)
            if not step.guest_tf:
                self.cpu.regs[R11] &= ~TF

    def filter_system_calls(self) -> None:
        """A task has asked for seccomp: from now on each call looks whether its task has."""
        self._dispatch = self._filtered

    def _filtered(self, task: Task, table: SyscallTable) -> None:
        """All calls of a task with seccomp are made on its kernel stack: it may end there."""
        if task.seccomp is None:
            self._unfiltered(task, table)
            return
        number = self.cpu.regs[RAX] & _MASK32
        self.kernel.syscall_count += 1
        self.clock.advance()
        self.sched.enter(self._slow_syscall, task, table[number], number, table)

    def _unfiltered(self, task: Task, table: SyscallTable) -> None:
        regs = self.cpu.regs
        number = regs[RAX] & _MASK32
        self.kernel.syscall_count += 1
        self.clock.advance()
        row = table[number]
        events = self.events
        if (
            row is None
            or row.at_once is None
            or events.syscall_enter is not None
            or events.syscall_exit is not None
            or task.ptrace is not None
        ):
            self.sched.enter(self._slow_syscall, task, row, number, table)
            return
        try:
            result = row.at_once(task, regs)
        except Errno as error:
            result = -error.errno
        except Exception as failure:
            self.sched.enter(_raise, failure)
            return
        if result is None:
            self.sched.enter(self._slow_syscall, task, row, number, table)
            return
        regs[RAX] = result & (_MASK64 if table is self._table64 else _MASK32)
        if self.sched.need_resched or task.sigpending:
            self.sched.enter(_nothing)

    def _slow_syscall(self, task: Task, row: Optional[Syscall], number: int, table: SyscallTable) -> None:
        """A system call on the task's kernel stack: it may sleep."""
        regs = self.cpu.regs
        task.orig_ax = number
        traced = task.ptrace is not None
        if traced and task.ptrace.syscalls:
            if not self._report_entry(task, table.abi):
                return
            number = task.orig_ax & _MASK32
            row = table[number]
        refused = None
        if task.seccomp is not None:
            from machine.kernel.task.seccomp import secure_computing

            refused = secure_computing(self.kernel, task, table.abi)
            number = task.orig_ax & _MASK32
            row = table[number]
        name = row.name if row is not None else table.name(number) or f"syscall_{number:#x}"
        task.syscall = name
        events = self.events
        entered = None
        if events.syscall_enter is not None or events.syscall_exit is not None:
            entered = self._enter_event(task, name, number, table.abi)
        tampered = ""
        if refused is not None:
            result = refused
        elif self.tamper is not None:
            result, tampered = self.tamper(task, name, row)
        elif row is None:
            result = self.make_call(task, name, row)
        else:
            try:
                result = row.invoke(task, regs)
            except Errno as error:
                result = -error.errno
        regs[RAX] = result & (_MASK64 if task.abi.bits == 64 else _MASK32)
        task.syscall = ""
        if entered is not None and events.syscall_exit is not None:
            now = self.clock.monotonic_ns()
            events.syscall_exit(SyscallExit(task.pid, entered, result, now, task.comm, entered.rip, tampered))
        if traced or task.ptrace is not None:
            self._report_exit(task)

    def _report_entry(self, task: Task, abi: str) -> bool:
        """The tracer's stop before a call, where it may change number and arguments; False: the call is not made."""
        from machine.kernel.task.ptrace import PTRACE_EVENTMSG_SYSCALL_ENTRY, report_syscall

        regs = self.cpu.regs
        regs[RAX] = -ENOSYS & (_MASK64 if abi == "x86_64" else _MASK32)
        emulate = task.ptrace.emulate
        report_syscall(self.kernel, task, PTRACE_EVENTMSG_SYSCALL_ENTRY)
        if emulate or task.orig_ax < 0 or fatal_signal_pending(task):
            if task.ptrace is not None and not (emulate and task.ptrace.emulate):
                self._report_exit(task)
            return False
        return True

    def _report_exit(self, task: Task) -> None:
        """The tracer's stop after a call, for PTRACE_SYSCALL and for a step over it."""
        from machine.kernel.task.ptrace import PTRACE_EVENTMSG_SYSCALL_EXIT, report_syscall, stepped

        found = task.ptrace
        if found is None:
            return
        if found.syscalls and not found.emulate:
            report_syscall(self.kernel, task, PTRACE_EVENTMSG_SYSCALL_EXIT)
        elif found.step:
            stepped(self.kernel, task)

    def make_call(self, task: Task, name: str, row: Optional[Syscall]) -> int:
        """Do what the system call in the registers asks for; its result, a negative errno on failure."""
        if row is None:
            self.kernel.enosys[name] = self.kernel.enosys.get(name, 0) + 1
            return -ENOSYS
        try:
            return row.invoke(task, self.cpu.regs)
        except Errno as error:
            return -error.errno

    def _enter_event(self, task: Task, name: str, number: int, abi: str) -> SyscallEnter:
        regs = self.cpu.regs
        mask = _MASK64 if abi == "x86_64" else _MASK32
        a, b, c, d, e, f = ARGUMENTS[abi]
        args = regs[a] & mask, regs[b] & mask, regs[c] & mask, regs[d] & mask, regs[e] & mask, regs[f] & mask
        entered = SyscallEnter(
            task.pid, task.comm, abi, number, name, args, regs[RIP] - 2, task, self.clock.monotonic_ns()
        )
        if self.events.syscall_enter is not None:
            self.events.syscall_enter(entered)
        return entered

    # -- other exceptions ------------------------------------------------------------------------

    def exception(self, vector: int) -> None:
        """INT 0x80, and every exception that is no page fault."""
        task = self.sched.current
        if task is None:
            self.cpu.stop()
        elif vector == IA32_SYSCALL_VECTOR:
            if self._steps:
                self.kernel.mmio.debug_exception(task)
            self._dispatch(task, self._table32)
        elif vector == DEBUG and self.kernel.mmio.debug_exception(task):
            if self.sched.need_resched or task.sigpending:  # an interrupt of the device woke somebody
                self.sched.enter(_nothing)
        elif vector != DEBUG or self.kernel.debugger is None or not self.kernel.debugger.debug_exception(task):
            self.sched.enter(self._trap, task, vector)

    def _trap(self, task: Task, vector: int) -> None:
        """The exception becomes a signal (traps.c: do_trap)."""
        if vector == GENERAL_PROTECTION and self.kernel.deterministic and self._virtual_tsc(task):
            return
        if vector == INVALID_OPCODE:
            if self.cpu.gave_up():
                text = f"{task.comm}[{task.pid}]: the engine can't translate the code at {self.cpu.regs[RIP]:#x}"
                self.kernel.printk(f"{text}: invalid opcode", 4)
            if self._icebp(task):
                return
        if vector == GENERAL_PROTECTION and self._is_stack_fault(task):
            vector = STACK_FAULT
        signo, si_code = TRAPS.get(vector, (SIGSEGV, SI_KERNEL))
        if vector in (X87_FP, SIMD_FP):
            from machine.kernel.task.math_error import fpu_exception_code

            si_code = fpu_exception_code(self.cpu, vector)
        rip = self.cpu.regs[RIP]
        address = rip if signo in (SIGFPE, SIGILL) or vector == DEBUG else 0
        error_code = self.cpu.error_code if vector == GENERAL_PROTECTION else 0
        self.kernel.force_sig_fault(task, signo, si_code, address, vector, error_code)

    def _is_stack_fault(self, task: Task) -> bool:
        if self.cpu.error_code or self.cpu.selectors()[0] != USER_CS:
            return False
        code = self.kernel.peek_user(task.mm, self.cpu.regs[RIP], 15)
        instruction = self.kernel.mmio.decoder.decode(code, 64)
        return instruction is not None and is_stack_fault(instruction, self.cpu)

    def port(self, port: int, width: int, value: Optional[int]) -> int:
        """`in` (value None) and `out`, inside the engine's hook."""
        from machine.kernel.task.ioport import user_port

        return user_port(self.kernel, port, width, value)

    def _icebp(self, task: Task) -> bool:
        """INT1, which the engine does not know, is exception 1 behind it (traps.c: exc_debug_user); False when it was
        another instruction."""
        regs = self.cpu.regs
        prefixes, code = self._instruction(task)
        if code[:1] != b"\xf1":
            return False
        regs[RIP] += prefixes + 1
        self.kernel.force_sig_fault(task, SIGTRAP, TRAP_BRKPT, regs[RIP], DEBUG, 0)
        return True

    def _virtual_tsc(self, task: Task) -> bool:
        """`rdtsc` and `rdtscp` read the virtual clock, at 1 GHz; False when it was another instruction."""
        regs = self.cpu.regs
        prefixes, code = self._instruction(task)
        rdtscp = code[:3] == b"\x0f\x01\xf9"
        if code[:2] != b"\x0f\x31" and not rdtscp:
            return False
        self.clock.advance()
        now = self.clock.monotonic_ns()
        regs[RAX], regs[RDX] = now & _MASK32, now >> 32 & _MASK32
        if rdtscp:
            regs[RCX] = 0
        regs[RIP] += prefixes + (3 if rdtscp else 2)
        return True

    def _instruction(self, task: Task) -> tuple[int, bytes]:
        """How many prefixes the instruction at RIP has, and its bytes behind them (SDM vol. 2A §2.1)."""
        code = self.kernel.peek_user(task.mm, self.cpu.regs[RIP], 15)
        bare = code.lstrip(_PREFIXES64 if self.cpu.selectors()[0] == USER_CS else _PREFIXES)
        return len(code) - len(bare), bare

    # -- the way back ------------------------------------------------------------------------------

    def return_to_user(self, task: Task) -> None:
        """On the kernel stack, before user code goes on: deliver signals, restart calls."""
        debugger, result = self.kernel.debugger, self.cpu.regs[RAX]
        if not task.sigpending and debugger is None:
            if task.orig_ax < 0:  # a page fault, mostly
                return
            if not _LEAST_RESTART <= result & _MASK32 <= _MOST_RESTART:  # whatever the ABI, no ERESTART...
                if task not in self.kernel.mmio.steps:
                    task.orig_ax = -1
                return
        elif not task.sigpending and task.orig_ax < 0:
            return
        if self._steps and self.kernel.mmio.holds_off(task):  # one instruction first
            return
        if debugger is not None:
            debugger.returning(task)
            result = self.cpu.regs[RAX]
        restarts = task.orig_ax >= 0 and ERESTARTSYS <= -_signed(result, task.abi.bits) <= ERESTART_RESTARTBLOCK
        if task.sigpending or restarts:
            self._signals(task)
        if debugger is not None:
            debugger.returned(task)
        task.orig_ax = -1

    def _signals(self, task: Task) -> None:
        from machine.kernel.task.deliver import do_signal

        do_signal(self.kernel, task)
        while task.sigpending:
            do_signal(self.kernel, task)


def _nothing() -> None:
    """Work for a task that only has to look at its signals on the way to user mode."""


def _raise(failure: BaseException) -> None:
    raise failure


def _signed(value: int, bits: int) -> int:
    if bits == 32:
        value &= _MASK32
    return value - (1 << bits) if value >> (bits - 1) else value
