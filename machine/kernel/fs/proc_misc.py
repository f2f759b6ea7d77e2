"""The files of /proc that belong to no process (fs/proc/*.c)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.utsname import UTS_RELEASE, UTS_SYSNAME, UTS_VERSION
from machine.kernel.fs.proc import Entry, Subtree, Text, Tree
from machine.kernel.fs.proc_kmsg import kmsg_node
from machine.kernel.fs.proc_sysctl import SYSCTLS
from machine.kernel.mm.limits import commit_limit, committed

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import task_struct

CPU_MHZ = 2000.0
"""What the machine calls its clock rate; the speed of the host says nothing about it."""
CPU_FLAGS = (
    "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 "
    "syscall nx rdtscp lm nopl cpuid pni pclmulqdq ssse3 cx16 sse4_1 sse4_2 movbe popcnt aes xsave rdrand hypervisor "
    "lahf_lm abm fsgsbase smep erms xsaveopt"
)
"""What CPUID of the engine's default 64-bit model says (leaves 1, 7, 0xd, 0x80000001), in the kernel's order."""


def _iomem(kernel: Kernel) -> Text:
    return kernel.iomem.render()


def _ioports(kernel: Kernel) -> Text:
    _ = kernel.iomem  # PCI enters its ports as well
    return kernel.ioport.render(width=4)


def _pci(kernel: Kernel) -> Text:
    from machine.kernel.pci.proc import proc_pci

    return proc_pci(kernel)


def _bus_pci(kernel: Kernel) -> Tree:
    from machine.kernel.pci.proc import proc_bus_pci

    return proc_bus_pci(kernel)


def _sysvipc(name: str) -> Entry:
    """One of /proc/sysvipc, whose code comes when it is read."""

    def text(kernel: Kernel) -> Text:
        show: Callable[[Kernel], Text] = getattr(import_module(f"machine.kernel.ipc.{name}"), f"proc_sysvipc_{name}")
        return show(kernel)

    return Entry(0o444, text)


def _devices(kernel: Kernel) -> Text:
    """Majors with a driver, character then block (fs/proc/devices.c)."""
    lines = ["Character devices:\n"]
    lines += [f"{major:3d} {name}\n" for major, name in sorted(kernel.chrdevs.names())]
    return "".join(lines) + "\nBlock devices:\n"


def _misc(kernel: Kernel) -> Text:
    """Minors of major 10 and their names (drivers/char/misc.c: misc_seq_show)."""
    return "".join(f"{each.minor:3d} {each.name}\n" for each in kernel.misc_devices)


def _modules(kernel: Kernel) -> Text:
    """name size uses dependants state address (kernel/module/procfs.c: m_show)."""
    return "".join(each.proc_line() + "\n" for each in reversed(list(kernel.modules.values())))


def _cpuinfo(_kernel: Kernel) -> Text:
    """arch/x86/kernel/cpu/proc.c: show_cpuinfo."""
    rows = (
        ("processor\t", "0"), ("vendor_id\t", "GenuineIntel"), ("cpu family\t", "6"), ("model\t\t", "60"),
        ("model name\t", "Intel Core Processor (Haswell)"), ("stepping\t", "4"),
        ("cpu MHz\t\t", f"{CPU_MHZ:.3f}"), ("cache size\t", "4096 KB"), ("physical id\t", "0"), ("siblings\t", "1"),
        ("core id\t\t", "0"), ("cpu cores\t", "1"), ("apicid\t\t", "0"), ("initial apicid\t", "0"), ("fpu\t\t", "yes"),
        ("fpu_exception\t", "yes"), ("cpuid level\t", "13"), ("wp\t\t", "yes"), ("flags\t\t", CPU_FLAGS),
        ("bugs\t\t", ""), ("bogomips\t", f"{2 * CPU_MHZ:.2f}"), ("clflush size\t", "64"), ("cache_alignment\t", "64"),
        ("address sizes\t", "40 bits physical, 48 bits virtual"), ("power management", ""),
    )  # fmt: skip
    return "".join(f"{name}: {value}\n" if name != "power management" else f"{name}:\n" for name, value in rows) + "\n"


def _meminfo(kernel: Kernel) -> Text:
    """fs/proc/meminfo.c, as far as the machine has such memory (there is no swap)."""
    mem = kernel.mem
    total, free = mem.total_frames(), mem.free_frames()
    for mm in kernel.mms:
        mm.settle()
    anonymous = sum(mm.rss_anon for mm in kernel.mms)
    cached, shmem = cached_frames(kernel), kernel.vfs.shmem_frames()
    files = cached - shmem
    slab = kernel.slab.frames()
    tables = sum(mm.tables.table_frames() for mm in kernel.mms)
    figures = (
        ("MemTotal", total), ("MemFree", free), ("MemAvailable", max(0, free + files - mem.min_free)),
        ("Buffers", 0), ("Cached", cached), ("SwapCached", 0), ("Active", anonymous), ("Inactive", cached),
        ("Active(anon)", anonymous), ("Inactive(anon)", shmem), ("Active(file)", 0), ("Inactive(file)", files),
        ("Unevictable", 0), ("Mlocked", sum(mm.locked_vm for mm in kernel.mms)), ("SwapTotal", 0), ("SwapFree", 0),
        ("Dirty", 0), ("Writeback", 0), ("AnonPages", anonymous), ("Mapped", sum(mm.rss_file for mm in kernel.mms)),
        ("Shmem", shmem), ("KReclaimable", 0), ("Slab", slab), ("SReclaimable", 0), ("SUnreclaim", slab),
        ("KernelStack", 4 * len(kernel.tasks)), ("PageTables", tables), ("CommitLimit", commit_limit(kernel)),
        ("Committed_AS", committed(kernel)), ("VmallocTotal", ((32 << 40) - 1) >> PAGE_SHIFT),
        ("VmallocUsed", kernel.vmalloc.used()), ("VmallocChunk", 0),
    )  # fmt: skip
    lines = [f"{name + ':':<16}{pages << PAGE_SHIFT - 10:>8} kB\n" for name, pages in figures]
    huge = "".join(f"HugePages_{name + ':':<12}{0:>5}\n" for name in ("Total", "Free", "Rsvd", "Surp"))
    return "".join(lines) + huge + f"{'Hugepagesize:':<16}{2048:>8} kB\n"


def cached_frames(kernel: Kernel) -> int:
    """Frames of the page cache."""
    return kernel.vfs.page_cache_frames()


def _vmstat(kernel: Kernel) -> Text:
    """Pages by use, and the machine's faults; nothing is ever swapped."""
    figures = (
        ("nr_free_pages", kernel.mem.free_frames()), ("nr_anon_pages", sum(mm.rss_anon for mm in kernel.mms)),
        ("nr_mapped", sum(mm.rss_file for mm in kernel.mms)), ("nr_file_pages", cached_frames(kernel)),
        ("nr_shmem", kernel.vfs.shmem_frames()),
        ("nr_page_table_pages", sum(mm.tables.table_frames() for mm in kernel.mms)),
        ("pgpgin", 0), ("pgpgout", 0), ("pswpin", 0), ("pswpout", 0), ("pgfault", kernel.total_faults()),
        ("pgmajfault", sum(task.maj_flt for task in kernel.tasks.values())),
    )  # fmt: skip
    return "".join(f"{name} {value}\n" for name, value in figures)


