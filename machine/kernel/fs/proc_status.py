"""/proc/PID/stat and /proc/PID/status (fs/proc/array.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.resource import RLIMIT_RSS, RLIMIT_SIGPENDING
from machine.kernel.abi.signal import SIG_DFL, SIG_IGN
from machine.kernel.capability import capabilities
from machine.kernel.fs.proc_vm import rss_shmem
from machine.kernel.mm.vma import VM_EXEC, VM_WRITE
from machine.kernel.task.task import (
    EXIT_DEAD,
    EXIT_ZOMBIE,
    TASK_INTERRUPTIBLE,
    TASK_STOPPED,
    TASK_TRACED,
    TASK_UNINTERRUPTIBLE,
)

if TYPE_CHECKING:
    from machine.kernel.fs.proc import Text
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import task_struct

USER_HZ = 100
"""Clock ticks a second in the figures of /proc (AT_CLKTCK)."""
NS_PER_TICK = 1_000_000_000 // USER_HZ

_STATES = (
    (EXIT_DEAD, "X", "X (dead)"),
    (EXIT_ZOMBIE, "Z", "Z (zombie)"),
    (TASK_TRACED, "t", "t (tracing stop)"),
    (TASK_STOPPED, "T", "T (stopped)"),
    (TASK_UNINTERRUPTIBLE, "D", "D (disk sleep)"),
    (TASK_INTERRUPTIBLE, "S", "S (sleeping)"),
)


def _state(task: task_struct) -> tuple[str, str]:
    for bit, letter, text in _STATES:
        if task.state & bit:
            return letter, text
    return "R", "R (running)"


def threads_of(task: task_struct) -> list[task_struct]:
    """All threads of the task's process that are not reaped."""
    return list(task.signal.threads)


def total(task: task_struct, name: str) -> int:
    """A counter summed over the threads of the process, those that are gone included (thread_group_cputime)."""
    task.kernel.sched.account()
    return int(getattr(task.signal, name) + sum(getattr(each, name) for each in task.signal.threads))


def _dispositions(task: task_struct) -> tuple[int, int]:
    """(ignored, caught) as bit masks (collect_sigign_sigcatch)."""
    ignored = caught = 0
    for signo, action in enumerate(task.sighand.action):
        if signo and action.handler == SIG_IGN:
            ignored |= 1 << signo - 1
        elif signo and action.handler != SIG_DFL:
            caught |= 1 << signo - 1
    return ignored, caught


def _parent(task: task_struct) -> int:
    return 0 if task.parent is None else task.parent.tgid


def _space(task: task_struct) -> Any:
    from machine.kernel.fs.proc_task import mm_of

    return mm_of(task)


def stat(task: task_struct) -> Text:
    """The 52 fields of proc(5) in one line (do_task_stat)."""
    mm = _space(task)
    if mm is not None:
        mm.settle()
    signal = task.signal
    ignored, caught = _dispositions(task)
    threads = threads_of(task)
    utime, stime = total(task, "utime") // NS_PER_TICK, total(task, "stime") // NS_PER_TICK
    fields: list[int] = [
        _parent(task), signal.pgrp, signal.session, _tty_nr(task), _tpgid(task), _flags(task),
        total(task, "min_flt"), signal.cmin_flt, total(task, "maj_flt"), signal.cmaj_flt,
        utime, stime, signal.cutime // NS_PER_TICK, signal.cstime // NS_PER_TICK,
        20, 0, len(threads), 0, task.start_time // NS_PER_TICK,
        *_memory_fields(task, mm),
        task.pending.signal & 0x7FFFFFFF, task.blocked & 0x7FFFFFFF, ignored & 0x7FFFFFFF, caught & 0x7FFFFFFF,
        0, 0, 0, task.exit_signal, 0, 0, 0, 0, 0, 0,
        *_area_fields(mm), _exit_code(task),
    ]  # fmt: skip
    return f"{task.pid} ({task.comm}) {_state(task)[0]} " + " ".join(map(str, fields)) + "\n"


def _flags(task: task_struct) -> int:
    """PF_RANDOMIZE for a program, PF_EXITING for a zombie."""
    return 0x4 if _space(task) is None else 0x400000


def _tty_nr(task: task_struct) -> int:
    from machine.kernel.fs.tty import tty_number

    return tty_number(task.kernel, task)


def _tpgid(task: task_struct) -> int:
    """The terminal's foreground group; -1 without a terminal."""
    tty = task.signal.tty
    if tty is None:
        return -1
    return tty.pgrp or (task.signal.pgrp if tty.is_host else -1)


def _memory_fields(task: task_struct, mm: Any) -> list[int]:
    """vsize rss rsslim startcode endcode startstack kstkesp kstkeip."""
    limit = task.signal.rlimits[RLIMIT_RSS][0]
    if mm is None:
        return [0, 0, limit, 0, 0, 0, 0, 0]
    return [mm.total_vm << PAGE_SHIFT, mm.rss(), limit, mm.start_code, mm.end_code, mm.start_stack, 0, 0]


def _area_fields(mm: Any) -> list[int]:
    if mm is None:
        return [0] * 7
    return [mm.start_data, mm.end_data, mm.start_brk, mm.arg_start, mm.arg_end, mm.env_start, mm.env_end]


