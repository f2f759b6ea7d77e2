"""/proc: directories, snapshots, and the shape of the texts against the host's own files."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest

from machine.events import Events
from machine.hardware.paging import NX, RW, US, A, D, P, PageTables
from machine.hardware.ram import PAGE_SIZE, MiB, Ram
from machine.kernel.abi.errno import EAGAIN, EINVAL, EIO, ESRCH, Errno
from machine.kernel.abi.resource import DEFAULT_RLIMITS
from machine.kernel.current import set_current_kernel
from machine.kernel.fs.file import O_NONBLOCK, O_RDONLY, dentry, file, file_operations, inode, super_block
from machine.kernel.fs.proc import Entry, procfs_root
from machine.kernel.fs.sysfs import sysfs_root
from machine.kernel.mm.page import GFP_KERNEL, GFP_ZERO, Memory
from machine.kernel.mm.vma import VM_MAYREAD, VM_MAYWRITE, VM_READ, VM_WRITE, vm_area_struct
from machine.kernel.printk import Log
from machine.kernel.sysctl import DEFAULTS
from tests.unit.text_iomem import default_pc

DATA = 0x600000


class Space:
    """An address space with one area of four pages, two of them present."""

    closed = False
    bits = 64
    task_size = 0x7FFF_FFFF_F000
    total_vm, data_vm, stack_vm, locked_vm, hiwater_vm, hiwater_rss = 4, 4, 0, 0, 5, 3
    rss_anon, rss_file = 2, 0
    start_code, end_code, start_data, end_data = 0x400000, 0x401234, 0x600000, 0x600100
    start_brk, brk, start_stack = 0, 0, 0
    arg_start, arg_end, env_start, env_end = DATA, DATA + 8, DATA + 8, DATA + 12
    saved_auxv = bytes(16)

    def settle(self) -> None:
        """Nothing was mapped ahead."""

    def __init__(self, ram: Ram, mem: Memory) -> None:
        self.ram, self.mem = ram, mem
        self.tables = PageTables(ram, lambda: mem.alloc_pages(GFP_KERNEL | GFP_ZERO) << 12, lambda _: None)
        flags = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE
        self.area = vm_area_struct(self, DATA, DATA + 4 * PAGE_SIZE, flags, 0)  # type: ignore[arg-type]
        self.frames = [mem.alloc_zeroed("anonymous") for _ in range(2)]
        for i, pfn in enumerate(self.frames):
            mem.mapcount[pfn] = i + 1
            self.tables.set(DATA + i * PAGE_SIZE, pfn << 12 | P | US | RW | A | D | NX)
        ram.view[self.frames[0] << 12 : (self.frames[0] << 12) + 12] = b"cat\0-n\0\0A=B\0"

    def rss(self) -> int:
        return self.rss_anon + self.rss_file

    def each_vma(self) -> list[vm_area_struct]:
        return [self.area]

    next_vmas = each_vma

    def walk_present(self, start: int, end: int) -> list[tuple[int, int]]:
        found = [(DATA + i * PAGE_SIZE, self.tables.get(DATA + i * PAGE_SIZE)) for i in range(4)]
        return [(va, pte) for va, pte in found if pte and start <= va < end]

    def read_some(self, address: int, count: int) -> bytes:
        if not DATA <= address < DATA + PAGE_SIZE:
            return b""
        start = (self.frames[0] << 12) + address - DATA
        return bytes(self.ram.view[start : start + count])


def fake_task(kernel: Any, pid: int, mm: Any, root: dentry) -> Any:
    counters: dict[str, int] = dict.fromkeys(
        ("utime", "stime", "min_flt", "maj_flt", "cmin_flt", "cmaj_flt", "cutime", "cstime"), 0
    )
    pending = SimpleNamespace(signal=0, list=[])
    signal = SimpleNamespace(
        pgrp=pid,
        session=1,
        tty=None,
        rlimits=list(DEFAULT_RLIMITS),
        shared_pending=pending,
        oom_score_adj=0,
        **counters,
    )
    handlers = [SimpleNamespace(handler=h) for h in (0, 1, 0x400000, *[0] * 62)]
    filp = file(root, O_RDONLY, file_operations(), "/etc/passwd")
    task = SimpleNamespace(ptrace=None, suid=0, fsuid=0, sgid=0, fsgid=0, no_new_privs=False, seccomp=None,
        caps=None, cap_bset=(1 << 41) - 1, cap_ambient=0,
        kernel=kernel, pid=pid, tgid=pid, comm="cat", state=0, mm=mm, signal=signal, parent=None, pending=pending,
        blocked=1 << 14, sighand=SimpleNamespace(action=handlers),
        files=SimpleNamespace(fds={0: filp, 3: filp}, cloexec={3}), fs=SimpleNamespace(umask=0o22, cwd=root, root=root),
        exe=filp, euid=0, egid=0, uid=0, gid=0, groups=[0, 5], nvcsw=3, nivcsw=4, start_time=1_500_000_000,
        exit_signal=17, exit_code=0, personality=0, syscall="", **{k: v for k, v in counters.items() if k[0] != "c"},
    )  # fmt: skip
    signal.threads = [task]
    return task


@pytest.fixture
def kernel() -> Iterator[Any]:
    ram = Ram(32 * MiB)
    mem = Memory(ram, lambda text: None)
    mem.release_range(0x1000, ram.limit >> 12)
    mm = Space(ram, mem)
    clock = SimpleNamespace(
        realtime_ns=lambda: 1_000_000_000, monotonic_ns=lambda: 12_345_678_901, boot_realtime_ns=5_000_000_000
    )
    made: Any = SimpleNamespace(
        irq=SimpleNamespace(counts=lambda: "7 7", show=lambda: "           CPU0       \n"),
        ram=ram, mem=mem, clock=clock, tasks={}, hostname="pc", proc_entries={}, sysfs_entries={},
        sysctl=dict(DEFAULTS),
        vfs=SimpleNamespace(host_descriptors=[], foreground=0, page_cache_frames=lambda: 3, shmem_frames=lambda: 1),
        sched=SimpleNamespace(account=clock.monotonic_ns, busy=0),
        slab=SimpleNamespace(frames=lambda: 2), vmalloc=SimpleNamespace(used=lambda: 5, show=lambda: "an area\n"),
        modules={}, spawned={}, mms={mm}, boot_id=bytes(range(16)), random_bytes=lambda n: b"\x5a" * n, mm=mm,
        iomem=default_pc(ram, (0x100000, 0x1FFFFF), (0x200000, 0x2FFFFF)),
    )  # fmt: skip
    root = dentry(inode(super_block("tmpfs", 1, 2), 1, 0o40755, file_operations()), "/", None)
    made.tasks[7] = made.current = fake_task(made, 7, mm, root)
    before = set_current_kernel(made)
    yield made
    set_current_kernel(before)


def walk(root: inode, path: str) -> Optional[inode]:
    here: Optional[inode] = root
    for name in path.split("/"):
        assert here is not None
        if here.i_mode & 0o170000 == 0o120000:
            here = walk(root, here.readlink())
            assert here is not None
        here = here.lookup(name)
    return here


def opened(kernel: Any, path: str) -> file:
    node = walk(procfs_root(kernel), path)
    assert node is not None, path
    return file(dentry(node, path, None), O_RDONLY, node.i_fop, "/proc/" + path)


def text(kernel: Any, path: str) -> str:
    filp = opened(kernel, path)
    assert filp.f_op.read_iter is not None
    return filp.f_op.read_iter(filp, 1 << 20, 0).decode()


def shape(content: str) -> list[str]:
    """The lines' labels."""
    return [line.split(":")[0] for line in content.splitlines()]


