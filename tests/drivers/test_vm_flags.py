"""What the flags of an area do: VM_IO, VM_RESERVED, VM_DONTCOPY, VM_DONTEXPAND, VM_SHARED, the VM_MAY bits; the forms
of remap_pfn_range; the zero page of an area without nopage (MECHANISMS B2 to B5, B8, B12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.hardware.paging import PCD, PWT, RW, P
from machine.kernel.mm.vma import VM_IO, VM_RESERVED

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

FLAGS = """
    FORBIDDEN = {4: VM_MAYWRITE, 5: VM_MAYREAD, 6: VM_MAYEXEC}
    WANTED = {1: VM_DONTCOPY, 2: VM_DONTEXPAND, 3: VM_IO, 8: VM_RESERVED, 9: VM_DONTEXPAND | VM_DONTCOPY | VM_IO}
    page_of_device = get_zeroed_page(GFP_KERNEL)
    asked = []
    def nopage(vma, address, type):
        asked.append(vma.vm_pgoff)
        page = virt_to_page(page_of_device)
        get_page(page)
        return page
    def mmap(filp, vma):
        kind = vma.vm_pgoff // 16
        vma.vm_flags |= WANTED.get(kind, 0)
        vma.vm_flags &= ~FORBIDDEN.get(kind, 0)
        vma.vm_ops = vm_ops
        return 0
    vm_ops = vm_operations_struct(nopage=nopage)
    register_chrdev(42, "bad", file_operations(mmap=mmap))
    devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
"""
"""The offset says which flags: page 16 of the device on has the first row's, page 32 on the second's, ..."""
OPEN = """
    int fd = must_open("/dev/bad", O_RDWR);
    (void)fd;
    #define KIND(n, pages) map(fd, (n) * 16 * PAGE, (pages) * PAGE, RW, MAP_SHARED)
"""


def test_dontcopy(m: Machine, driver: Load, run_c: Run) -> None:
    """The child of a fork does not have the area; a neighbour without the flag it has.  # B12"""
    driver(FLAGS)
    run_c(m, OPEN + """
        char *p = KIND(1, 2), *q = KIND(0, 1);
        p[0] = 1;
        catch_faults();
        if (!fork()) {
            NO_READ("not copied", p, SIGSEGV, SEGV_MAPERR);
            READS("copied", q);
            ERRNO("its place is free", mmap(p, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), 0);
            _exit(failures);
        }
        int status;
        wait(&status);
        EQUAL("child", status, 0);
        EQUAL("still the parent's", p[0], 1);
    """)  # fmt: skip


def test_dontexpand(m: Machine, driver: Load, run_c: Run) -> None:
    """EFAULT to grow, in place or by a move; shrinking and moving are fine.  # B12, B11"""
    driver(FLAGS)
    run_c(m, OPEN + """
        char *room = hole(32), *p = mmap(room, 3 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 32 * PAGE);
        CHECK("mapped", p == room);
        ERRNO("in place", mremap(p, 3 * PAGE, 4 * PAGE, 0), EFAULT);
        ERRNO("moving", mremap(p, 3 * PAGE, 4 * PAGE, MREMAP_MAYMOVE), EFAULT);
        ERRNO("to a place", mremap(p, 3 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 8 * PAGE), EFAULT);
        CHECK("shrink", mremap(p, 3 * PAGE, 2 * PAGE, 0) == p);
        CHECK("move", mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 8 * PAGE) == room + 8 * PAGE);
        room[8 * PAGE] = 1;
        p = KIND(0, 1);
        CHECK("without the flag", mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE) != MAP_FAILED);
    """)  # fmt: skip