def _diskstats(_kernel: Kernel) -> Text:
    """The machine has no disks."""
    return ""


def _partitions(_kernel: Kernel) -> Text:
    return "major minor  #blocks  name\n\n"


def _version(_kernel: Kernel) -> Text:
    return f"{UTS_SYSNAME} version {UTS_RELEASE} (nopage@nopage) (Python) {UTS_VERSION}\n"


def _seconds(ns: int) -> str:
    return f"{ns // 1_000_000_000}.{ns % 1_000_000_000 // 10_000_000:02d}"


def _uptime(kernel: Kernel) -> Text:
    """Seconds since boot and seconds idle, in hundredths."""
    now = kernel.sched.account()  # of one moment, or the idle time goes back
    return f"{_seconds(now)} {_seconds(max(0, now - kernel.sched.busy))}\n"


def _running(kernel: Kernel) -> int:
    return max(1, sum(task.state == 0 for task in kernel.tasks.values()))


def _loadavg(kernel: Kernel) -> Text:
    """No averages are kept (0.00); running/total tasks and the last pid are real."""
    last = max(kernel.tasks, default=0)
    return f"0.00 0.00 0.00 {_running(kernel)}/{len(kernel.tasks)} {last}\n"


def _stat(kernel: Kernel) -> Text:
    """One processor: user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice in USER_HZ."""
    tick = 10_000_000
    kernel.sched.account()
    user = kernel.sched.busy // tick
    idle = max(0, kernel.clock.monotonic_ns() // tick - user)
    switches = sum(task.nvcsw + task.nivcsw for task in kernel.tasks.values())
    figures = f"{user} 0 0 {idle} 0 0 0 0 0 0\n"
    return (
        f"cpu  {figures}cpu0 {figures}intr {kernel.irq.counts()}\nctxt {switches}\n"
        f"btime {kernel.clock.boot_realtime_ns // 1_000_000_000}\n"
        f"processes {max(kernel.tasks, default=0)}\nprocs_running {_running(kernel)}\nprocs_blocked 0\n"
        "softirq 0 0 0 0 0 0 0 0 0 0 0\n"
    )


def _filesystems(_kernel: Kernel) -> Text:
    names = ("sysfs", "tmpfs", "proc", "devtmpfs", "pipefs", "sockfs", "devpts", "overlay")
    return "".join(f"nodev\t{name}\n" for name in names)


def _cmdline(kernel: Kernel) -> Text:
    """The boot line: how much memory the machine has."""
    return f"BOOT_IMAGE=nopage root=overlay mem={kernel.ram.size >> 20}M\n"


def _vmallocinfo(kernel: Kernel) -> Text:
    return kernel.vmalloc.show()


def _interrupts(kernel: Kernel) -> Text:
    return kernel.irq.show()


def _swaps(_kernel: Kernel) -> Text:
    return "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


# -- mounts -----------------------------------------------------------------------------------------


def _escape(text: str) -> str:
    """Blank, tab, newline and backslash in octal (fs/proc_namespace.c: mangle)."""
    return "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in text)


def _each_mount(kernel: Kernel) -> list[Any]:
    return list(kernel.mounts)


def mounts(kernel: Kernel, _task: task_struct) -> str:
    """/proc/PID/mounts: source, mount point, type, options, 0 0 (show_vfsmnt)."""
    return "".join(
        f"{_escape(m.source)} {_escape(m.path)} {m.type} {'ro' if m.read_only else 'rw'},relatime 0 0\n"
        for m in _each_mount(kernel)
    )


def mountinfo(kernel: Kernel, _task: task_struct) -> str:
    """/proc/PID/mountinfo (show_mountinfo): identifier, parent, device, root, mount point, options - type, source."""
    lines = []
    for number, m in enumerate(_each_mount(kernel), 1):
        dev = m.dev
        major, minor = dev >> 8 & 0xFFF, (dev & 0xFF) | (dev >> 12 & 0xFFF00)
        flag = "ro" if m.read_only else "rw"
        lines.append(
            f"{number} {min(1, number - 1)} {major}:{minor} / {_escape(m.path)} {flag},relatime - "
            f"{m.type} {_escape(m.source)} {flag}\n"
        )
    return "".join(lines)


TREE: Tree = {
    "bus/pci": Subtree(_bus_pci),
    "cmdline": Entry(0o444, _cmdline),
    "cpuinfo": Entry(0o444, _cpuinfo),
    "devices": Entry(0o444, _devices),
    "misc": Entry(0o444, _misc),
    "diskstats": Entry(0o444, _diskstats),
    "filesystems": Entry(0o444, _filesystems),
    "interrupts": Entry(0o444, _interrupts),
    "iomem": Entry(0o400, _iomem),
    "ioports": Entry(0o444, _ioports),
    "kmsg": kmsg_node,
    "loadavg": Entry(0o444, _loadavg),
    "meminfo": Entry(0o444, _meminfo),
    "modules": Entry(0o444, _modules),
    "mounts": "self/mounts",
    "net": "self/net",
    "partitions": Entry(0o444, _partitions),
    "pci": Entry(0o444, _pci),
    "stat": Entry(0o444, _stat),
    "swaps": Entry(0o444, _swaps),
    "sysvipc/msg": _sysvipc("msg"),
    "sysvipc/sem": _sysvipc("sem"),
    "sysvipc/shm": _sysvipc("shm"),
    "uptime": Entry(0o444, _uptime),
    "version": Entry(0o444, _version),
    "vmallocinfo": Entry(0o400, _vmallocinfo),
    "vmstat": Entry(0o444, _vmstat),
    **SYSCTLS,
}
