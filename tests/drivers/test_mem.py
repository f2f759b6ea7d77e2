"""The memory devices driven by compiled programs (MECHANISMS C1, A2, B3, B4, B5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.hardware.paging import PCD, PWT
from tests.conftest import build

Run = Callable[..., Any]
Make = Callable[..., Machine]
MiB = 1 << 20
DEMO = "/usr/local/bin/"


def entries(m: Machine, collected: list[tuple[int, int]]) -> Callable[[Any], None]:
    """A listener that keeps (area flags, entry) of each new device mapping's first page."""

    def listen(change: Any) -> None:
        if change.what == "open" and change.name == "/dev/mem":
            task = m.kernel.current
            assert task is not None
            collected.append((change.vm_flags, task.mm.tables.get(change.vm_start)))

    return listen


def test_mapper_on_ram_shows_zeros(machine_clean: Make) -> None:
    """`mapper /dev/mem 0x10000 0x1000`: an ordinary page is not mapped, a zero page is seen.  # B4, C11"""
    m = machine_clean()
    m.kernel.ram.view[0x10000:0x10010] = b"physical memory!"
    result = m.run([DEMO + "mapper", "/dev/mem", "0x10000", "0x1000"])
    assert (result.exit, result.stdout) == (0, bytes(4096))
    assert result.stderr == b'mapped "/dev/mem" from 65536 (0x00010000) to 69632 (0x00011000)\n'
    m.kernel.ram.view[0x10000:0x10010] = bytes(16)


def test_reserved_pages_show_their_bytes(machine_clean: Make) -> None:
    """640 KiB to 1 MiB and the kernel's own pages.  # B4"""
    m = machine_clean()
    view = m.kernel.ram.view
    view[0xF0000:0xF0008] = b"BIOS ROM"
    assert m.run([DEMO + "mapper", "/dev/mem", "0xf0000", "8"]).stdout == b"BIOS ROM"
    kernel = m.run([DEMO + "mapper", "/dev/mem", "0x100000", "0x2000"]).stdout
    assert kernel == bytes(view[0x100000:0x102000]) != bytes(0x2000)


def test_zero_page_of_a_ram_mapping_is_private(machine_clean: Make, run_c: Run) -> None:
    """The process writes to its own page; the frame and read(2) are not changed.  # B4, B8"""
    m = machine_clean()
    m.kernel.ram.view[0x10000] = 0x77
    run_c(
        m,
        """
        int fd = must_open("/dev/mem", O_RDWR);
        unsigned char c, *p = map(fd, 0x10000, PAGE, RW, MAP_SHARED);
        CHECK("mapped", p != MAP_FAILED);
        EQUAL("a zero page", p[0], 0);
        p[0] = 0x55;
        EQUAL("written", p[0], 0x55);
        EQUAL("read(2) reaches the memory", pread(fd, &c, 1, 0x10000), 1);
        EQUAL("which is unchanged", c, 0x77);
    """,
    )
    assert m.kernel.ram.view[0x10000] == 0x77
    m.kernel.ram.view[0x10000] = 0


def test_stores_reach_the_isa_hole(machine_clean: Make, run_c: Run) -> None:
    """Mapped by remap_pfn_range: the memory itself, shared by all; private: a copy.  # B3, B4"""
    m = machine_clean()
    run_c(
        m,
        """
        int fd = must_open("/dev/mem", O_RDWR);
        unsigned char c, *p = map(fd, 0xa0000, PAGE, RW, MAP_SHARED), *q = map(fd, 0xa0000, PAGE, RW, MAP_PRIVATE);
        p[9] = 0x99;
        EQUAL("seen by the other mapping", q[9], 0x99);
        q[9] = 1;
        EQUAL("private", p[9], 0x99);
        EQUAL("read", pread(fd, &c, 1, 0xa0009), 1);
        EQUAL("as stored", c, 0x99);
        EQUAL("write", pwrite(fd, "w", 1, 0xa000a), 1);
        EQUAL("seen", p[10], 'w');
    """,
    )
    assert bytes(m.kernel.ram.view[0xA0009:0xA000B]) == b"\x99w"
    assert m.kernel.mem.count[0xA0] == 1  # reserved pages are not counted