def test_may_bits(m: Machine, driver: Load, run_c: Run) -> None:
    """mprotect gives what VM_MAYREAD, VM_MAYWRITE and VM_MAYEXEC allow, else EACCES and nothing is changed.  # B12"""
    driver(FLAGS)
    run_c(m, OPEN + """
        char *w = KIND(4, 3), *r = KIND(5, 1), *x = KIND(6, 1), *all = KIND(0, 1), *q;
        int rofd = must_open("/dev/bad", O_RDONLY);
        catch_faults();
        WRITES("present permissions stay", w);
        ERRNO("to read", mprotect(w, 3 * PAGE, PROT_READ), 0);
        ERRNO("no way back", mprotect(w + PAGE, PAGE, RW), EACCES);
        NO_WRITE("read-only", w, SIGSEGV, SEGV_ACCERR);
        ERRNO("none", mprotect(r, PAGE, PROT_NONE), 0);
        ERRNO("no reading", mprotect(r, PAGE, PROT_READ), EACCES);
        ERRNO("no executing", mprotect(x, PAGE, PROT_READ | PROT_EXEC), EACCES);
        ERRNO("but reading", mprotect(x, PAGE, PROT_READ), 0);
        ERRNO("all", mprotect(all, PAGE, RW | PROT_EXEC), 0);
        ERRNO("shared, writable, opened to read", map(rofd, 0, PAGE, RW, MAP_SHARED), EACCES);
        q = map(rofd, 0, PAGE, PROT_READ, MAP_SHARED);
        ERRNO("later", mprotect(q, PAGE, RW), EACCES);
        q = map(rofd, 0, PAGE, RW, MAP_PRIVATE);
        WRITES("a private copy", q);
    """)  # fmt: skip


def test_shared_and_private(m: Machine, driver: Load, run_c: Run) -> None:
    """VM_SHARED: stores reach the driver's page.  Without it the first write copies.  # B12"""
    d = driver(FLAGS)
    run_c(m, OPEN + """
        char *s = map(fd, 0, PAGE, RW, MAP_SHARED), *p = map(fd, 0, PAGE, RW, MAP_PRIVATE);
        s[0] = 's';
        EQUAL("seen", p[0], 's');
        p[0] = 'p';
        EQUAL("copied", s[0], 's');
        s[1] = 'S';
        EQUAL("apart", p[1], 0);
    """)  # fmt: skip
    page = d["page_of_device"] - 0xFFFF888000000000
    assert bytes(m.kernel.ram.view[page : page + 2]) == b"sS"


def test_io_is_out_of_reach_of_debuggers(m: Machine, driver: Load, run_c: Run) -> None:
    """VM_IO: /proc/PID/mem, process_vm_readv, MAP_POPULATE and mlock leave it alone; the process itself and its system
    calls don't.  # B12"""
    d = driver(FLAGS)
    run_c(m, OPEN + """
        char c = 0, *io = KIND(3, 1), *plain = KIND(0, 1);
        int mem = must_open("/proc/self/mem", O_RDWR), pipes[2];
        struct iovec here = {&c, 1}, there = {io, 1};
        plain[0] = 'd';
        EQUAL("process", io[0], 'd');
        EQUAL("plain by mem", pread(mem, &c, 1, (unsigned long)plain), 1);
        EQUAL("read", c, 'd');
        ERRNO("io by mem", pread(mem, &c, 1, (unsigned long)io), EIO);
        ERRNO("write io by mem", pwrite(mem, &c, 1, (unsigned long)io), EIO);
        ERRNO("io by process_vm_readv", process_vm_readv(getpid(), &here, 1, &there, 1, 0), EFAULT);
        EQUAL("pipe", pipe(pipes), 0);
        EQUAL("a system call reads it", write(pipes[1], io, 1), 1);
        EQUAL("and writes it", read(pipes[0], io + 1, 1), 1);
        EQUAL("there", plain[1], 'd');
        mmap(NULL, PAGE, RW, MAP_SHARED | MAP_POPULATE, fd, 49 * PAGE);
        mmap(NULL, PAGE, RW, MAP_SHARED | MAP_POPULATE, fd, PAGE);
    """)  # fmt: skip
    assert d["asked"].count(49) == 0 and d["asked"].count(1) == 1


