"""scullv driven by compiled programs (MECHANISMS C5, B6, B7, B9, B10, D4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.kernel.mm.vmalloc import VMALLOC_START

Run = Callable[..., Any]
Make = Callable[..., Machine]

DEMO = "/usr/local/bin/"


def device(m: Machine, number: int = 0) -> Any:
    return m.kernel.modules["scullv"].namespace["scullv_devices"][number]


def frames(m: Machine) -> list[int]:
    """Frames that hold scullv's pages."""
    module, mem = m.kernel.modules["scullv"], m.kernel.mem
    return [pfn for pfn in range(mem.max_pfn) if mem.owner_of(pfn) is module]


def free_now(m: Machine) -> int:
    """Free frames, what the page cache keeps counted as free."""
    return m.kernel.mem.free_frames() + m.kernel.vfs.page_cache_frames()


def test_the_session_of_the_book(machine_clean: Make) -> None:
    """What is written to /dev/scullv is shown by mapper; the default order is 4.  # C5, C11"""
    m = machine_clean(ram=32 << 20, devices=["scullv"])
    listing = "".join(f"crw------- 1 root root 10, {i:3d} Sep 15 07:40 device{i}\n" for i in range(400)).encode()
    assert m.run([DEMO + "devwrite", "/dev/scullv"], stdin=listing).exit == 0
    for offset, length in ((0, 140), (8192, 200)):
        shown = m.run([DEMO + "mapper", "/dev/scullv0", str(offset), str(length)])
        assert (shown.exit, shown.stdout) == (0, listing[offset : offset + length])
    assert len(frames(m)) == 16 and [area.end - area.addr for area in m.kernel.vmalloc.areas] == [16 << 12]
    listed = m.read_file("/proc/scullvmem").decode()
    assert f"Device 0: qset 500, order 4, sz {len(listing)}, vmas 0\n  item 0: 1 quanta\n" in listed
    assert f"       0: {VMALLOC_START:016x}\n" in listed
    assert "scullv" in m.read_file("/proc/devices").decode()