def test_read_and_write(machine_clean: Make, run_c: Run) -> None:
    """Below the end of RAM they work, at and above it EFAULT; a call across it is short.  # C1"""
    m = machine_clean(ram=32 * MiB)
    m.kernel.ram.view[0x10000:0x10003] = b"abc"
    run_c(
        m,
        """
        char buf[2 * PAGE];
        int fd = must_open("/dev/mem", O_RDWR);
        EQUAL("read", pread(fd, buf, 3, 0x10000), 3);
        CHECK("bytes", !memcmp(buf, "abc", 3));
        EQUAL("write", pwrite(fd, "XYZ", 3, 0x10001), 3);
        EQUAL("moves the position", lseek(fd, 0x10000, SEEK_SET), 0x10000);
        EQUAL("read", read(fd, buf, 4), 4);
        EQUAL("position", lseek(fd, 0, SEEK_CUR), 0x10004);
        EQUAL("last bytes", pread(fd, buf, 100, (32 << 20) - 10), 10);
        ERRNO("read at the end", pread(fd, buf, 100, 32 << 20), EFAULT);
        ERRNO("write at the end", pwrite(fd, buf, 100, 32 << 20), EFAULT);
        ERRNO("read far above", pread(fd, buf, 1, 0xfcc00000LL), EFAULT);
        ERRNO("no end to seek from", lseek(fd, 0, SEEK_END), EINVAL);
        ERRNO("bad buffer", pread(fd, (void *)16, 1, 0), EFAULT);
        CHECK("mmap above RAM works", map(fd, 0xfcc00000LL, PAGE, PROT_READ, MAP_SHARED) != MAP_FAILED);
        ERRNO("beyond the address lines", map(fd, 1LL << 40, PAGE, PROT_READ, MAP_SHARED), EINVAL);
        EQUAL("nothing asked", pread(fd, buf, 0, 0), 0);
    """,
    )
    assert bytes(m.kernel.ram.view[0x10000:0x10004]) == b"aXYZ"
    m.kernel.ram.view[0x10000:0x10004] = bytes(4)


def test_capability(machine_clean: Make, run_c: Run) -> None:
    """mem and kmem are for CAP_SYS_RAWIO, whatever the mode of the node.  # C1"""
    m = machine_clean()
    run_c(
        m,
        """
        chmod("/dev/mem", 0666);
        chmod("/dev/kmem", 0666);
        if (setuid(1000)) _exit(3);
        ERRNO("mem", open("/dev/mem", O_RDONLY), EPERM);
        ERRNO("kmem", open("/dev/kmem", O_RDONLY), EPERM);
        CHECK("null", open("/dev/null", O_RDWR) >= 0);
    """,
    )


@pytest.mark.parametrize("target", ["x86_64"], indirect=True)
def test_kmem(machine_clean: Make, run_c: Run) -> None:
    """Offsets are kernel addresses.  # C1"""
    m = machine_clean()
    m.kernel.ram.view[0x10000:0x10003] = b"abc"
    run_c(
        m,
        """
        char buf[4];
        unsigned char *p;
        long base = (long)0xffff888000000000;
        int fd = must_open("/dev/kmem", O_RDWR), mem = must_open("/dev/mem", O_RDONLY);
        EQUAL("seek", lseek(fd, base + 0x10000, SEEK_SET), base + 0x10000);
        EQUAL("read", read(fd, buf, 3), 3);
        CHECK("bytes", !memcmp(buf, "abc", 3));
        EQUAL("no such memory", lseek(fd, 0x1000, SEEK_SET), 0x1000);
        EQUAL("end of file", read(fd, buf, 3), 0);
        p = map(fd, base + 0x100000, PAGE, PROT_READ, MAP_SHARED);
        CHECK("mmap", p != MAP_FAILED);
        EQUAL("the same page by /dev/mem", pread(mem, buf, 4, 0x100000), 4);
        CHECK("bytes", !memcmp(buf, p, 4));
    """,
    )
    m.kernel.ram.view[0x10000:0x10003] = bytes(3)


