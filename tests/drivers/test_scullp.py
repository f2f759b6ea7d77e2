"""scullp driven by compiled programs (MECHANISMS C4, B1, B4, B6, B7, B9, B10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.events import DriverCall

Run = Callable[..., Any]
Make = Callable[..., Machine]

DEMO = "/usr/local/bin/"
FILL = 'int fd = must_open("/dev/scullp0", O_RDWR); fill(fd, 0, 0x41, 3 * PAGE);'


def device(m: Machine, number: int = 0) -> Any:
    return m.kernel.modules["scullp"].namespace["scullp_devices"][number]


def frames(m: Machine) -> list[int]:
    """Frames that hold scullp's pages."""
    module = m.kernel.modules["scullp"]
    return sorted(pfn for pfn in module.pages if m.kernel.mem.owner_of(pfn) is module)


def free_now(m: Machine) -> int:
    """Free frames, what the page cache keeps counted as free."""
    return m.kernel.mem.free_frames() + m.kernel.vfs.page_cache_frames()


def test_the_session_of_the_book(machine_clean: Make) -> None:
    """`ls -l /dev > /dev/scullp; mapper /dev/scullp 0 140; mapper /dev/scullp 8192 200`  # C4, C11"""
    m = machine_clean(devices=["scullp"])
    listing = "".join(f"crw------- 1 root root 10, {i:3d} Sep 15 07:40 device{i}\n" for i in range(400)).encode()
    assert m.run([DEMO + "devwrite", "/dev/scullp"], stdin=listing).exit == 0
    first = m.run([DEMO + "mapper", "/dev/scullp", "0", "140"])
    assert (first.exit, first.stdout) == (0, listing[:140])
    assert first.stderr == b'mapped "/dev/scullp" from 0 (0x00000000) to 140 (0x0000008c)\n'
    later = m.run([DEMO + "mapper", "/dev/scullp", "8192", "200"])
    assert later.stdout == listing[8192:8392]
    assert later.stderr == b'mapped "/dev/scullp" from 8192 (0x00002000) to 8392 (0x000020c8)\n'


def test_read_write_seek(machine_clean: Make, run_c: Run) -> None:
    """Calls stop at the end of a quantum; SEEK_END is the device's size; holes read as nothing.  # C4"""
    m = machine_clean(devices=["scullp"])
    run_c(
        m,
        """
        char buf[3 * PAGE];
        int fd = must_open("/dev/scullp0", O_RDWR);
        memset(buf, 'x', sizeof buf);
        EQUAL("write stops at the quantum", write(fd, buf, sizeof buf), PAGE);
        EQUAL("position", lseek(fd, 0, SEEK_CUR), PAGE);
        EQUAL("write inside a quantum", write(fd, "hello", 5), 5);
        EQUAL("end", lseek(fd, 0, SEEK_END), PAGE + 5);
        EQUAL("back", lseek(fd, -5, SEEK_END), PAGE);
        EQUAL("read to the end", read(fd, buf, sizeof buf), 5);
        CHECK("what was written", !memcmp(buf, "hello", 5));
        EQUAL("read at the end", read(fd, buf, sizeof buf), 0);
        ERRNO("before the start", lseek(fd, -1, SEEK_SET), EINVAL);
        ERRNO("bad whence", lseek(fd, 0, 99), EINVAL);
        EQUAL("far", lseek(fd, 600 * PAGE, SEEK_SET), 600 * PAGE);
        EQUAL("write beyond a hole", write(fd, "far", 3), 3);
        EQUAL("in the hole", lseek(fd, 300 * PAGE, SEEK_SET), 300 * PAGE);
        EQUAL("a hole reads as nothing", read(fd, buf, 10), 0);
        EQUAL("the quantum beyond", pread(fd, buf, 10, 600 * PAGE), 3);
        ERRNO("bad buffer to read", pread(fd, (void *)16, 5, 0), EFAULT);
        ERRNO("bad buffer to write", pwrite(fd, (void *)16, 5, 0), EFAULT);
        EQUAL("empty write", write(fd, buf, 0), 0);
        ERRNO("no memory for so long a list", pwrite(fd, buf, 1, 1LL << 50), ENOMEM);
        ERRNO("no such ioctl", ioctl(fd, _IO('K', 99), 0), ENOTTY);
        ERRNO("ioctl of a terminal", ioctl(fd, 0x5401, buf), ENOTTY);
    """,
    )
    assert len(frames(m)) == 3  # the hole between took none
    assert device(m).size == 600 * 4096 + 3
    assert device(m).next is not None and device(m).next.next is None  # 500 quanta in the first set


