"""The kernel of one machine: what the parts share, boot, reports.  The entries from the CPU are in entry.py."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from machine.events import Events, Oops, Report
from machine.hardware.blame import said
from machine.hardware.bus import Bus
from machine.hardware.cpu import PAGE_FAULT, RIP, Cpu
from machine.hardware.gdt import map_entry_area
from machine.hardware.paging import PF_FETCH, RW, A, D, P, PageTables
from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE, Ram
from machine.kernel.abi.errno import EAGAIN, Errno
from machine.kernel.abi.resource import RLIM_INFINITY
from machine.kernel.abi.signal import describe
from machine.kernel.boardside import BoardSide
from machine.kernel.capability import capable
from machine.kernel.clock import Clock, VirtualClock
from machine.kernel.context import interrupt_context
from machine.kernel.current import set_current_kernel
from machine.kernel.entry import Entry
from machine.kernel.fs.chrdev import Chrdevs
from machine.kernel.fs.rootfs import Vfs
from machine.kernel.ipc.util import IpcNamespace
from machine.kernel.irq import Interrupts
from machine.kernel.mm import fault
from machine.kernel.mm.ioremap import Regions
from machine.kernel.mm.page import GFP_KERNEL, GFP_ZERO, Memory, PG_dirty
from machine.kernel.mm.pte import PTE_PFN
from machine.kernel.mm.slab import Slab
from machine.kernel.mm.trace import FaultTrace
from machine.kernel.mm.vmalloc import Vmalloc
from machine.kernel.module import calling_line
from machine.kernel.net.table import UnixTable
from machine.kernel.printk import Log
from machine.kernel.setup import system_ram
from machine.kernel.sysctl import DEFAULTS
from machine.kernel.task.sched import Scheduler
from machine.kernel.task.signal import force_sig_info
from machine.kernel.task.vvar import Vvar
from machine.kernel.workqueue import Workqueue

if TYPE_CHECKING:
    from machine.hardware.board import Board
    from machine.kernel.fs.file import dentry, file
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.siginfo import siginfo
    from machine.kernel.task.task import Task

PAGE_OFFSET = 0xFFFF_8880_0000_0000
"""Start of the direct map of RAM: the kernel address of physical 0 (`__va(0)`)."""

_BOOT = 0x100000
"""Physical address of the GDT and the entry stub, inside the kernel's code."""
_FIRST_FREE = 0x2C5000

LIMITS_KEPT = 20