def test_uncached_mappings(machine_clean: Make, run_c: Run) -> None:
    """O_SYNC sets PCD and PWT; without it they are clear, MTRRs taking care of device memory.  # B5"""
    m = machine_clean()
    found: list[tuple[int, int]] = []
    m.events.listen("vma", entries(m, found))
    body = """
        int fd = must_open("/dev/mem", O_RDWR), sync = must_open("/dev/mem", O_RDWR | O_SYNC);
        map(fd, 0xa0000, PAGE, RW, MAP_SHARED);
        map(sync, 0xa0000, PAGE, RW, MAP_SHARED);
        map(fd, 0xe8000000LL, PAGE, RW, MAP_SHARED);
        CHECK("mapped", 1);
    """
    run_c(m, body)
    bits = PCD | PWT
    assert [entry & bits for _, entry in found] == [0, bits, 0]
    assert all(flags & 0x4000 and flags & 0x80000 for flags, _ in found)  # VM_IO, VM_RESERVED
    m.kernel.has_mtrr = False  # type: ignore[attr-defined]
    found.clear()
    run_c(m, body)
    assert [entry & bits for _, entry in found] == [0, bits, bits]


def test_the_maps_of_an_x_server(machine_clean: Make, run_c: Run) -> None:
    """Four mappings of /dev/mem, with their offsets in bytes.  # A2"""
    m = machine_clean()
    result = run_c(
        m,
        """
        int fd = must_open("/dev/mem", O_RDWR), out = must_open("/proc/self/maps", O_RDONLY);
        char text[8192];
        ssize_t n;
        map(fd, 0xa0000, 0x20000, RW | PROT_EXEC, MAP_SHARED);
        map(fd, 0xf0000, 0x10000, PROT_READ | PROT_EXEC, MAP_SHARED);
        map(fd, 0xfcc00000LL, 0x80000, RW, MAP_SHARED);
        map(fd, 0xe8000000LL, 0x4000000, RW, MAP_SHARED);
        while ((n = read(out, text, sizeof text)) > 0)
            if (write(1, text, n) != n) return 1;
    """,
    )
    lines = [line.split() for line in result.stdout.decode().splitlines() if line.endswith("/dev/mem")]
    shapes = {(line[1], line[2], int(line[0].split("-")[1], 16) - int(line[0].split("-")[0], 16)) for line in lines}
    assert shapes == {
        ("rwxs", "000a0000", 0x20000),
        ("r-xs", "000f0000", 0x10000),
        ("rw-s", "fcc00000", 0x80000),
        ("rw-s", "e8000000", 0x4000000),
    }


def test_null_zero_full(machine_clean: Make, run_c: Run) -> None:
    m = machine_clean()
    run_c(
        m,
        """
        char buf[3 * PAGE], *p = anonymous(2);
        int null = must_open("/dev/null", O_RDWR), zero = must_open("/dev/zero", O_RDWR);
        int full = must_open("/dev/full", O_RDWR);
        EQUAL("null reads nothing", read(null, buf, 10), 0);
        EQUAL("null takes all", write(null, buf, 10), 10);
        EQUAL("null does not even look", write(null, (void *)16, 10), 10);
        EQUAL("null seek", lseek(null, 1234, SEEK_END), 0);
        ERRNO("null has no mmap", map(null, 0, PAGE, PROT_READ, MAP_PRIVATE), ENODEV);
        memset(buf, 1, sizeof buf);
        EQUAL("zero", read(zero, buf, sizeof buf), sizeof buf);
        CHECK("zeros", all_are(buf, 0, sizeof buf));
        EQUAL("zero takes all", write(zero, buf, 10), 10);
        ERRNO("zero to nowhere", read(zero, (void *)16, 10), EFAULT);
        munmap(p + PAGE, PAGE);
        EQUAL("zero up to the end of memory", read(zero, p + 100, PAGE), PAGE - 100);
        EQUAL("full reads zeros", read(full, buf, 10), 10);
        ERRNO("full is full", write(full, buf, 1), ENOSPC);
        ERRNO("full has no mmap", map(full, 0, PAGE, PROT_READ, MAP_PRIVATE), ENODEV);
    """,
    )


def test_mmap_of_zero(machine_clean: Make, run_c: Run) -> None:
    """Private: anonymous memory.  Shared: memory shared with the children, an object per mapping.  # C1, B8"""
    m = machine_clean()
    run_c(
        m,
        """
        int fd = must_open("/dev/zero", O_RDWR);
        char *p = map(fd, 0, 2 * PAGE, RW, MAP_PRIVATE), *s = map(fd, 0, 2 * PAGE, RW, MAP_SHARED);
        char *t = map(fd, 0, PAGE, RW, MAP_SHARED);
        CHECK("zeros", all_are(p, 0, 2 * PAGE) && all_are(s, 0, 2 * PAGE));
        if (!fork()) { p[0] = 'p'; s[0] = 's'; s[PAGE] = 'S'; _exit(0); }
        wait(NULL);
        EQUAL("private", p[0], 0);
        EQUAL("shared", s[0] + s[PAGE], 's' + 'S');
        EQUAL("another mapping is another object", t[0], 0);
        munmap(s, 2 * PAGE);
        CHECK("write-only is refused", map(open("/dev/zero", O_WRONLY), 0, PAGE, PROT_READ, MAP_PRIVATE) == MAP_FAILED);
    """,
    )