def test_holes_are_not_filled_by_reading(machine_clean: Make, run_c: Run) -> None:
    m = machine_clean(devices=["scullp"])
    run_c(m, 'char c; int fd = must_open("/dev/scullp0", O_RDWR); fill(fd, 9 * PAGE, 1, 1);'
             'for (int i = 0; i < 9; i++) EQUAL("hole", pread(fd, &c, 1, i * PAGE), 0);')  # fmt: skip
    assert len(frames(m)) == 1


def test_opening_for_writing_only_empties(machine_clean: Make, run_c: Run) -> None:
    """O_WRONLY trims; O_RDWR never does.  # C4"""
    m = machine_clean(devices=["scullp"])
    run_c(m, FILL + 'close(fd); close(must_open("/dev/scullp0", O_RDWR));')
    assert len(frames(m)) == 3
    run_c(m, 'close(must_open("/dev/scullp0", O_WRONLY));')
    assert frames(m) == [] and device(m).size == 0


def test_a_mapped_device_keeps_its_data(machine_clean: Make, run_c: Run) -> None:
    """The trim of a mapped device is refused inside, open succeeds, and the data stays.  # C4, B6"""
    m = machine_clean(devices=["scullp"])
    run_c(
        m,
        FILL
        + """
        char *p = map(fd, 0, 3 * PAGE, PROT_READ, MAP_SHARED);
        EQUAL("mapped", p[5], 'A');
        int w = open("/dev/scullp0", O_WRONLY);
        CHECK("open for writing works", w >= 0);
        EQUAL("data is there", p[2 * PAGE], 'A');
        EQUAL("size too", lseek(fd, 0, SEEK_END), 3 * PAGE);
        EQUAL("one overwrites what the other maps", pwrite(w, "B", 1, 5), 1);
        EQUAL("seen", p[5], 'B');
        close(w);
        munmap(p, 3 * PAGE);
        close(must_open("/dev/scullp0", O_WRONLY));
        EQUAL("emptied now", lseek(fd, 0, SEEK_END), 0);
    """,
    )
    assert device(m).vmas == 0


def test_vmas_counts_mappings(machine_clean: Make, run_c: Run) -> None:
    """fork, a split and each unmap go through open and close; the first mmap counts itself.  # C4, B6"""
    m = machine_clean(devices=["scullp"])
    counts: list[int] = []
    m.events.listen("driver_call", lambda call: counts.append(device(m).vmas) if call.driver == "scullp" else None)
    run_c(
        m,
        FILL
        + """
        char *p = map(fd, 0, 3 * PAGE, PROT_READ, MAP_SHARED);
        if (!fork())
            _exit(0);
        wait(NULL);
        munmap(p + PAGE, PAGE);
        char *q = map(fd, 0, PAGE, PROT_READ, MAP_PRIVATE);
        EQUAL("still there", p[0] + p[2 * PAGE] + q[0], 3 * 'A');
    """,
    )
    assert max(counts) == 3  # two parts and q
    assert device(m).vmas == 0


def test_mapping_and_file_are_the_same_memory(machine_clean: Make, run_c: Run) -> None:
    """A shared mapping sees writes and read sees its stores; a private one keeps its stores.  # C4, B7"""
    m = machine_clean(devices=["scullp"])
    run_c(
        m,
        FILL
        + """
        char c, *s = map(fd, 0, 3 * PAGE, RW, MAP_SHARED), *p = map(fd, PAGE, PAGE, RW, MAP_PRIVATE);
        EQUAL("before", s[PAGE] + p[0], 2 * 'A');
        pwrite(fd, "W", 1, PAGE + 1);
        EQUAL("write seen in the shared mapping", s[PAGE + 1], 'W');
        EQUAL("and in the private one", p[1], 'W');
        s[2] = 'S';
        pread(fd, &c, 1, 2);
        EQUAL("store seen by read", c, 'S');
        p[0] = 'P';
        pread(fd, &c, 1, PAGE);
        EQUAL("private store is private", c, 'A');
        pwrite(fd, "Q", 1, PAGE + 2);
        EQUAL("after the copy, no longer the device", p[2], 'A');
        if (!fork()) { s[3] = 'C'; _exit(0); }
        wait(NULL);
        EQUAL("the child's store", s[3], 'C');
    """,
    )