def test_reserved_areas_stay_apart(m: Machine, driver: Load, run_c: Run) -> None:
    """Two adjacent areas of one device become one, unless VM_RESERVED or VM_IO says that they are special.  # B12"""
    driver(FLAGS)
    result = run_c(m, OPEN + """
        static const int kinds[] = {0, 3, 8};
        char text[8192], *room = hole(64);
        ssize_t n;
        for (int i = 0; i < 3; i++)
            for (int page = 0; page < 2; page++)
                mmap(room + (i * 8 + page) * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, (kinds[i] * 16 + page) * PAGE);
        int out = must_open("/proc/self/maps", O_RDONLY);
        while ((n = read(out, text, sizeof text)) > 0)
            if (write(1, text, n) != n) return 1;
    """)  # fmt: skip
    lines = [line.split() for line in result.stdout.decode().splitlines() if line.endswith("/dev/bad")]
    sizes = [(int(end, 16) - int(start, 16)) >> 12 for start, _, end in (line[0].partition("-") for line in lines)]
    assert sizes == [2, 1, 1, 1, 1]


def test_smaps_shows_them(m: Machine, driver: Load, run_c: Run) -> None:
    """VmFlags of /proc/PID/smaps: io, dc, de.  # B12"""
    driver(FLAGS)
    result = run_c(m, OPEN + """
        char text[65536];
        ssize_t n;
        KIND(9, 1);
        int out = must_open("/proc/self/smaps", O_RDONLY);
        while ((n = read(out, text, sizeof text)) > 0)
            if (write(1, text, n) != n) return 1;
    """)  # fmt: skip
    after = result.stdout.decode().split("/dev/bad\n")[1]
    shown = next(line for line in after.splitlines() if line.startswith("VmFlags:")).split()[1:]
    assert {"rd", "wr", "sh", "mr", "mw", "me", "ms", "io", "dc", "de"} <= set(shown)


def test_what_the_driver_writes_stays(m: Machine, driver: Load, run_c: Run) -> None:
    """The offset (by either name), private data and operations that `mmap` stored are the area's from then on: `nopage`
    sees them, so do a split's new part and /proc/PID/maps.  # B2"""
    d = driver("""
        seen = []
        page_of_device = get_zeroed_page(GFP_KERNEL)
        def nopage(vma, address, type):
            seen.append((vma.vm_private_data, vma.vm_offset, vma.vm_pgoff, address - vma.vm_start))
            page = virt_to_page(page_of_device)
            get_page(page)
            return page
        def mmap(filp, vma):
            vma.vm_private_data = f"area {vma.vm_pgoff}"
            if vma.vm_pgoff == 0:
                vma.vm_offset = 0x12345000
            else:
                vma.vm_pgoff = 0x777
            vma.vm_ops = vm_ops
            return 0
        vm_ops = vm_operations_struct(nopage=nopage)
        register_chrdev(42, "bad", file_operations(mmap=mmap))
        devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
    """)
    result = run_c(m, OPEN + """
        char text[8192];
        volatile char *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED), *q = map(fd, PAGE, PAGE, RW, MAP_SHARED);
        ssize_t n;
        mprotect((char *)p + 2 * PAGE, PAGE, PROT_READ);
        EQUAL("read", p[PAGE] + p[2 * PAGE] + q[0], 0);
        int out = must_open("/proc/self/maps", O_RDONLY);
        while ((n = read(out, text, sizeof text)) > 0)
            if (write(1, text, n) != n) return 1;
    """)  # fmt: skip
    assert d["seen"] == [
        ("area 0", 0x12345000, 0x12345, 0x1000),
        ("area 0", 0x12347000, 0x12347, 0),
        ("area 1", 0x777000, 0x777, 0),
    ]
    lines = [line.split() for line in result.stdout.decode().splitlines() if line.endswith("/dev/bad")]
    assert sorted(line[2] for line in lines) == ["00777000", "12345000", "12347000"]


# -- remap_pfn_range and its relatives ---------------------------------------------------------------------