def host(path: str) -> str:
    return Path("/proc", path).read_text()


def test_root_lists_processes_and_files(kernel: Any) -> None:
    root = procfs_root(kernel)
    names = {name for name, _ino, _kind in root.list()}
    assert {"7", "self", "thread-self", "iomem", "meminfo", "sys", "version"} <= names
    assert root.lookup("8") is None and root.lookup("07") is None and root.lookup("nothing") is None
    link = root.lookup("self")
    assert link is not None and link.readlink() == "7"
    for name, number, _kind in root.list():
        node = root.lookup(name)
        assert node is not None and node.i_ino == number


def test_status_has_the_hosts_lines(kernel: Any) -> None:
    ours, theirs = shape(text(kernel, "self/status")), shape(host("self/status"))
    assert ours == [label for label in theirs if label in ours]
    assert {"Name", "State", "VmRSS", "VmPTE", "SigCgt", "Threads", "Uid"} <= set(ours)
    lines = text(kernel, "self/status").splitlines()
    assert "VmPeak:\t      20 kB" in lines and "SigBlk:\t0000000000004000" in lines
    assert "SigIgn:\t0000000000000001" in lines and "SigCgt:\t0000000000000002" in lines


def test_stat_has_52_fields(kernel: Any) -> None:
    ours = text(kernel, "7/stat").split()
    assert len(ours) == len(host("self/stat").split()) == 52
    assert ours[:8] == ["7", "(cat)", "R", "0", "7", "1", "0", "-1"]
    assert ours[21] == "150" and ours[22] == str(4 * PAGE_SIZE) and ours[23] == "2"