def test_holes_and_the_end_are_sigbus(machine_clean: Make, run_c: Run) -> None:
    """SIGBUS, BUS_ADRERR, at the very address; inside a system call EFAULT.  # C4, B10"""
    m = machine_clean(devices=["scullp"])
    run_c(
        m,
        """
        char *p;
        int in = must_open("/dev/zero", O_RDWR), fd = must_open("/dev/scullp0", O_RDWR);
        catch_faults();
        fill(fd, 0, 1, 1);
        fill(fd, 2 * PAGE, 1, 1);
        p = map(fd, 0, 8 * PAGE, RW, MAP_SHARED);
        READS("written page, past the bytes that were written", p + PAGE - 1);
        NO_READ("hole", p + PAGE + 7, SIGBUS, BUS_ADRERR);
        NO_WRITE("store in a hole", p + PAGE + 7, SIGBUS, BUS_ADRERR);
        READS("last page", p + 2 * PAGE);
        NO_READ("past the end", p + 3 * PAGE + 123, SIGBUS, BUS_ADRERR);
        ERRNO("the kernel's own copy", read(in, p + PAGE, 10), EFAULT);
        EQUAL("a short copy", read(in, p + 2 * PAGE, 2 * PAGE), PAGE);
        pwrite(fd, "x", 1, PAGE);
        READS("filled meanwhile", p + PAGE + 7);
    """,
    )


def test_sigbus_kills(machine_clean: Make) -> None:
    """Without a handler the process dies of it.  # B10"""
    m = machine_clean(devices=["scullp"])
    faults: list[Any] = []
    m.events.listen("fault", faults.append)
    result = m.run([DEMO + "mapper", "/dev/scullp1", "0", "1"])
    assert (result.signal, result.exit) == (7, 135)
    assert (faults[-1].answer, faults[-1].outcome) == ("scullp.nopage", "SIGBUS (BUS_ADRERR)")


@pytest.mark.parametrize("how", ["write", "read"])
def test_copy_between_a_device_and_its_own_mapping(machine_clean: Make, run_c: Run, how: str) -> None:
    """The buffer of read or write is an untouched mapping of the same device: nopage needs the semaphore too.  # C4"""
    m = machine_clean(devices=["scullp"])
    call = "pwrite(fd, p + PAGE, PAGE, 0)" if how == "write" else "pread(fd, p + PAGE, PAGE, 0)"
    run_c(m, FILL + f'char *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED); EQUAL("{how}", {call}, PAGE);')


def test_mmap_arguments(machine_clean: Make, run_c: Run) -> None:
    """What mmap(2) itself refuses, before the driver is asked.  # B1, B14"""
    m = machine_clean(devices=["scullp"])
    asked: list[str] = []
    m.events.listen("driver_call", lambda call: asked.append(call.operation) if call.driver == "scullp" else None)
    run_c(
        m,
        FILL
        + """
        int ro = must_open("/dev/scullp0", O_RDONLY), wo = must_open("/dev/scullp1", O_WRONLY);
        ERRNO("length 0", map(fd, 0, 0, PROT_READ, MAP_SHARED), EINVAL);
        ERRNO("neither shared nor private", map(fd, 0, PAGE, PROT_READ, 0), EINVAL);
        ERRNO("write on a read-only file", map(ro, 0, PAGE, RW, MAP_SHARED), EACCES);
        ERRNO("write-only file", map(wo, 0, PAGE, PROT_READ, MAP_PRIVATE), EACCES);
        ERRNO("fixed and unaligned", mmap((void *)0x12345001, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0), EINVAL);
        CHECK("private and writable on a read-only file", map(ro, 0, PAGE, RW, MAP_PRIVATE) != MAP_FAILED);
        char *p = map(fd, PAGE, 100, PROT_READ, MAP_SHARED);
        EQUAL("rounded up to a page", p[PAGE - 1], 'A');
        ERRNO("protect beyond the file's rights", mprotect(map(ro, 0, PAGE, PROT_READ, MAP_SHARED), PAGE, RW), EACCES);
    """,
    )
    assert asked.count("mmap") == 3