def _exit_code(task: task_struct) -> int:
    return task.exit_code if task.state & EXIT_ZOMBIE else 0


def _kb(label: str, pages: int) -> str:
    return f"{label}:\t{pages << PAGE_SHIFT - 10:8d} kB\n"


def _memory_lines(mm: mm_struct) -> str:
    """VmPeak to VmSwap (fs/proc/task_mmu.c: task_mem)."""
    text = ((mm.end_code + PAGE_SIZE - 1) >> PAGE_SHIFT) - (mm.start_code >> PAGE_SHIFT)
    executable = sum(
        vma.vm_end - vma.vm_start
        for vma in mm.each_vma()
        if vma.vm_flags & (VM_EXEC | VM_WRITE) == VM_EXEC
    )  # fmt: skip
    library = max(0, (executable >> PAGE_SHIFT) - text)
    shmem = rss_shmem(mm)
    return "".join(
        (
            _kb("VmPeak", max(mm.hiwater_vm, mm.total_vm)),
            _kb("VmSize", mm.total_vm),
            _kb("VmLck", mm.locked_vm),
            _kb("VmPin", 0),
            _kb("VmHWM", max(mm.hiwater_rss, mm.rss())),
            _kb("VmRSS", mm.rss()),
            _kb("RssAnon", mm.rss_anon),
            _kb("RssFile", mm.rss_file - shmem),
            _kb("RssShmem", shmem),
            _kb("VmData", mm.data_vm),
            _kb("VmStk", mm.stack_vm),
            _kb("VmExe", text),
            _kb("VmLib", library),
            _kb("VmPTE", mm.tables.table_frames()),
            _kb("VmSwap", 0),
            "HugetlbPages:\t       0 kB\n",
            "CoreDumping:\t0\nTHP_enabled:\t0\nuntag_mask:\t0xffffffffffffffff\n",
        )
    )


def _signal_lines(task: task_struct) -> str:
    ignored, caught = _dispositions(task)
    limit = task.signal.rlimits[RLIMIT_SIGPENDING][0]
    pending, shared = task.pending, task.signal.shared_pending
    return (
        f"SigQ:\t{len(pending.list) + len(shared.list)}/{limit}\n"
        f"SigPnd:\t{pending.signal:016x}\nShdPnd:\t{shared.signal:016x}\n"
        f"SigBlk:\t{task.blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
    )


def _fdsize(task: task_struct) -> int:
    """Length of the descriptor table: 64, doubled until the highest descriptor fits (fs/file.c: alloc_fdtable)."""
    size = 64
    files: Any = getattr(task, "files", None)
    highest = max(files.fds, default=0) if files is not None else 0
    while size <= highest:
        size *= 2
    return size


def status(task: task_struct) -> Text:
    """proc_pid_status.  NUMA and cpuset lines are those of a machine with one processor."""
    signal, mm = task.signal, _space(task)
    umask = getattr(getattr(task, "fs", None), "umask", None)
    effective, permitted, inheritable = capabilities(task)
    groups = "".join(f"{group} " for group in task.groups)
    head = (
        f"Name:\t{_escaped(task.comm)}\n"
        + ("" if umask is None else f"Umask:\t{umask:04o}\n")
        + f"State:\t{_state(task)[1]}\nTgid:\t{task.tgid}\nNgid:\t0\nPid:\t{task.pid}\nPPid:\t{_parent(task)}\n"
        f"TracerPid:\t{_tracer(task)}\n"
        f"Uid:\t{task.uid}\t{task.euid}\t{task.suid}\t{task.fsuid}\n"
        f"Gid:\t{task.gid}\t{task.egid}\t{task.sgid}\t{task.fsgid}\n"
        f"FDSize:\t{_fdsize(task)}\nGroups:\t{groups or ' '}\n"
        f"NStgid:\t{task.tgid}\nNSpid:\t{task.pid}\nNSpgid:\t{signal.pgrp}\nNSsid:\t{signal.session}\nKthread:\t0\n"
    )
    tail = (
        f"CapInh:\t{inheritable:016x}\nCapPrm:\t{permitted:016x}\nCapEff:\t{effective:016x}\n"
        f"CapBnd:\t{task.cap_bset:016x}\nCapAmb:\t{task.cap_ambient:016x}\n"
        f"NoNewPrivs:\t{int(task.no_new_privs)}\nSeccomp:\t{0 if task.seccomp is None else task.seccomp.mode}\n"
        f"Seccomp_filters:\t{0 if task.seccomp is None else len(task.seccomp.filters())}\n"
        "Speculation_Store_Bypass:\tnot vulnerable\nSpeculationIndirectBranch:\talways enabled\n"
        "Cpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t1\nMems_allowed_list:\t0\n"
        f"voluntary_ctxt_switches:\t{task.nvcsw}\nnonvoluntary_ctxt_switches:\t{task.nivcsw}\n"
    )
    memory = "" if mm is None else _memory_lines(mm)
    return f"{head}{memory}Threads:\t{len(threads_of(task))}\n{_signal_lines(task)}{tail}"


def _escaped(comm: str) -> str:
    return comm.replace("\\", "\\\\").replace("\n", "\\n")


def _tracer(task: task_struct) -> int:
    return 0 if task.ptrace is None else int(task.ptrace.tracer.tgid)