class Kernel(BoardSide):
    """One machine's kernel.  Made once a machine; `close` gives everything back."""

    # What each system call and page fault reads (see mm/page.py: Memory).
    __slots__ = (
        "batch_faults", "check_invariants", "clock", "cpu", "current", "driver_probe", "events", "fault_answer",
        "fault_count", "fault_pfn", "irq", "mem", "ram", "sched", "syscall_count",
    )  # fmt: skip

    def __init__(
        self, ram: Ram, events: Events, board: Board, deterministic: bool = False, check_invariants: bool = False
    ) -> None:
        self.board = board
        self.ram = ram
        self.events = events
        self.deterministic = deterministic
        self.check_invariants = check_invariants
        self.ignored_signals: tuple[int, ...] = ()
        """What programs from outside are started with ignored: `nohup`'s SIGHUP."""
        self.batch_faults = False
        """Anonymous pages may be mapped ahead of their first touch (mm/ahead.py): nobody counts faults one by one."""
        self.clock: Clock = VirtualClock() if deterministic else Clock()
        self.log = Log(self)
        self.limits: dict[str, int] = {}
        """Limits that the guest met, in words, and how often."""
        self.oom: Any = None
        """What mm/oom_kill.py remembers."""
        self.max_memory = 0
        self.output_left: Optional[int] = None
        self.host_memory: Any = None
        """Bytes that may be taken of the host, 0 and None: any (hostlimits.py); who looks."""
        self.journal_size: Optional[Callable[[], int]] = None
        """Bytes of the host's memory that recorded input takes (--record, --rewind): they are in no process."""
        self.reports: list[str] = []
        """Misuse that the kernel noticed (`Bad page state`, `BUG`): tests want it empty."""
        self.oopses: list[Oops] = []
        self.mem = Memory(ram, self.report)
        self.mms: set[mm_struct] = set()
        self.mm_count = 0
        """Address spaces that were ever made."""
        self.tasks: dict[int, Task] = {}
        self.current: Optional[Task] = None
        self.host: Callable[..., Any] = _call
        """Makes a call of the host whose result is not a function of the machine's start: host(os.read, fd, 100)."""
        self.key: Optional[Callable[[int], None]] = None
        """Takes a signal for the foreground group, in a signal handler; None: it is delivered as soon as it can be."""
        self.coredump: Optional[Callable[[Task, siginfo], bool]] = None
        """Writes a core file at a fatal signal; True if one was written."""
        self.core_pattern: str = "core"
        """What cores are called (/proc/sys/kernel/core_pattern, observe/coredump.py)."""
        self.futexes: dict[Any, list[Any]] = {}
        """Key of a futex -> its waiters."""
        self.mqueues: Any = None
        """POSIX message queues (ipc/mqueue.py); None until somebody opens one."""
        self.pi_states: dict[Any, Any] = {}
        """Futexes with an owner and waiters (task/futex_pi.py)."""
        self.hostname: str = "nopage"
        self.domainname = "(none)"
        self.fault_answer = ""
        self.fault_pfn: Optional[int] = None
        self.fault_signal = ""
        self.port_fault = False
        """A forbidden `in` or `out` has been met, and its signal is not sent yet (task/ioport.py)."""
        self.refused: tuple[Any, str] = (None, "")
        """The area of the last fault that its driver, or the kernel, refused, and what it said (mm/refusal.py)."""
        self.fault_number = 0
        self.epoll_holders: dict[file, dict[Any, int]] = {}
        """The sets of epoll that a file is in, and by how many items."""
        self.enosys: dict[str, int] = {}
        """Calls that are not implemented, by name, with how often the guest made them."""
        self.syscall_count = 0
        self.fault_count = 0
        self.proc_entries: dict[str, Callable[[], str | bytes]] = {}
        """Files that drivers made in /proc, by their path there."""
        self.sysfs_entries: dict[str, Any] = {}
        """The same in /sys (fs/sysfs.py)."""
        self.framebuffers: Any = None
        """What `register_framebuffer` has (include/fbmem.py); None without any."""
        self.device_classes: dict[str, Any] = {}
        """Name -> what `class_create` made (include/class_device.py)."""
        self.misc_devices: list[Any] = []
        """What `misc_register` made, the newest first (include/miscdevice.py)."""
        self.sysctl = dict(DEFAULTS)
        """Settings below /proc/sys, by their path (sysctl.py)."""
        self.modules: dict[str, Any] = {}
        self.module_files: dict[str, Path] = {}
        """Drivers that this machine may load besides those that come with nopage: name -> file."""
        self.debugger: Optional[Any] = None
        """Who is told of traps, signals and processes, and may stop tasks there (observe/gdb/control.py)."""
        self.before_open: Optional[Callable[[Any], None]] = None
        """Called with the module whose device is about to be opened (reload.py)."""
        self.driver_probe: Optional[Callable[[Any, str, Callable[..., Any]], Callable[..., Any]]] = None
        """While somebody watches drivers at work: (module, operation, method) -> what is called in its stead."""
        self.halted: Optional[BaseException] = None
        """Why the machine stopped for good: the debugger of a driver was left."""
        self.closers: list[Callable[[], None]] = []
        """What is called at the end: files that somebody has open about this machine."""
        self.leak_checks: list[Callable[[Any], list[str]]] = []
        """Of each subsystem: module -> what that module did not give back, a line each (insmod.py: leaks)."""
        self.chrdevs = Chrdevs(self)
        self.max_threads = 0
        """How many tasks there may be, init included (kernel/fork.c: max_threads)."""
        self.unix = UnixTable(self)
        self.ipc = IpcNamespace()
        self.fsnotify_watches = 0
        """Inodes that somebody watches (fs/inotify.py); 0: nobody has to be told anything."""
        self.fsnotify_cookie = 0
        self.vfs = Vfs(self)
        self.root: dentry
        """The guest's root directory."""
        self.slab = Slab(self)
        self.init_task: Task
        self.spawned: dict[int, Any] = {}
        """Processes that the user started, by pid."""
        self.last_fatal: dict[int, Any] = {}
        """pid -> the event of the signal that killed it."""
        self.mounts: list[Any] = []
        """Mounted file systems, in the order of /proc/mounts."""
        self.interruptible = False
        """Somebody may send a signal from outside: a machine in which everybody sleeps is not stuck."""
        self._last_pid = 1
        self.pid_serial: dict[int, int] = {}
        """How many tasks have had a number: whether it still means whom it meant."""
        self._random = random.Random(0x6E6F) if deterministic else None
        self.boot_id = self.random_bytes(16)
        set_current_kernel(self)
        self._boot()
        events.clock, events.whose = self.clock.monotonic_ns, self._whose
        for kind in ("entry", "count", "page", "tlb"):
            events.on_demand(kind, partial(self._watch, kind))

    # -- boot ------------------------------------------------------------------------------------

    def _boot(self) -> None:
        ram, mem = self.ram, self.mem
        self.board.start(ram)
        for pfn in (0, *range(_BOOT >> PAGE_SHIFT, _FIRST_FREE >> PAGE_SHIFT)):
            mem.reserve(pfn, "kernel")
        for start, end in system_ram(ram):
            first = max(start, PAGE_SIZE if start == 0 else start)
            if start == 0x100000:
                first = _FIRST_FREE
            mem.release_range(first >> PAGE_SHIFT, end >> PAGE_SHIFT)
        self.max_threads = max(20, mem.total_frames() // 32)  # set_max_threads: an eighth of memory in stacks of 16 KiB
        mem.min_free = min(1024, mem.total_frames() >> 7)
        self.kernel_tables = PageTables(ram, self._table_frame, lambda physical: mem.put_page(physical >> PAGE_SHIFT))
        for start, end in ram.pieces:
            base = start & ~0x1FFFFF
            self.kernel_tables.map_large(PAGE_OFFSET + base, base, P | RW | A | D, (end - base + 0x1FFFFF) >> 21)
        map_entry_area(self.kernel_tables, _BOOT)
        self.cpu = Cpu(ram, self.kernel_tables.cr3, _BOOT, self.deterministic)
        if self.cpu.unguarded:
            what = ", ".join(self.cpu.unguarded)
            self.printk(f"Unicorn: this build is another one: no guard against {what} (SECURITY.md)", 4)
        self.zero_pfn = (_FIRST_FREE >> PAGE_SHIFT) - 1
        """Frame of the zero page: reserved, so never counted."""
        self.vvar = Vvar(self, self.zero_pfn - 1)
        mem.on_exec_freed = self.cpu.drop_code
        mem.whose_line = calling_line
        self.sched = Scheduler(self)
        self.bus = Bus(self.cpu, ram)
        self.bus.asleep = self.power_cards
        self.vmalloc = Vmalloc(self)
        self.regions = Regions(self)
        self.irq = Interrupts(self)
        self.workqueue = Workqueue(self)
        from machine.kernel.mm.mmio import MmioTrap

        self.mmio = MmioTrap(self)
        self.entry = Entry(self)

    def _table_frame(self) -> int:
        return self.mem.alloc_pages(GFP_KERNEL | GFP_ZERO, 0, "kernel page table") << PAGE_SHIFT

    # -- user memory -----------------------------------------------------------------------------------

    def faultin(self, mm: mm_struct, address: int, error_code: int) -> bool:
        """The kernel's own access to user memory faulted (uaccess); True when it may go on."""
        task = self.current
        if self.events.fault is None or task is None or task.mm is not mm:
            return fault.faultin(mm, address, error_code)
        trace = FaultTrace(self, task, address, error_code, task.syscall or "kernel")
        result = not self.entry.injects(task, address, error_code) and fault.faultin(mm, address, error_code)
        trace.end()
        return result

    def peek_user(self, mm: mm_struct, address: int, count: int) -> bytes:
        """Bytes that are present at `address`, without faulting anything in."""
        offset = address & PAGE_SIZE - 1
        pte = mm.tables.get(address)
        if pte & P and offset + count <= PAGE_SIZE:  # nearly always
            physical = (pte & PTE_PFN) | offset
            return bytes(self.ram.view[physical : physical + count]) if physical + count <= self.ram.limit else b""
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

    # -- events ----------------------------------------------------------------------------------------

    def _whose(self) -> tuple[int, str, int]:
        """For `Events`: the current task and where its user code is (in a system call: behind the instruction)."""
        task = self.current
        if task is None:
            return 0, "", 0
        return task.pid, task.comm, self.cpu.regs[RIP] if self.sched.loaded is task and task.exe is not None else 0

    def _watch(self, kind: str, on: bool) -> None:
        from machine.kernel.mm.watched import watch

        watch(self, kind, on)

    # -- signals, reports ------------------------------------------------------------------------------

    def force_sig_fault(self, task: Task, signo: int, si_code: int, address: int, trapno: int, error_code: int) -> None:
        """A signal that the task's own instruction caused; it can't be blocked or ignored.  Not yet where another
        instruction is before it."""
        if trapno == PAGE_FAULT and error_code & PF_FETCH and self.mmio.looked_ahead(task, address):
            self.fault_answer = "none yet: instructions before it come first"
            return
        self.fault_signal = describe(signo, si_code)
        self.mmio.cancel(task)
        force_sig_info(self, task, signo, si_code, address, trapno, error_code)

    def printk(self, text: str, level: int = 4) -> None:
        """One line into the kernel's log."""
        self.log.write(level, text)

    def report(self, text: str) -> None:
        """Misuse by a driver, in the kernel's words: into the log, and remembered for tests.

        Says for whom the driver worked: the process and its instruction (after a system call, the next one).
        """
        task = self.current
        if task is not None and task.pid != 1 and self.sched.loaded is task:
            where = interrupt_context(self.irq)
            who = f"{task.comm}[{task.pid}]"
            if task.mm is None and not where:
                text += f"; in the kernel thread {task.comm}"
            elif where:
                text += f"; while {who} ran" if where in text else f"; {where}, while {who} ran"
            else:
                text += f"; {who} at {self.cpu.regs[RIP]:#x}"
        self.reports.append(text)
        self._tell(text, 1, True)

    def warn(self, text: str, level: int = 4) -> None:
        """What a driver's author should look at: into the log, and to whoever listens for reports."""
        self._tell(text, level, False)

    def _tell(self, text: str, level: int, misuse: bool) -> None:
        self.printk(text, level)
        if self.events.report is not None:
            self.events.report(Report(text, misuse))

    def limit_met(self, text: str) -> None:
        """The guest was refused something that a limit allows no more of; for the report at the end."""
        if text in self.limits or len(self.limits) < LIMITS_KEPT:
            self.limits[text] = self.limits.get(text, 0) + 1

    def driver_bug(self, module: Any, text: str) -> None:
        """A driver did what would corrupt a real kernel."""
        self.report(f"BUG: {getattr(module, 'name', '?')}: {text}")

    def oops(self, task: Optional[Task], failure: BaseException, where: str = "") -> None:
        """Our own code raised: report it once; the task that was served dies, the machine goes on."""
        import traceback

        text = "".join(traceback.format_exception(type(failure), failure, failure.__traceback__))
        rip = self.cpu.regs[RIP]
        place = where or (task.syscall if task is not None else "")
        record = Oops(
            0 if task is None else task.pid, "" if task is None else task.comm, place, text, rip, False,
            self.clock.monotonic_ns(),
        )  # fmt: skip
        self.oopses.append(record)
        self.printk(f"Oops: {type(failure).__name__}: {said(failure)} in {place or 'the kernel'}", 0)
        if self.events.oops is not None:
            self.events.oops(record)
        if task is not None:
            from machine.kernel.task.exit import do_group_exit

            task.syscall = ""
            do_group_exit(self, task, 9)

    def halt(self, why: BaseException) -> None:
        """Stop running guest code for good; `Machine.wait` raises `why`."""
        self.halted = why
        self.sched.interrupt(lambda: None)

    def random_bytes(self, count: int) -> bytes:
        """Entropy: the host's, or a seeded sequence in deterministic mode."""
        return os.urandom(count) if self._random is None else self._random.randbytes(count)

    def expects_interrupts(self) -> bool:
        """Whether somebody outside may still wake a sleeping task (a terminal's Ctrl-C, a test's poke)."""
        return self.interruptible or (self.debugger is not None and self.debugger.waits_for_user)

    def set_page_dirty(self, pfn: int) -> None:
        """A mapping of this page-cache frame was written through."""
        self.mem.flags[pfn] |= PG_dirty

    def unmap_mapping_range(self, mapping: Any, first: int, last: int) -> None:
        """Remove every mapping of pages `first` to `last` (inclusive) of a file (mm/memory.c)."""
        from machine.kernel.mm.munmap import unmap_mapping_range

        unmap_mapping_range(self, mapping, first, last)

    def take_pid(self, wanted: int = 0) -> int:
        """A number for a new task, `wanted` or the next free one, which from now on means nobody else (struct pid)."""
        pid = wanted or self.alloc_pid()
        self.pid_serial[pid] = self.pid_serial.get(pid, 0) + 1
        return pid

    def alloc_pid(self) -> int:
        """The next free process number; they wrap at pid_max, 32768 (kernel/pid.c).  EAGAIN."""
        pid, pid_max = self._last_pid, self.sysctl["kernel/pid_max"]
        for _ in range(pid_max):
            pid = pid + 1 if pid + 1 < pid_max else 300
            if pid not in self.tasks and not (pid < self._last_pid and self.is_group(pid)):
                self._last_pid = pid
                return pid
        raise Errno(EAGAIN)

    def is_group(self, pid: int) -> bool:
        return any(task.signal.pgrp == pid or task.signal.session == pid for task in self.tasks.values())

    def task_ended(self, task: Task, status: int) -> None:
        """The last thread of a process is gone: whoever started it from outside hears of it."""
        if self.debugger is not None:
            self.debugger.exited(task, status)
        spawned = self.spawned.get(task.tgid)
        if spawned is not None:
            spawned.status = status
            spawned.ended = True
            self.sched.need_resched = True

    def wait_for_memory(self) -> bool:
        """There was no frame: have somebody end, and try again.  False: the current task can't wait, or is the one."""
        from machine.kernel.mm.oom_kill import wait_for_memory

        return self.current is not None and wait_for_memory(self, self.current)

    def total_faults(self) -> int:
        """Page faults that were answered since boot."""
        return self.fault_count

    def rlimit(self, number: int) -> int:
        """The current task's soft limit; no limit while there is no task."""
        task = self.current
        return RLIM_INFINITY if task is None else task.signal.rlimits[number][0]

    def capable(self, capability: int) -> bool:
        """Whether the current task, if any, has a CAP_*."""
        task = self.current
        return task is None or capable(task, capability)

    def shmem_file(self, size: int) -> file:
        """The unnamed object behind a shared anonymous mapping (mm/shmem.c: shmem_zero_setup)."""
        from machine.kernel.fs.tmpfs import shmem_file_setup

        return shmem_file_setup(self, "dev/zero", size)

    def check_mm(self, mm: mm_struct) -> None:
        """In tests: complain at once when an address space breaks an invariant."""
        from machine.kernel.mm.check import check_mm

        complaints = check_mm(mm)
        if complaints:
            raise AssertionError("; ".join(complaints))

    def close(self) -> Optional[OSError]:
        """Give back what the host holds for this machine; why something that was written is not on the host."""
        for each in self.closers:
            each()
        failure = self.vfs.release_all()
        self.sched.close()
        return failure


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """The usual `Kernel.host`; observe/travel records what comes from outside."""
    return function(*arguments)