def test_higher_order(machine_clean: Make, run_c: Run) -> None:
    """order 2: quanta of 16 KiB, and no mmap.  # C4"""
    m = machine_clean(devices=["scullp,scullp_order=2,scullp_qset=3"])
    run_c(
        m,
        """
        char buf[8 * PAGE];
        int fd = must_open("/dev/scullp2", O_RDWR);
        memset(buf, 'y', sizeof buf);
        EQUAL("a quantum", write(fd, buf, sizeof buf), 4 * PAGE);
        EQUAL("its end", pread(fd, buf, sizeof buf, 3 * PAGE + 5), PAGE - 5);
        EQUAL("fourth quantum, second set", pwrite(fd, "z", 1, 12 * PAGE), 1);
        ERRNO("no mmap", map(fd, 0, PAGE, PROT_READ, MAP_SHARED), ENODEV);
    """,
    )
    module = m.kernel.modules["scullp"]
    assert sorted(order for order, _ in module.pages.values()) == [2, 2]
    assert device(m, 2).next.data is not None and len(device(m, 2).next.data) == 3
    assert m.unload("scullp") == []


def test_refused_mmap_leaves_nothing(machine_clean: Make, run_c: Run) -> None:
    """ENODEV from the method: the area is gone, no close is called.  # B1, B6"""
    m = machine_clean(devices=["scullp,scullp_order=1"])
    calls: list[str] = []
    m.events.listen("driver_call", lambda call: calls.append(call.operation) if call.driver == "scullp" else None)
    run_c(
        m,
        """
        char *at = hole(4);
        int fd = must_open("/dev/scullp0", O_RDWR);
        ERRNO("refused", mmap(at, PAGE, PROT_READ, MAP_SHARED, fd, 0), ENODEV);
        ERRNO("nothing is there", msync(at, PAGE, MS_ASYNC), ENOMEM);
    """,
    )
    assert "mmap" in calls and "vma close" not in calls


def test_ioctl(machine_clean: Make, run_c: Run) -> None:
    """Set, Tell, Get, Query, eXchange and sHift, for order and for qset.  # C4"""
    m = machine_clean(devices=["scullp"])
    run_c(
        m,
        """
        int v, fd = must_open("/dev/scullp0", O_RDWR);
        EQUAL("Q order", ioctl(fd, SCULLP_IOCQORDER, 0), 0);
        EQUAL("Q qset", ioctl(fd, SCULLP_IOCQQSET, 0), 500);
        v = 2; EQUAL("S order", ioctl(fd, SCULLP_IOCSORDER, &v), 0);
        v = 9; EQUAL("G order", ioctl(fd, SCULLP_IOCGORDER, &v), 0); EQUAL("got", v, 2);
        EQUAL("T order", ioctl(fd, SCULLP_IOCTORDER, 3), 0);
        v = 4; EQUAL("X order", ioctl(fd, SCULLP_IOCXORDER, &v), 0); EQUAL("old", v, 3);
        EQUAL("H order", ioctl(fd, SCULLP_IOCHORDER, 1), 4);
        EQUAL("Q order", ioctl(fd, SCULLP_IOCQORDER, 0), 1);
        v = 7; EQUAL("S qset", ioctl(fd, SCULLP_IOCSQSET, &v), 0);
        v = 0; EQUAL("G qset", ioctl(fd, SCULLP_IOCGQSET, &v), 0); EQUAL("got", v, 7);
        EQUAL("T qset", ioctl(fd, SCULLP_IOCTQSET, 8), 0);
        v = 9; EQUAL("X qset", ioctl(fd, SCULLP_IOCXQSET, &v), 0); EQUAL("old", v, 8);
        EQUAL("H qset", ioctl(fd, SCULLP_IOCHQSET, 10), 9);
        ERRNO("S from nowhere", ioctl(fd, SCULLP_IOCSORDER, 16), EFAULT);
        ERRNO("G to nowhere", ioctl(fd, SCULLP_IOCGQSET, 16), EFAULT);
        ERRNO("order 11", ioctl(fd, SCULLP_IOCTORDER, 11), EINVAL);
        ERRNO("qset 0", ioctl(fd, SCULLP_IOCTQSET, 0), EINVAL);
        close(must_open("/dev/scullp0", O_WRONLY));
        ERRNO("the emptied device has the new order", map(fd, 0, PAGE, PROT_READ, MAP_SHARED), ENODEV);
        EQUAL("reset", ioctl(fd, SCULLP_IOCRESET, 0), 0);
        EQUAL("Q order", ioctl(fd, SCULLP_IOCQORDER, 0), 0);
        EQUAL("Q qset", ioctl(fd, SCULLP_IOCQQSET, 0), 500);
        if (setuid(1000)) _exit(3);
        ERRNO("T without rights", ioctl(fd, SCULLP_IOCTORDER, 1), EPERM);
        ERRNO("S without rights", ioctl(fd, SCULLP_IOCSQSET, &v), EPERM);
        ERRNO("X without rights", ioctl(fd, SCULLP_IOCXQSET, &v), EPERM);
        ERRNO("H without rights", ioctl(fd, SCULLP_IOCHORDER, 1), EPERM);
        EQUAL("Q without rights", ioctl(fd, SCULLP_IOCQQSET, 0), 500);
    """,
    )
    assert device(m).order == 1 and device(m).qset == 10


