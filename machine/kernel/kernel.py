"""The kernel of one machine: what the parts share, boot, and the entries from the CPU."""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from machine.events import Events, Oops, PageFault, SyscallEnter, SyscallExit, VmaChange
from machine.hardware.bus import Bus
from machine.hardware.cpu import (
    BREAKPOINT,
    DEBUG,
    DIVIDE_ERROR,
    GENERAL_PROTECTION,
    INVALID_OPCODE,
    OVERFLOW,
    R11,
    RAX,
    RCX,
    RDX,
    RIP,
    Cpu,
)
from machine.hardware.iomem import default_pc
from machine.hardware.paging import PF_PRESENT, PF_USER, RW, A, D, P, PageTables, walk
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE, Ram
from machine.kernel.abi import unistd_32, unistd_64
from machine.kernel.abi.errno import EAGAIN, Errno
from machine.kernel.abi.resource import RLIM_INFINITY
from machine.kernel.abi.signal import FPE_INTDIV, ILL_ILLOPN, SI_KERNEL, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, TRAP_BRKPT
from machine.kernel.clock import Clock, VirtualClock
from machine.kernel.current import set_current_kernel
from machine.kernel.fs.chrdev import Chrdevs
from machine.kernel.fs.rootfs import Vfs
from machine.kernel.mm import fault
from machine.kernel.mm.page import GFP_KERNEL, GFP_ZERO, Memory, PG_dirty
from machine.kernel.mm.slab import Slab
from machine.kernel.mm.space import PTE_PFN
from machine.kernel.printk import Log
from machine.kernel.syscalls import load_table
from machine.kernel.task.sched import Scheduler

if TYPE_CHECKING:
    from machine.kernel.fs.file import dentry, file
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.mm.vma import vm_area_struct
    from machine.kernel.syscalls.table import Syscall
    from machine.kernel.task.siginfo import siginfo
    from machine.kernel.task.task import Task

PAGE_OFFSET = 0xFFFF_8880_0000_0000
"""Start of the direct map of RAM: the kernel address of physical 0 (`__va(0)`)."""
VMALLOC_START = 0xFFFF_C900_0000_0000

KERNEL_CODE = (0x100000, 0x246CBF)
KERNEL_DATA = (0x246CC0, 0x2C4FFF)
"""Where /proc/iomem says the kernel is; these frames are reserved."""
_BOOT = 0x100000
"""Physical address of the GDT and the entry stub, inside the kernel's code."""
_FIRST_FREE = 0x2C5000

PID_MAX = 32768

_MASK64 = 0xFFFF_FFFF_FFFF_FFFF
RESTART_FIRST, RESTART_LAST = 512, 516

ILLEGAL = {
    DIVIDE_ERROR: (SIGFPE, FPE_INTDIV),
    DEBUG: (SIGTRAP, 2),
    BREAKPOINT: (SIGTRAP, SI_KERNEL),
    OVERFLOW: (SIGSEGV, SI_KERNEL),
    INVALID_OPCODE: (SIGILL, ILL_ILLOPN),
    GENERAL_PROTECTION: (SIGSEGV, SI_KERNEL),
}
"""Exception -> the signal it becomes, and its si_code (arch/x86/kernel/traps.c)."""