@pytest.mark.parametrize("order", [0, 1, 3])
def test_every_page_of_every_quantum(machine_clean: Make, run_c: Run, order: int) -> None:
    """mmap finds the quantum, then the page inside it, for any order; over the end of a quantum set too.  # C5, B7"""
    m = machine_clean(ram=32 << 20, devices=[f"scullv,scullv_order={order},scullv_qset=3"])
    run_c(
        m,
        """
        int n = 40, fd = must_open("/dev/scullv0", O_RDWR);
        for (int i = 0; i < n; i++)
            fill(fd, i * PAGE, i + 1, PAGE);
        char *p = map(fd, 0, n * PAGE, RW, MAP_SHARED), *q = map(fd, 7 * PAGE, PAGE, PROT_READ, MAP_PRIVATE);
        for (int i = n - 1; i >= 0; i--)
            if (!all_are(p + i * PAGE, i + 1, PAGE)) CHECK("page", 0);
        EQUAL("an offset", q[0], 8);
        p[39 * PAGE + 5] = 'x';
        char c;
        EQUAL("read", pread(fd, &c, 1, 39 * PAGE + 5), 1);
        EQUAL("sees the store", c, 'x');
        EQUAL("write", pwrite(fd, "y", 1, 7 * PAGE), 1);
        EQUAL("is seen", q[0], 'y');
    """,
    )
    quanta = -(-40 // (1 << order))
    assert len(m.kernel.vmalloc.areas) == quanta and len(frames(m)) == quanta << order
    assert {m.kernel.mem.count[pfn] for pfn in frames(m)} == {1}
    assert device(m).vmas == 0
    assert m.unload("scullv") == [] and m.kernel.vmalloc.areas == []


def test_read_write_seek(machine_clean: Make, run_c: Run) -> None:
    """Calls stop at the end of a quantum; holes read as nothing and take no memory.  # C5"""
    m = machine_clean(ram=32 << 20, devices=["scullv,scullv_order=1"])
    run_c(
        m,
        """
        char buf[3 * PAGE];
        int fd = must_open("/dev/scullv0", O_RDWR);
        memset(buf, 'x', sizeof buf);
        EQUAL("write stops at the quantum", write(fd, buf, sizeof buf), 2 * PAGE);
        EQUAL("inside a quantum", write(fd, "hello", 5), 5);
        EQUAL("end", lseek(fd, 0, SEEK_END), 2 * PAGE + 5);
        EQUAL("read over two pages of a quantum", pread(fd, buf, 2000, PAGE - 1000), 2000);
        CHECK("what was written", all_are(buf, 'x', 2000));
        EQUAL("write beyond a hole", pwrite(fd, "far", 3, 600 * 2 * PAGE), 3);
        EQUAL("a hole reads as nothing", pread(fd, buf, 10, 300 * 2 * PAGE), 0);
        ERRNO("bad buffer to read", pread(fd, (void *)16, 5, 0), EFAULT);
        ERRNO("bad buffer to write", pwrite(fd, (void *)16, 5, 0), EFAULT);
        ERRNO("no memory for so long a list", pwrite(fd, buf, 1, 1LL << 50), ENOMEM);
        ERRNO("before the start", lseek(fd, -1, SEEK_SET), EINVAL);
        ERRNO("no such ioctl", ioctl(fd, _IO('K', 99), 0), ENOTTY);
    """,
    )
    assert len(m.kernel.vmalloc.areas) == 3
    assert device(m).next is not None and device(m).next.next is None


def test_holes_are_sigbus(machine_clean: Make, run_c: Run) -> None:
    """A hole and what lies past the end; the rest of the last quantum's page reads as zeros.  # C5, B10"""
    m = machine_clean(ram=32 << 20, devices=["scullv,scullv_order=2"])
    run_c(
        m,
        """
        int fd = must_open("/dev/scullv0", O_RDWR);
        fill(fd, 8 * PAGE, 7, PAGE + 10);
        char *p = map(fd, 0, 16 * PAGE, RW, MAP_SHARED);
        catch_faults();
        READS("written", p + 8 * PAGE);
        EQUAL("bytes", p[9 * PAGE + 9], 7);
        EQUAL("zero after the end", p[9 * PAGE + 10], 0);
        NO_READ("a hole", p, SIGBUS, BUS_ADRERR);
        NO_WRITE("past the end, in an allocated quantum", p + 10 * PAGE, SIGBUS, BUS_ADRERR);
        ERRNO("in a system call", write(fd, p, 1), EFAULT);
    """,
    )
    assert m.kernel.reports == []


def test_mapped_devices_are_not_emptied(machine_clean: Make, run_c: Run) -> None:
    """vmas counts: fork, split, unmap; O_WRONLY empties only what nobody maps.  # C5, B6"""
    m = machine_clean(ram=32 << 20, devices=["scullv,scullv_order=1"])
    counts: list[int] = []
    m.events.listen("driver_call", lambda call: counts.append(device(m).vmas) if call.driver == "scullv" else None)
    run_c(
        m,
        """
        int fd = must_open("/dev/scullv0", O_RDWR);
        fill(fd, 0, 'A', 4 * PAGE);
        char *p = map(fd, 0, 4 * PAGE, RW, MAP_SHARED);
        EQUAL("mapped", p[0] + p[3 * PAGE], 2 * 'A');
        if (!fork()) { munmap(p + PAGE, PAGE); _exit(p[0] != 'A'); }
        int status;
        wait(&status);
        EQUAL("child", status, 0);
        close(must_open("/dev/scullv0", O_WRONLY));
        EQUAL("data stays", p[PAGE], 'A');
        munmap(p, 4 * PAGE);
        close(must_open("/dev/scullv0", O_WRONLY));
        EQUAL("emptied", lseek(fd, 0, SEEK_END), 0);
    """,
    )
    assert max(counts) == 4 and device(m).vmas == 0  # two processes; the two splits come before the close
    assert frames(m) == [] and m.kernel.vmalloc.areas == []


def test_order_and_qset(machine_clean: Make, run_c: Run) -> None:
    """The ioctl commands; the new order counts for devices that are emptied from then on.  # C5"""
    m = machine_clean(ram=32 << 20, devices=["scullv"])
    run_c(
        m,
        """
        int value = 2, fd = must_open("/dev/scullv1", O_RDWR);
        EQUAL("query", ioctl(fd, SCULLP_IOCQORDER, 0), 4);
        EQUAL("set", ioctl(fd, SCULLP_IOCSORDER, &value), 0);
        EQUAL("exchange", ioctl(fd, SCULLP_IOCXORDER, &value), 0);
        EQUAL("the old one", value, 2);
        EQUAL("shift", ioctl(fd, SCULLP_IOCHQSET, 10), 500);
        ERRNO("too large", ioctl(fd, SCULLP_IOCTORDER, 11), EINVAL);
        ERRNO("bad pointer", ioctl(fd, SCULLP_IOCGORDER, 8), EFAULT);
        EQUAL("not yet", pwrite(fd, "a", 1, 15 * PAGE), 1);
        EQUAL("reset", ioctl(fd, SCULLP_IOCRESET, 0), 0);
        setuid(1000);
        ERRNO("others may not", ioctl(fd, SCULLP_IOCTQSET, 5), EPERM);
    """,
    )
    assert (device(m, 1).order, device(m, 1).qset, len(frames(m))) == (4, 500, 16)


def test_everything_is_given_back(machine_clean: Make, run_c: Run) -> None:
    """After unload as many frames are free as before, those of page tables included.  # D6"""
    m = machine_clean(ram=32 << 20)
    before = free_now(m)
    m.load("scullv")
    run_c(m, 'int fd = must_open("/dev/scullv3", O_RDWR); fill(fd, 0, 1, 99 * PAGE); fill(fd, 900 * PAGE, 1, PAGE);')
    assert len(frames(m)) == 8 * 16
    assert m.unload("scullv") == []
    assert free_now(m) == before and "scullvmem" not in m.kernel.proc_entries