def test_proc_scullpmem(machine_clean: Make, run_c: Run) -> None:
    m = machine_clean(devices=["scullp,scullp_devs=2,scullp_qset=4"])
    run_c(m, 'int fd = must_open("/dev/scullp1", O_RDWR); fill(fd, 0, 1, PAGE); fill(fd, 5 * PAGE, 1, 100);')
    text = m.read_file("/proc/scullpmem").decode()
    assert "Device 0: qset 4, order 0, sz 0, vmas 0\n" in text
    assert f"Device 1: qset 4, order 0, sz {5 * 4096 + 100}, vmas 0\n  item 0: 1 quanta\n  item 1: 1 quanta\n" in text
    addresses = {0xFFFF_8880_0000_0000 + (pfn << 12) for pfn in frames(m)}
    listed = int(text.split("       1: ")[1].split()[0], 16)  # page 5 is quantum 1 of item 1
    assert listed in addresses


def test_page_counts(machine_clean: Make, run_c: Run) -> None:
    """One reference is the device's, one a mapping; unmap and exit give theirs back.  # B9"""
    m = machine_clean(devices=["scullp"])
    counts: list[tuple[int, int]] = []

    def look(call: DriverCall) -> None:
        if call.driver == "scullp" and call.operation == "ioctl":
            counts.append((m.kernel.mem.count[frames(m)[0]], m.kernel.mem.mapcount[frames(m)[0]]))

    m.events.listen("driver_call", look)
    run_c(
        m,
        """
        int fd = must_open("/dev/scullp0", O_RDWR);
        fill(fd, 0, 'A', PAGE);
        #define LOOK ioctl(fd, SCULLP_IOCQORDER, 0)
        LOOK;
        char *p = map(fd, 0, PAGE, PROT_READ, MAP_SHARED);
        LOOK;
        EQUAL("touch", p[0], 'A');
        LOOK;
        char *q = map(fd, 0, PAGE, RW, MAP_PRIVATE);
        EQUAL("touch", q[0], 'A');
        LOOK;
        q[0] = 'B';
        LOOK;
        if (!fork()) { LOOK; munmap(p, PAGE); LOOK; _exit(0); }
        wait(NULL);
        LOOK;
        munmap(p, PAGE);
        LOOK;
    """,
    )
    # alone; mapped but untouched; touched; a second area; its private copy; in the child; it unmapped; it ended; and
    # at last unmapped
    assert counts == [(1, 0), (1, 0), (2, 1), (3, 2), (2, 1), (3, 2), (2, 1), (2, 1), (1, 0)]
    assert m.kernel.mem.count[frames(m)[0]] == 1