def test_smaps_counts_from_the_page_tables(kernel: Any) -> None:
    ours = text(kernel, "7/smaps")
    theirs = host("self/smaps").splitlines()
    assert shape(ours)[1:] == shape("\n".join(theirs))[1 : len(shape(ours))]
    figures = dict(re.findall(r"^(\w+): +(\d+) kB$", ours, re.MULTILINE))
    assert figures["Size"] == "16" and figures["Rss"] == "8" and figures["Pss"] == "6"
    assert figures["Private_Dirty"] == "4" and figures["Shared_Dirty"] == "4" and figures["Anonymous"] == "8"
    assert ours.splitlines()[-1] == "VmFlags: rd wr mr mw "
    assert len(ours.splitlines()[1]) == len(theirs[1])


def test_smaps_rollup_has_the_hosts_lines(kernel: Any) -> None:
    assert shape(text(kernel, "7/smaps_rollup"))[1:] == shape(host("self/smaps_rollup"))[1:]


def test_limits_match_the_hosts_layout(kernel: Any) -> None:
    ours, theirs = text(kernel, "7/limits").splitlines(), host("self/limits").splitlines()
    assert [line[:26] for line in ours] == [line[:26] for line in theirs]
    assert [line[68:] for line in ours] == [line[68:] for line in theirs]


def test_cmdline_environ_and_comm(kernel: Any) -> None:
    assert text(kernel, "7/cmdline") == "cat\0-n\0\0"
    assert text(kernel, "7/environ") == "A=B\0"
    assert text(kernel, "7/comm") == "cat\n"
    filp = opened(kernel, "7/comm")
    assert filp.f_op.write_iter is not None
    filp.f_op.write_iter(filp, b"a name that is much too long\n", 0)
    assert kernel.tasks[7].comm == "a name that is "


def test_pagemap(kernel: Any) -> None:
    filp = opened(kernel, "self/pagemap")
    read = filp.f_op.read_iter
    assert read is not None
    entries = struct.unpack("<3Q", read(filp, 24, (DATA >> 12) * 8))
    frames = kernel.mm.frames
    assert [entry & (1 << 55) - 1 for entry in entries] == [*frames, 0]
    assert entries[0] >> 63 == entries[1] >> 63 == 1 and entries[2] == 0
    assert entries[0] >> 56 & 1 == 1 and entries[1] >> 56 & 1 == 0
    with pytest.raises(Errno) as caught:
        read(filp, 24, 4)
    assert caught.value.errno == EINVAL
    assert read(filp, 8, (0x7FFF_FFFF_F000 >> 12) * 8) == b""


def test_magic_links(kernel: Any) -> None:
    root = procfs_root(kernel)
    link = walk(root, "7/fd/3")
    assert link is not None and link.readlink() == "/etc/passwd" and link.i_mode & 0o777 == 0o500
    led = link.follow()
    assert led is not None and led[0] is kernel.tasks[7].files.fds[3].f_inode
    assert walk(root, "7/fd/4") is None
    assert text(kernel, "7/fdinfo/3").startswith("pos:\t0\nflags:\t02000000\n")
    exe = walk(root, "7/exe")
    assert exe is not None and exe.readlink() == "/etc/passwd"
    directory = walk(root, "7/fd")
    assert directory is not None and [name for name, _, _ in directory.list()] == ["0", "3"]