REMAP = """
    def mmap(filp, vma):
        size, kind, prot = vma.vm_end - vma.vm_start, vma.vm_pgoff, vma.vm_page_prot
        if kind == 1:
            results.append(remap_pfn_range(vma, vma.vm_start, 0xf0, size, prot))
        elif kind == 2:
            results.append(io_remap_page_range(vma, vma.vm_start, 0xf0000, size, prot))
        elif kind == 3:
            results.append(remap_page_range(vma.vm_start, 0xf0000, size, prot))
        elif kind == 4:
            results.append(remap_pfn_range(vma, vma.vm_start, 0xf0, size, pgprot_noncached(prot)))
        elif kind == 5:
            results.append(remap_pfn_range(vma, vma.vm_start + PAGE_SIZE, 0xf1, PAGE_SIZE, prot))
        elif kind == 6:
            results.append(remap_pfn_range(vma, vma.vm_start, 0xf0, size + PAGE_SIZE, prot))
            results.append(remap_pfn_range(vma, vma.vm_start - PAGE_SIZE, 0xf0, PAGE_SIZE, prot))
            results.append(remap_pfn_range(vma, vma.vm_start + 1, 0xf0, PAGE_SIZE, prot))
            results.append(remap_pfn_range(vma, vma.vm_start, 1 << 40, PAGE_SIZE, prot))
            results.append(remap_page_range(vma.vm_end + (64 << 20), 0xf0000, PAGE_SIZE, prot))
        flags.append(vma.vm_flags)
        return 0
    results, flags = [], []
    register_chrdev(42, "bad", file_operations(mmap=mmap))
    devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
"""


OFFSET = """
    def mmap(filp, vma):
        size = vma.vm_end - vma.vm_start
        return remap_pfn_range(vma, vma.vm_start, vma.vm_pgoff, size, vma.vm_page_prot)
    register_chrdev(42, "bad", file_operations(mmap=mmap))
    devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
"""


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_three_names_for_one_thing(m: Machine, driver: Load, run_c: Run, kind: int) -> None:
    """By frame number, by physical address, and the four arguments of 2.4: present at once, no fault later.  # B3"""
    d = driver(REMAP)
    m.kernel.ram.view[0xF0000:0xF0004] = b"BIOS"
    entries: list[int] = []
    faults: list[Any] = []

    def change(event: Any) -> None:
        task = m.kernel.current
        if event.what == "open" and event.name == "/dev/bad" and task is not None:
            entries.extend(task.mm.tables.get(event.vm_start + i * 4096) for i in range(2))

    m.events.listen("vma", change)
    m.events.listen("fault", lambda fault: faults.append(fault.answer) if "/dev/bad" in fault.vma else None)
    run_c(m, OPEN + f"""
        char *p = map(fd, {kind} * PAGE, 2 * PAGE, RW, MAP_SHARED);
        CHECK("bytes", !memcmp(p, "BIOS", 4));
        p[PAGE] = 'x';
        char *q = map(fd, {kind} * PAGE, 2 * PAGE, RW, MAP_PRIVATE);
        EQUAL("the same page", q[PAGE], 'x');
        q[PAGE] = 'y';
        EQUAL("copied", p[PAGE], 'x');
    """)  # fmt: skip
    assert d["results"] == [0, 0]
    assert all(flags & (VM_IO | VM_RESERVED) == VM_IO | VM_RESERVED for flags in d["flags"])
    assert [(entry >> 12 & 0xFFFFF, entry & (P | RW)) for entry in entries] == [
        (0xF0, P | RW), (0xF1, P | RW), (0xF0, P), (0xF1, P),
    ]  # fmt: skip
    assert faults == ["copy-on-write"]


def test_uncached_entries(m: Machine, driver: Load, run_c: Run) -> None:
    """pgprot_noncached: PCD and PWT in the entries, and they stay through mprotect, fork and mremap.  # B5"""
    driver(REMAP)
    found: list[tuple[str, int]] = []

    def look(call: Any) -> None:
        if call.name == "getppid":
            mm = call.task.mm
            for vma in mm.vmas:
                if vma.name() == "/dev/bad":
                    found.append((vma.maps_line().split()[1], mm.tables.get(vma.vm_start) & (PCD | PWT | RW)))

    m.events.listen("syscall_enter", look)
    run_c(m, OPEN + """
        char *p = map(fd, 4 * PAGE, PAGE, RW, MAP_SHARED);
        getppid();
        if (!fork()) { getppid(); _exit(0); }
        wait(NULL);
        mprotect(p, PAGE, PROT_READ);
        getppid();
        mprotect(p, PAGE, RW);
        getppid();
        CHECK("moved", mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole(1)) != MAP_FAILED);
        getppid();
    """)  # fmt: skip
    bits = PCD | PWT
    assert found == [
        ("rw-s", bits | RW), ("rw-s", bits | RW), ("r--s", bits), ("rw-s", bits | RW), ("rw-s", bits | RW),
    ]  # fmt: skip