class Kernel:
    """One machine's kernel.  Made once a machine; `close` gives everything back."""

    def __init__(
        self, ram: Ram, events: Events, *, deterministic: bool = False, check_invariants: bool = False
    ) -> None:
        self.ram = ram
        self.events = events
        self.deterministic = deterministic
        self.check_invariants = check_invariants
        self.clock: Clock = VirtualClock() if deterministic else Clock()
        self.log = Log(self)
        self.reports: list[str] = []
        """Misuse that the kernel noticed (`Bad page state`, `BUG`): tests want it empty."""
        self.oopses: list[Oops] = []
        self.mem = Memory(ram, self.report)
        self.mms: set[mm_struct] = set()
        self.tasks: dict[int, Task] = {}
        self.current: Optional[Task] = None
        self.coredump: Optional[Callable[[Task, siginfo], bool]] = None
        """Writes a core file at a fatal signal; True if one was written."""
        self.futexes: dict[Any, list[Any]] = {}
        """Key of a futex -> its waiters."""
        self.hostname: str = "nopage"
        self.domainname = "(none)"
        self.fault_answer = ""
        self.fault_pfn: Optional[int] = None
        self.fault_signal = ""
        self.fault_number = 0
        self.enosys: dict[str, int] = {}
        """Calls that are not implemented, by name, with how often the guest made them."""
        self.syscall_count = 0
        self.fault_count = 0
        self.proc_entries: dict[str, Callable[[], str | bytes]] = {}
        """Files that drivers made in /proc, by their path there."""
        self.sysfs_entries: dict[str, Any] = {}
        """The same in /sys (fs/sysfs.py)."""
        self.sysctl: dict[str, int] = {}
        """Settings of /proc/sys that were changed (fs/proc_sysctl.py: sysctl)."""
        self.modules: dict[str, Any] = {}
        self.chrdevs = Chrdevs(self)
        self.vfs = Vfs(self)
        self.root: dentry
        """The guest's root directory."""
        self.slab = Slab(self)
        self.init_task: Task
        self.spawned: dict[int, Any] = {}
        """Processes that the user started, by pid."""
        self.last_fatal: dict[int, Any] = {}
        """pid -> the event of the signal that killed it."""
        self.last_fault: dict[int, PageFault] = {}
        """pid -> the fault that became a deadly signal."""
        self.mounts: list[Any] = []
        """Mounted file systems, in the order of /proc/mounts."""
        self.interruptible = False
        """Somebody may send a signal from outside: a machine in which everybody sleeps is not stuck."""
        self._last_pid = 1
        self._random = random.Random(0x6E6F) if deterministic else None
        self.boot_id = self.random_bytes(16)
        set_current_kernel(self)
        self._boot()

    # -- boot ------------------------------------------------------------------------------------

    def _boot(self) -> None:
        ram, mem = self.ram, self.mem
        for pfn in (0, *range(_BOOT >> PAGE_SHIFT, _FIRST_FREE >> PAGE_SHIFT)):
            mem.reserve(pfn, "kernel")
        for start, end in ram.pieces:
            first = max(start, PAGE_SIZE if start == 0 else start)
            if start == 0x100000:
                first = _FIRST_FREE
            mem.release_range(first >> PAGE_SHIFT, end >> PAGE_SHIFT)
        mem.min_free = min(1024, mem.total_frames() >> 7)
        self.kernel_tables = PageTables(ram, self._table_frame, lambda physical: mem.put_page(physical >> PAGE_SHIFT))
        for start, end in ram.pieces:
            base = start & ~0x1FFFFF
            self.kernel_tables.map_large(PAGE_OFFSET + base, base, P | RW | A | D, (end - base + 0x1FFFFF) >> 21)
        self.cpu = Cpu(ram, self.kernel_tables.cr3, _BOOT, PAGE_OFFSET, self.deterministic)
        self.zero_pfn = (_FIRST_FREE >> PAGE_SHIFT) - 1
        """Frame of the zero page: reserved, so never counted."""
        mem.on_exec_freed = self.cpu.drop_code
        self.sched = Scheduler(self)
        self.iomem = default_pc(ram, KERNEL_CODE, KERNEL_DATA)
        self.bus = Bus(self.cpu, ram)
        from machine.kernel.mm.mmio import MmioTrap

        self.mmio = MmioTrap(self)
        self.syscalls = {
            "x86_64": load_table(unistd_64.NUMBERS, "x86_64"),
            "i386": load_table(unistd_32.NUMBERS, "i386"),
        }
        self._names = {
            "x86_64": {number: name for name, number in unistd_64.NUMBERS.items()},
            "i386": {number: name for name, number in unistd_32.NUMBERS.items()},
        }
        self._table64 = self.syscalls["x86_64"]
        self.cpu.on_page_fault = self._on_page_fault
        self.cpu.on_syscall = self._on_syscall
        self.cpu.on_exception = self._on_exception

    def _table_frame(self) -> int:
        return self.mem.alloc_pages(GFP_KERNEL | GFP_ZERO, 0, "kernel page table") << PAGE_SHIFT

    # -- entries from the CPU: called inside the engine's hook ---------------------------------------

    def _on_page_fault(self, address: int, error_code: int) -> None:
        sched = self.sched
        task = sched.current
        if task is None:
            self.cpu.stop()
            return
        self.fault_count += 1
        vma = task.mm.find_vma(address)
        ops = None if vma is None else vma.vm_ops
        if self.events.fault is not None:
            if ops is None or ops.owner is None:
                self._traced_fault(task, address, error_code)
            else:
                sched.enter(self._traced_fault, task, address, error_code)
                return
        elif ops is None or ops.owner is None:
            fault.do_page_fault(self, task, address, error_code)
        else:
            sched.enter(fault.do_page_fault, self, task, address, error_code)
            return
        if sched.need_resched or self.signal_pending(task):
            sched.enter(_nothing)

    def _traced_fault(self, task: Task, address: int, error_code: int) -> None:
        record = self.begin_fault(task, address, error_code, "user")
        fault.do_page_fault(self, task, address, error_code)
        self.end_fault(task, record)

    def begin_fault(self, task: Task, address: int, error_code: int, origin: str) -> PageFault:
        """The half of a fault's record that is known before it is answered."""
        mm = task.mm
        self.fault_number += 1
        self.fault_answer, self.fault_pfn, self.fault_signal = "", None, ""
        vma = mm.vma_at(address)
        regs = self.cpu.regs
        rip = regs[RIP] if origin == "user" else 0
        code_vma = mm.vma_at(rip) if rip else None
        mapping = None
        if code_vma is not None and code_vma.vm_file is not None:
            mapping = (code_vma.vm_file.f_path, code_vma.vm_start, code_vma.vm_pgoff << PAGE_SHIFT)
        code = self.peek_user(mm, rip, 16) if rip else b""
        record = PageFault(
            number=self.fault_number, pid=task.pid, comm=task.comm, rip=rip, address=address, error_code=error_code,
            origin=origin, instruction=code, bits=mm.bits, vma="" if vma is None else vma.maps_line(),
            vm_start=0 if vma is None else vma.vm_start, vm_flags=0 if vma is None else vma.vm_flags,
            mapping=mapping, walk_before=walk(self.ram, mm.tables.cr3, address), time_ns=self.clock.monotonic_ns(),
        )  # fmt: skip
        pte = mm.tables.get(address)
        held = (pte & PTE_PFN) >> PAGE_SHIFT
        self._held = (held, self.mem.count[held]) if pte and self.mem.pfn_valid(held) else (None, 0)
        self._faults_before = (task.min_flt, task.maj_flt)
        return record

    def end_fault(self, task: Task, record: PageFault) -> None:
        """The other half: who answered, with what, and the outcome."""
        record.answer, record.pfn = self.fault_answer, self.fault_pfn
        pfn = record.pfn
        if pfn is not None and self.mem.pfn_valid(pfn):
            record.count_after = self.mem.count[pfn]
            held, count = self._held
            newly = 1 if self.mem.mapcount[pfn] else 0
            record.count_before = count if pfn == held else record.count_after - newly
        record.walk_after = walk(self.ram, task.mm.tables.cr3, record.address)
        if self.fault_signal:
            record.outcome = self.fault_signal
        elif (task.min_flt, task.maj_flt) == self._faults_before:
            record.outcome = "EFAULT" if record.origin != "user" else "device access"
        else:
            record.outcome = "major" if task.maj_flt != self._faults_before[1] else "minor"
        if self.events.fault is not None:
            self.events.fault(record)

    def faultin(self, mm: mm_struct, address: int, error_code: int) -> bool:
        """The kernel's own access to user memory faulted (uaccess); True when it may go on."""
        task = self.current
        if self.events.fault is None or task is None or task.mm is not mm:
            return fault.faultin(mm, address, error_code)
        record = self.begin_fault(task, address, error_code, task.syscall or "kernel")
        result = fault.faultin(mm, address, error_code)
        self.end_fault(task, record)
        return result

    def peek_user(self, mm: mm_struct, address: int, count: int) -> bytes:
        """Bytes that are present at `address`, without faulting anything in."""
        data = b""
        while count > 0:
            pte = mm.tables.get(address)
            if not pte & P:
                break
            room = min(count, PAGE_SIZE - (address & (PAGE_SIZE - 1)))
            physical = (pte & PTE_PFN) | (address & (PAGE_SIZE - 1))
            if physical + room > self.ram.limit:
                break
            data += bytes(self.ram.view[physical : physical + room])
            address += room
            count -= room
        return data

    def _on_syscall(self) -> None:
        task = self.sched.current
        if task is None:
            self.cpu.stop()
            return
        regs = self.cpu.regs
        regs[RCX], regs[R11] = regs[RIP], self.cpu.eflags()  # what the instruction does (SDM vol. 2B, SYSCALL)
        self._dispatch(task, self._table64, "x86_64")

    def _dispatch(self, task: Task, table: dict[int, Syscall], abi: str) -> None:
        regs = self.cpu.regs
        number = regs[RAX] & 0xFFFF_FFFF
        self.syscall_count += 1
        self.clock.advance()
        row = table.get(number)
        events = self.events
        if row is None or row.sleeps or events.syscall_enter is not None or events.syscall_exit is not None:
            self.sched.enter(self._slow_syscall, task, row, number, abi)
            return
        try:
            result = row.invoke(task, regs)
        except Errno as error:
            result = -error.errno
        except Exception as failure:
            self.sched.enter(_raise, failure)
            return
        regs[RAX] = result & (_MASK64 if abi == "x86_64" else 0xFFFF_FFFF)
        if self.sched.need_resched or self.signal_pending(task):
            self.sched.enter(_nothing)

    def _slow_syscall(self, task: Task, row: Optional[Syscall], number: int, abi: str) -> None:
        """A system call on the task's kernel stack: it may sleep."""
        regs = self.cpu.regs
        task.orig_ax = number
        name = row.name if row is not None else self._names[abi].get(number, f"syscall_{number:#x}")
        task.syscall = name
        events = self.events
        entered = None
        if events.syscall_enter is not None or events.syscall_exit is not None:
            entered = self._enter_event(task, name, number, abi)
        if row is None:
            self.enosys[name] = self.enosys.get(name, 0) + 1
            result = -38
        else:
            try:
                result = row.invoke(task, regs)
            except Errno as error:
                result = -error.errno
        regs = self.cpu.regs
        regs[RAX] = result & (_MASK64 if task.abi.bits == 64 else 0xFFFF_FFFF)
        task.syscall = ""
        if entered is not None and events.syscall_exit is not None:
            events.syscall_exit(SyscallExit(task.pid, entered, result, self.clock.monotonic_ns()))

    def _enter_event(self, task: Task, name: str, number: int, abi: str) -> SyscallEnter:
        from machine.kernel.syscalls.table import ARGUMENTS

        regs = self.cpu.regs
        mask = _MASK64 if abi == "x86_64" else 0xFFFF_FFFF
        args = tuple(regs[i] & mask for i in ARGUMENTS[abi])
        entered = SyscallEnter(
            task.pid, task.comm, abi, number, name, args, regs[RIP] - 2, task, self.clock.monotonic_ns()
        )
        if self.events.syscall_enter is not None:
            self.events.syscall_enter(entered)
        return entered

    def _on_exception(self, vector: int) -> None:
        task = self.sched.current
        if task is None:
            self.cpu.stop()
        elif vector == 0x80:
            self._dispatch(task, self.syscalls["i386"], "i386")
        elif vector == DEBUG and self.mmio.debug_exception(task):
            pass
        else:
            self.sched.enter(self._trap, task, vector)

    def _trap(self, task: Task, vector: int) -> None:
        """An exception that is no page fault becomes a signal."""
        if vector == GENERAL_PROTECTION and self.deterministic and self._virtual_tsc(task):
            return
        signo, si_code = ILLEGAL.get(vector, (SIGSEGV, SI_KERNEL))
        rip = self.cpu.regs[RIP]
        address = rip if signo in (SIGFPE, SIGILL) or vector == DEBUG else 0
        if vector == DEBUG:
            si_code = TRAP_BRKPT if si_code == 1 else si_code
        self.force_sig_fault(task, signo, si_code, address, vector, self.cpu.error_code if vector == 13 else 0)

    def _virtual_tsc(self, task: Task) -> bool:
        """`rdtsc` and `rdtscp` read the virtual clock, at 1 GHz; False when it was another instruction."""
        regs = self.cpu.regs
        code = self.peek_user(task.mm, regs[RIP], 3)
        if code[:2] != b"\x0f\x31" and code != b"\x0f\x01\xf9":
            return False
        self.clock.advance()
        now = self.clock.monotonic_ns()
        regs[RAX], regs[RDX] = now & 0xFFFF_FFFF, now >> 32 & 0xFFFF_FFFF
        if code[1] == 0x01:
            regs[RCX] = 0
        regs[RIP] += 3 if code[1] == 0x01 else 2
        return True

    def return_to_user(self, task: Task) -> None:
        """On the kernel stack, before user code goes on: deliver signals, restart calls."""
        from machine.kernel.task.deliver import do_signal

        if task in self.mmio.steps:  # one instruction on a device's registers first
            return
        result = self.cpu.regs[RAX]
        restarts = task.orig_ax >= 0 and RESTART_FIRST <= -_signed(result, task.abi.bits) <= RESTART_LAST
        while self.signal_pending(task) or restarts:
            do_signal(self, task)
            restarts = False
        task.orig_ax = -1

    # -- signals, reports ------------------------------------------------------------------------------

    def signal_pending(self, task: Task) -> bool:
        """Whether `task` must look at its signals before it returns to user mode (TIF_SIGPENDING)."""
        return task.sigpending

    def force_sig_fault(self, task: Task, signo: int, si_code: int, address: int, trapno: int, error_code: int) -> None:
        """A signal that the task's own instruction caused; it can't be blocked or ignored."""
        from machine.kernel.abi.signal import describe
        from machine.kernel.task.signal import force_sig_info

        self.fault_signal = describe(signo, si_code)
        self.mmio.cancel(task)
        force_sig_info(self, task, signo, si_code, address, trapno, error_code)

    def printk(self, text: str, level: int = 4) -> None:
        """One line into the kernel's log."""
        self.log.write(level, text)

    def report(self, text: str) -> None:
        """Misuse by a driver, in the kernel's words: into the log, and remembered for tests."""
        self.reports.append(text)
        self.printk(text, 1)

    def driver_bug(self, module: Any, text: str) -> None:
        """A driver did what would corrupt a real kernel."""
        self.report(f"BUG: {getattr(module, 'name', '?')}: {text}")

    def oops(self, task: Optional[Task], failure: BaseException, where: str = "") -> None:
        """Our own code raised: report it once; the task that was served dies, the machine goes on."""
        text = "".join(traceback.format_exception(type(failure), failure, failure.__traceback__))
        rip = self.cpu.regs[RIP]
        place = where or (task.syscall if task is not None else "")
        record = Oops(
            0 if task is None else task.pid, "" if task is None else task.comm, place, text, rip, False,
            self.clock.monotonic_ns(),
        )  # fmt: skip
        self.oopses.append(record)
        self.printk(f"Oops: {type(failure).__name__}: {failure} in {place or 'the kernel'}", 0)
        if self.events.oops is not None:
            self.events.oops(record)
        if task is not None:
            from machine.kernel.task.exit import do_group_exit

            task.syscall = ""
            do_group_exit(self, task, 9)

    def random_bytes(self, count: int) -> bytes:
        """Entropy: the host's, or a seeded sequence in deterministic mode."""
        return os.urandom(count) if self._random is None else self._random.randbytes(count)

    def expects_interrupts(self) -> bool:
        """Whether somebody outside may still wake a sleeping task (a terminal's Ctrl-C, a test's poke)."""
        return self.interruptible

    def set_page_dirty(self, pfn: int) -> None:
        """A mapping of this page-cache frame was written through."""
        self.mem.flags[pfn] |= PG_dirty

    def unmap_mapping_range(self, mapping: Any, first: int, last: int) -> None:
        """Remove every mapping of pages `first` to `last` (inclusive) of a file (mm/memory.c)."""
        from machine.kernel.mm.mmap import unmap_mapping_range

        unmap_mapping_range(self, mapping, first, last)

    def alloc_pid(self) -> int:
        """The next free process number; they wrap at 32768 (kernel/pid.c)."""
        pid = self._last_pid
        for _ in range(PID_MAX):
            pid = pid + 1 if pid + 1 < PID_MAX else 300
            if pid not in self.tasks and not (pid < self._last_pid and self._is_group(pid)):
                self._last_pid = pid
                return pid
        raise Errno(EAGAIN)

    def _is_group(self, pid: int) -> bool:
        return any(task.signal.pgrp == pid or task.signal.session == pid for task in self.tasks.values())

    def task_ended(self, task: Task, status: int) -> None:
        """The last thread of a process is gone: whoever started it from outside hears of it."""
        spawned = self.spawned.get(task.tgid)
        if spawned is not None:
            spawned.status = status
            spawned.ended = True
            self.sched.need_resched = True

    def total_faults(self) -> int:
        """Page faults that were answered since boot."""
        return self.fault_count

    def rlimit(self, number: int) -> int:
        """The current task's soft limit; no limit while there is no task."""
        task = self.current
        return RLIM_INFINITY if task is None else task.signal.rlimits[number][0]

    def capable(self) -> bool:
        """Whether the current task has the rights of root (every CAP_*)."""
        task = self.current
        return task is None or task.euid == 0

    def shmem_file(self, size: int) -> file:
        """The unnamed object behind a shared anonymous mapping (mm/shmem.c: shmem_zero_setup)."""
        from machine.kernel.fs.tmpfs import shmem_file_setup

        return shmem_file_setup(self, "dev/zero", size)

    def emit_vma(self, what: str, vma: vm_area_struct) -> None:
        """Tell the listeners that an area was made, split, merged, changed or removed."""
        if self.events.vma is not None:
            pid = 0 if self.current is None else self.current.pid
            now = self.clock.monotonic_ns()
            self.events.vma(VmaChange(pid, what, vma.vm_start, vma.vm_end, vma.vm_flags, vma.name(), now))

    def check_mm(self, mm: mm_struct) -> None:
        """In tests: complain at once when an address space breaks an invariant."""
        from machine.kernel.mm.check import check_mm

        complaints = check_mm(mm)
        if complaints:
            raise AssertionError("; ".join(complaints))

    def close(self) -> None:
        """Give back what the host holds for this machine."""
        self.vfs.release_all()
        self.sched.close()


def _nothing() -> None:
    """Work for a task that only has to look at its signals on the way to user mode."""


def _raise(failure: BaseException) -> None:
    raise failure


def _signed(value: int, bits: int) -> int:
    if bits == 32:
        value &= 0xFFFF_FFFF
    return value - (1 << bits) if value >> (bits - 1) else value


__all__ = ["KERNEL_CODE", "KERNEL_DATA", "PAGE_OFFSET", "PF_PRESENT", "PF_USER", "VMALLOC_START", "Kernel"]