def test_a_reaped_process_is_ESRCH(kernel: Any) -> None:
    filp = opened(kernel, "7/status")
    del kernel.tasks[7]
    assert filp.f_op.read_iter is not None
    with pytest.raises(Errno) as caught:
        filp.f_op.read_iter(filp, 100, 0)
    assert caught.value.errno == ESRCH


def test_one_open_sees_one_state(kernel: Any) -> None:
    filp = opened(kernel, "sys/kernel/hostname")
    read, seek = filp.f_op.read_iter, filp.f_op.llseek
    assert read is not None and seek is not None
    assert read(filp, 1, 0) == b"p"
    kernel.hostname = "other"
    assert read(filp, 10, 1) == b"c\n"
    assert seek(filp, 0, 0) == 0 and read(filp, 10, 0) == b"other\n"
    assert seek(filp, 0, 2) == -EINVAL


def test_kmsg_gives_whole_lines_once(kernel: Any) -> None:
    kernel.events = Events()
    kernel.log = Log(kernel)
    kernel.log.write(4, "first")
    kernel.log.write(6, "second")
    filp = opened(kernel, "kmsg")
    filp.f_flags |= O_NONBLOCK
    read = filp.f_op.read_iter
    assert read is not None
    assert read(filp, 30, 0) == b"<4>[   12.345678] first\n"
    assert read(filp, 4096, 0) == b"<6>[   12.345678] second\n"
    for count, error in ((4096, EAGAIN), (5, EINVAL)):
        with pytest.raises(Errno) as caught:
            read(filp, count, 0)
        assert caught.value.errno == error
        kernel.log.write(4, "third")


def test_driver_entries_make_directories(kernel: Any) -> None:
    kernel.proc_entries["scullpmem"] = lambda: "Device 0\n"
    kernel.proc_entries["driver/deep/entry"] = lambda: b"\xff"
    assert text(kernel, "scullpmem") == "Device 0\n"
    filp = opened(kernel, "driver/deep/entry")
    assert filp.f_op.read_iter is not None and filp.f_op.read_iter(filp, 9, 0) == b"\xff"


def test_settings_take_numbers_in_range(kernel: Any) -> None:
    filp = opened(kernel, "sys/vm/overcommit_memory")
    write = filp.f_op.write_iter
    assert write is not None
    assert write(filp, b"1\n", 0) == 2 and text(kernel, "sys/vm/overcommit_memory") == "1\n"
    for bad in (b"3", b"x", b"-1"):
        with pytest.raises(Errno) as caught:
            write(filp, bad, 0)
        assert caught.value.errno == EINVAL
    readonly = opened(kernel, "version")
    assert readonly.f_op.write_iter is not None
    with pytest.raises(Errno) as refused:
        readonly.f_op.write_iter(readonly, b"x", 0)
    assert refused.value.errno == EIO


def test_system_files(kernel: Any) -> None:
    assert "000a0000-000bffff : Video RAM area\n" in text(kernel, "iomem")
    assert text(kernel, "uptime") == "12.34 12.34\n"
    assert "btime 5\n" in text(kernel, "stat")
    uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n"
    assert re.fullmatch(uuid, text(kernel, "sys/kernel/random/uuid"))
    ours, theirs = shape(text(kernel, "meminfo")), shape(host("meminfo"))
    assert ours == [label for label in theirs if label in ours] and "MemAvailable" in ours
    assert f"MemTotal:       {kernel.mem.total_frames() * 4:8d} kB\n" in text(kernel, "meminfo")
    flags = next(line for line in text(kernel, "cpuinfo").splitlines() if line.startswith("flags")).split()
    assert "sse4_2" in flags and "avx" not in flags and "osxsave" not in flags


def test_sysfs_has_drivers_entries(kernel: Any) -> None:
    kernel.sysfs_entries["class/uio/uio0/name"] = Entry(0o444, lambda k: "timer\n")
    root = sysfs_root(kernel)
    assert {"class", "bus", "devices", "kernel"} <= {name for name, _, _ in root.list()}
    node = walk(root, "class/uio/uio0/name")
    assert node is not None
    filp = file(dentry(node, "name", None), O_RDONLY, node.i_fop, "/sys/x")
    assert filp.f_op.read_iter is not None and filp.f_op.read_iter(filp, 99, 0) == b"timer\n"
    empty = root.lookup("block")
    assert empty is not None and empty.list() == []