def test_part_of_an_area(m: Machine, driver: Load, run_c: Run) -> None:
    """The rest of the area has no entries: without nopage it is zeros.  # B3, B8"""
    d = driver(REMAP)
    m.kernel.ram.view[0xF1000] = 0x66
    run_c(m, OPEN + """
        char *p = map(fd, 5 * PAGE, 3 * PAGE, RW, MAP_SHARED);
        EQUAL("mapped", p[PAGE], 0x66);
        EQUAL("zeros before", p[0], 0);
        EQUAL("zeros behind", p[2 * PAGE], 0);
    """)  # fmt: skip
    assert d["results"] == [0]


def test_ranges_that_make_no_sense(m: Machine, driver: Load, run_c: Run) -> None:
    """EINVAL outside the area, for an address inside a page and beyond what an entry holds; nothing is mapped.  # B3"""
    d = driver(REMAP)
    run_c(m, OPEN + """
        char *p = map(fd, 6 * PAGE, 2 * PAGE, RW, MAP_SHARED);
        CHECK("zeros", all_are(p, 0, 2 * PAGE));
    """)  # fmt: skip
    assert d["results"] == [-22] * 5
    beyond, nowhere = m.kernel.reports
    assert "there is no frame 0x10000000000, they end at 0xfffffff; is it an address? Then shift it right" in beyond
    assert "there is no area at this address" in nowhere


def test_an_offset_of_the_program_that_makes_no_sense(m: Machine, driver: Load, run_c: Run) -> None:
    """The driver maps the frame that it was asked for: EINVAL, and no bug of the driver's.  # B3, B12"""
    driver(OFFSET)
    run_c(m, OPEN + """
        errno = 0;
        char *p = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 1LL << 42);
        CHECK("no such frame", p == MAP_FAILED && errno == EINVAL);
    """)  # fmt: skip
    assert not m.kernel.reports


# -- the zero page ------------------------------------------------------------------------------------------


def test_the_zero_page_stays_zero(m: Machine, driver: Load, run_c: Run) -> None:
    """A shared area of a driver without nopage: a page that was read is the zero page, a write to it makes a copy, also
    after mprotect took the right to write away and gave it back; a child shares the copy.  # B8, B12"""
    driver(REMAP)
    answers: list[str] = []
    m.events.listen("fault", lambda fault: answers.append(fault.answer) if "/dev/bad" in fault.vma else None)
    run_c(m, OPEN + """
        char *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED), *other = map(fd, 0, PAGE, RW, MAP_SHARED), *a = anonymous(1);
        EQUAL("zeros", p[0] + p[PAGE] + other[0] + a[0], 0);
        p[0] = 1;
        EQUAL("written", p[0], 1);
        EQUAL("nobody else's", other[0] + a[0] + p[PAGE], 0);
        mprotect(p + PAGE, PAGE, PROT_READ);
        mprotect(p + PAGE, PAGE, RW);
        p[PAGE] = 2;
        EQUAL("nobody else's", other[0] + a[0], 0);
        p[2 * PAGE] = 3;
        if (!fork()) { p[0] = 'c'; p[2 * PAGE] = 'C'; _exit(0); }
        wait(NULL);
        EQUAL("what was written is shared with a child", p[0] == 'c' && p[2 * PAGE] == 'C', 1);
    """)  # fmt: skip
    zero = m.kernel.zero_pfn << 12
    assert bytes(m.kernel.ram.view[zero : zero + 4096]) == bytes(4096)
    assert answers == ["zero page", "zero page", "zero page", "copy-on-write", "copy-on-write", "anonymous"]