def test_random(machine_clean: Make, run_c: Run) -> None:
    m = machine_clean()
    run_c(
        m,
        """
        char a[5000], b[5000], *p = anonymous(2);
        int v = 0, fd = must_open("/dev/random", O_RDWR), u = must_open("/dev/urandom", O_RDWR);
        memset(a, 0, sizeof a);
        EQUAL("random", read(fd, a, sizeof a), sizeof a);
        EQUAL("urandom", read(u, b, sizeof b), sizeof b);
        CHECK("random to the end", !all_are(a + 4900, 0, 100));
        CHECK("not the same", memcmp(a, b, sizeof a));
        EQUAL("write", write(fd, a, 100), 100);
        ERRNO("write from nowhere", write(fd, (void *)16, 100), EFAULT);
        munmap(p + PAGE, PAGE);
        EQUAL("short", read(u, p + 10, PAGE), PAGE - 10);
        EQUAL("entropy", ioctl(fd, 0x80045200, &v), 0);
        EQUAL("bits", v, 256);
        ERRNO("unknown ioctl", ioctl(fd, 0x5299, &v), EINVAL);
    """,
    )


def test_random_repeats_in_a_deterministic_machine() -> None:
    outputs = []
    for _ in range(2):
        with Machine(deterministic=True) as m:
            process = m.spawn(["/bin/head", "-c", "32", "/dev/urandom"])
            outputs.append(m.wait(process).stdout)
    assert outputs[0] == outputs[1] and len(outputs[0]) == 32


def test_kmsg(machine_clean: Make, run_c: Run) -> None:
    """A record a read; what is written is logged with its level.  # A4"""
    m = machine_clean()
    m.kernel.printk("first words", 6)
    run_c(
        m,
        """
        char buf[300];
        int fd = must_open("/dev/kmsg", O_RDWR | O_NONBLOCK);
        EQUAL("write", write(fd, "<3>from below\\n", 14), 14);
        ssize_t n = read(fd, buf, sizeof buf);
        CHECK("a record", n > 0 && buf[n - 1] == '\\n' && !memcmp(buf, "6,0,", 4));
        CHECK("its text", memmem(buf, n, "-;first words\\n", 14));
        n = read(fd, buf, sizeof buf);
        CHECK("the next", n > 0 && buf[0] == '3' && memmem(buf, n, "-;from below\\n", 13));
        ERRNO("no more", read(fd, buf, sizeof buf), EAGAIN);
        EQUAL("from the start", lseek(fd, 0, SEEK_SET), 0);
        ERRNO("too small a buffer", read(fd, buf, 5), EINVAL);
        EQUAL("to the end", lseek(fd, 0, SEEK_END), 0);
        ERRNO("no more", read(fd, buf, sizeof buf), EAGAIN);
        ERRNO("an offset", lseek(fd, 5, SEEK_SET), ESPIPE);
    """,
    )
    assert "from below" in m.dmesg
    assert m.kernel.modules["mem"].refcount == 0


def test_nodes(machine_clean: Make, run_c: Run) -> None:
    m = machine_clean()
    run_c(
        m,
        """
        static const struct { const char *name; int minor, mode; } nodes[] = {
            {"/dev/mem", 1, 0640}, {"/dev/kmem", 2, 0640}, {"/dev/null", 3, 0666}, {"/dev/zero", 5, 0666},
            {"/dev/full", 7, 0666}, {"/dev/random", 8, 0666}, {"/dev/urandom", 9, 0666}, {"/dev/kmsg", 11, 0644},
        };
        struct stat s;
        for (unsigned i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
            EQUAL(nodes[i].name, stat(nodes[i].name, &s), 0);
            EQUAL("device", s.st_rdev, 1 << 8 | nodes[i].minor);
            EQUAL("mode", s.st_mode, S_IFCHR | nodes[i].mode);
        }
        EQUAL("a node without a driver", mknod("/dev/nobody", S_IFCHR | 0600, 199 << 8), 0);
        ERRNO("opened", open("/dev/nobody", O_RDONLY), ENXIO);
        EQUAL("a minor without a device", mknod("/dev/port", S_IFCHR | 0600, 1 << 8 | 4), 0);
        ERRNO("opened", open("/dev/port", O_RDONLY), ENXIO);
    """,
    )


def test_reading_nothing_beyond_ram(run_in_machine: Callable[..., Any]) -> None:
    """No byte is copied, so no address is looked at."""
    program = build(
        """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void)
{
	char b[1];
	int fd = open("/dev/mem", O_RDWR);
	printf("%d %d\\n", (int)pread(fd, b, 0, (off_t)1 << 44), (int)pwrite(fd, b, 0, (off_t)1 << 44));
	return fd < 0;
}
"""
    )
    assert run_in_machine(program).stdout == b"0 0\n"


def test_code_where_nobody_is(machine_clean: Make, run_c: Run) -> None:
    """Unclaimed addresses read as ones, and FF FF is no instruction: SIGILL there for this process, again and again."""
    m = machine_clean()
    result = run_c(
        m,
        """
        int fd = must_open("/dev/mem", O_RDWR);
        for (int i = 0; i < 3; i++) {
            int status;
            if (!fork()) {
                char *p = map(fd, 0xd7f00000, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED);
                ((void (*)(void))(p + (i == 2 ? PAGE - 1 : 8)))();
                _exit(1);
            }
            wait(&status);
            EQUAL("status", status, SIGILL);
        }
    """,
    )
    assert result.exit == 0


def test_gigabytes_of_physical_addresses(machine_clean: Make, run_c: Run) -> None:
    """Whole tables at once, but where registers are; at any offset, shared and private.  # A2, B5"""
    m = machine_clean(board="lab")
    body = """
        int fd = must_open("/dev/mem", O_RDWR);
        int wide = sizeof(long) == 8;
        unsigned long long offset = wide ? 0xc0001000 : 0x130001000, size = wide ? 4ULL << 30 : 1 << 30;
        for (int flags = MAP_SHARED; flags <= MAP_PRIVATE; flags++) {
            volatile unsigned char *p = (void *)map(fd, offset, size, flags == MAP_SHARED ? RW : PROT_READ, flags);
            CHECK("mapped", p != MAP_FAILED);
            if (wide && flags == MAP_SHARED)
                EQUAL("registers are there", *(volatile unsigned *)(p + (REGISTER - offset)), VALUE);
            for (unsigned long long at = 0x140000000; at < offset + size; at += 0x1ffff000)
                EQUAL("nobody is there", p[at - offset], 0xff);
            EQUAL("unmapped in the middle", munmap((void *)(p + 0x1234000), size / 4), 0);
            EQUAL("unmapped", munmap((void *)p, size), 0);
        }
    """
    with m.entered():
        pages = [page for page in range(0xC0002000, 0x100000000, 4096) if m.kernel.bus.find(page)]
        value = m.kernel.bus.read(pages[0], 4)
        assert m.kernel.bus.has_blocks(pages[0], pages[0]) and not m.kernel.bus.has_blocks(1 << 36, 1 << 37)
    assert value != 0xFFFFFFFF
    run_c(m, body.replace("REGISTER", f"{pages[0]:#x}ULL").replace("VALUE", f"{value:#x}"))


def test_each_entry_of_a_large_mapping_is_an_event(machine_clean: Make, run_c: Run) -> None:
    """Those of whole tables, too: made by mmap, gone by munmap.  # F2"""
    m = machine_clean()
    seen: list[Any] = []
    m.events.listen("entry", lambda event: seen.append(event) if event.old | event.new >= 1 << 32 else None)
    run_c(
        m,
        """
        int fd = must_open("/dev/mem", O_RDWR);
        void *p = map(fd, 0x180000000LL, 6 << 20, PROT_READ, MAP_SHARED);
        CHECK("mapped", p != MAP_FAILED);
        EQUAL("unmapped", munmap(p, 6 << 20), 0);
    """,
    )
    frames = [(event.old & 0x000F_FFFF_FFFF_F000, event.new & 0x000F_FFFF_FFFF_F000) for event in seen]
    wanted = range(0x180000000, 0x180600000, 4096)
    assert [new for old, new in frames if not old and new in wanted] == list(wanted)
    assert sorted(old for old, new in frames if old in wanted and not new) == list(wanted)
