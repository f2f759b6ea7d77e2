"""Device memory for drivers: ioremap, accesses over the bus, claimed regions (MECHANISMS D8, A1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.hardware.paging import NX, PCD, RW, US, P, walk
from machine.kernel.current import set_current_kernel
from machine.kernel.linux import ioremap, iounmap, kernel_memory, readw
from machine.kernel.mm.vmalloc import BadKernelAddress
from machine.testing import Reg, RegisterBlock
from tests.drivers.by_program import ByProgram

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]
DEVICE_AT = 0xFEB0_0000

WINDOW = """
window = ioremap(0xe8000000, 0x4000)
def bad_read(filp, buf, count, f_pos):
    data = bytearray(count)
    memcpy_fromio(data, window + f_pos[0], count)
    return -EFAULT if copy_to_user(buf, data, count) else count
def bad_write(filp, buf, count, f_pos):
    data = bytearray(count)
    if copy_from_user(data, buf, count):
        return -EFAULT
    memcpy_toio(window + f_pos[0], data, count)
    return count
def bad_ioctl(inode, filp, cmd, arg):
    return put_user(readl(window + cmd), arg)
major = register_chrdev(0, "bad", file_operations(read=bad_read, write=bad_write, ioctl=bad_ioctl))
devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
def cleanup():
    devfs_remove("bad")
    unregister_chrdev(major, "bad")
    iounmap(window)
module_exit(cleanup)
"""


class Counter(RegisterBlock):
    name = "counter"
    low = Reg(0x00, reset=0x44332211)
    high = Reg(0x04, reset=0x88776655)
    wide = Reg(0x08, width=8, reset=0x1122334455667788)


def test_the_frame_buffer_is_one_memory(m: Machine, driver: Load, run_c: Run) -> None:
    """A program's mapping of /dev/mem and a driver's ioremap see each other's stores.  # D8, B3"""
    d = driver(WINDOW)
    run_c(
        m,
        """
        char text[6000];
        int value = 0, fd = must_open("/dev/bad", O_RDWR), mem = must_open("/dev/mem", O_RDWR);
        char *p = map(mem, 0xe8000000LL, 4 * PAGE, RW, MAP_SHARED);
        CHECK("zeros at first", all_are(p, 0, 4 * PAGE));
        memset(text, 'd', sizeof text);
        EQUAL("the driver writes", pwrite(fd, text, sizeof text, 0xffe), sizeof text);
        CHECK("seen", all_are(p + 0xffe, 'd', sizeof text) && !p[0xffd] && !p[0xffe + sizeof text]);
        p[8] = 0x78; p[9] = 0x56; p[10] = 0x34; p[11] = 0x12;
        EQUAL("readl", ioctl(fd, 8, &value), 0);
        EQUAL("what the program stored", value, 0x12345678);
        EQUAL("the driver reads", pread(fd, text, 4, 8), 4);
        CHECK("the same", !memcmp(text, p + 8, 4));
    """,
    )
    seen = m.kernel.bus.memories[0].data
    assert bytes(seen[0xFFE : 0xFFE + 6000]) == b"d" * 6000 and len(seen) == 64 << 20
    steps = walk(m.kernel.ram, m.kernel.kernel_tables.cr3, d["window"])
    assert len(steps) == 4
    entry = steps[-1][1]
    assert entry & (P | RW | PCD) == P | RW | PCD and not entry & US and entry & NX
    assert entry & 0xFFFFF000 == 0xE8000000
    assert m.kernel.reports == [] and m.unload("bad") == []


def test_accesses_arrive_whole(m: Machine, driver: Load, run_c: Run) -> None:
    """One access a call, of its own width and in order; blocks of bytes in words of 4.  # D8"""
    m.attach(f"/dev/mem@{DEVICE_AT:#x}", Counter)
    d = ByProgram(
        m,
        driver,
        run_c,
        f"""
        def test():
            io = ioremap_nocache({DEVICE_AT:#x}, 0x10)
            values = [readb(io + 1), readw(io), readl(io + 4), readq(io + 8)]
            writeb(0x1FF, io)
            writew(0x1234, io + 2)
            writel(0xdeadbeef, io + 4)
            writeq(-1, io + 8)
            data = bytearray(8)
            memcpy_fromio(data, io, 8)
            memset_io(io + 4, 0x5a, 4)
            memcpy_toio(io, b"\\1\\2\\3\\4", 4)
            address = kmalloc(4, GFP_KERNEL)
            memcpy_fromio(address, io, 4)
            copied = bytes(kernel_memory(address, 4))
            kfree(address)
            iounmap(io)
            return values, bytes(data), copied
    """,
    )
    values, data, copied = d.call()
    assert values == [0x22, 0x2211, 0x88776655, 0x1122334455667788]
    assert data == bytes.fromhex("ff223412 efbeadde".replace(" ", ""))
    assert copied == b"\1\2\3\4"
    assert [(a.width, a.write, a.value) for a in m.kernel.bus.record] == [
        (1, False, 0x22), (2, False, 0x2211), (4, False, 0x88776655), (8, False, 0x1122334455667788),
        (1, True, 0xFF), (2, True, 0x1234), (4, True, 0xDEADBEEF), (8, True, (1 << 64) - 1),
        (4, False, 0x123422FF), (4, False, 0xDEADBEEF), (4, True, 0x5A5A5A5A), (4, True, 0x04030201),
        (4, False, 0x04030201),
    ]  # fmt: skip
    assert m.kernel.reports == []


def test_what_can_be_remapped(m: Machine, driver: Load, run_c: Run) -> None:
    """The ISA hole is in the direct map; ordinary RAM is refused with a line in the log; so is nonsense.  # D8"""
    d = ByProgram(
        m,
        driver,
        run_c,
        """
        def test():
            vga = ioremap(0xb8000, 0x1000)
            writew(0x0741, vga)
            assert vga == __va(0xb8000) and kernel_memory(vga, 2)[0] == 0x41 and readb(vga + 1) == 7
            iounmap(vga)
            odd = ioremap(0xe8000123, 0x1000)
            writeb(9, odd)
            assert odd & 0xfff == 0x123 and readb(odd + 0xfff) == 0
            iounmap(odd)
            bad = [ioremap(0x800000, 0x1000), ioremap(0xe8000000, 0), ioremap(0x7fffff, 2), ioremap(1 << 50, 1)]
            nobody = ioremap(0xd8000000, 0x1000)
            ones = readl(nobody)
            writel(1, nobody)
            iounmap(nobody)
            return bad, ones
    """,
    )
    free = d.free_frames()
    assert d.call() == ([0, 0, 0, 0], 0xFFFFFFFF)
    assert m.kernel.bus.memories[0].data[0x123] == 9
    assert [line for line in m.dmesg if "ioremap" in line] == [
        "ioremap on RAM at 0x800000 - 0x800fff (bad.py:12 in test)",
        "ioremap on RAM at 0x7fffff - 0x800000 (bad.py:12 in test)",
    ]
    assert m.kernel.reports == [] and m.kernel.vmalloc.areas == [] and d.free_frames() == free


def test_wrong_addresses_are_reported(m: Machine, driver: Load, run_c: Run) -> None:
    """readl of what ioremap did not give: ones, and the driver's line; a write does nothing.  # D8"""
    d = ByProgram(
        m,
        driver,
        run_c,
        """
        def test():
            page, area, io = get_zeroed_page(GFP_KERNEL), vmalloc(4096), ioremap(0xe8000000, 4096)
            got = [readb(0x1000), readw(page), readl(area), readq(io + 4092), readl(0), readl(area + 4096)]
            writel(0x11111111, page)
            memset_io(area, 0, 4096)
            memcpy_toio(page, b"abc", 3)
            data = bytearray(2)
            memcpy_fromio(data, io + 4095, 2)
            untouched = bytes(kernel_memory(page, 4)), bytes(kernel_memory(area, 4))
            iounmap(page)
            iounmap(io + 4096)
            free_page(page); vfree(area); iounmap(io); iounmap(io)
            return got, untouched, bytes(data)
    """,
    )
    got, untouched, data = d.call()
    assert got == [0xFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF]
    assert untouched == (bytes(4), b"\x5a" * 4) and data == b"\xff\xff"
    reports = [text.partition("BUG: bad: ")[2] for text in m.kernel.reports]
    assert [text.split("(")[0].split(":")[0] for text in reports] == [
        "readb", "readw", "readl", "readq", "readl", "readl", "writel", "memset_io", "memcpy_toio", "memcpy_fromio",
        "iounmap", "iounmap", "iounmap",
    ]  # fmt: skip
    assert [text.split("): ")[1].split(";")[0] for text in reports[:6]] == [
        "a user address", "an address of the direct map", "a vmalloc address",
        "it runs past the end of what ioremap mapped", "a NULL pointer",
        "an address of the vmalloc area where nothing is mapped",
    ]  # fmt: skip
    assert all("(bad.py:" in text for text in reports)
    assert m.kernel.vmalloc.areas == []


def test_regions(m: Machine, driver: Load, run_c: Run) -> None:
    """A range has one owner; /proc/iomem shows it below its card.  # D8, A1"""
    d = ByProgram(
        m,
        driver,
        run_c,
        """
        def test():
            one = request_mem_region(0xe8000000, 0x2000, "one")
            answers = [bool(one), one.start, one.end, one.name,
                       request_mem_region(0xe8001000, 0x2000, "two"), request_mem_region(0xb8000, 2, "text"),
                       request_mem_region(0xe8000000, 0, "none"),
                       check_mem_region(0xe8001fff, 1), check_mem_region(0xe8002000, 0x1000)]
            return answers
        def undo():
            release_mem_region(0xe8000000, 0x1000)
            release_mem_region(0xe8000000, 0x2000)
            release_mem_region(0xe8000000, 0x2000)
    """,
    )
    before = m.read_file("/proc/iomem").decode()
    assert d.call() == [True, 0xE8000000, 0xE8001FFF, "one", None, None, None, -16, 0]
    below = "  e8000000-efffffff : 0000:01:00.0\n"
    assert m.read_file("/proc/iomem").decode() == before.replace(below, below + "    e8000000-e8001fff : one\n")
    d.call("undo")
    assert m.read_file("/proc/iomem").decode() == before
    nonexistent = [line for line in m.dmesg if line.startswith("Trying to free")]
    assert nonexistent == [
        "Trying to free nonexistent resource <e8000000-e8000fff>",
        "Trying to free nonexistent resource <e8000000-e8001fff>",
    ]
    assert m.kernel.regions.claimed == {}


def test_nopage_over_ioremap(m: Machine, driver: Load, run_c: Run) -> None:
    """Device memory has no struct page: a nopage that asks for one is reported; no count changes.  # D8, B7"""
    driver("""
        window = ioremap(0xe8000000, PAGE_SIZE)
        def bad_nopage(vma, address, type):
            page = virt_to_page(window) if address == vma.vm_start else vmalloc_to_page(window)
            get_page(page)
            return page
        bad_vm_ops = vm_operations_struct(nopage=bad_nopage)
        def bad_mmap(filp, vma):
            vma.vm_ops = bad_vm_ops
            return 0
        major = register_chrdev(0, "bad", file_operations(mmap=bad_mmap))
        devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
        def cleanup():
            devfs_remove("bad")
            unregister_chrdev(major, "bad")
            iounmap(window)
        module_exit(cleanup)
    """)
    counts = bytes(m.kernel.mem.count[1:256])
    run_c(
        m,
        """
        char *p = map(must_open("/dev/bad", O_RDWR), 0, 2 * PAGE, PROT_READ, MAP_SHARED);
        EQUAL("goes on, with page 0 for either", memcmp(p, p + PAGE, PAGE), 0);
    """,
    )
    assert [text.split("(")[0] for text in m.kernel.reports] == ["BUG: bad: virt_to_page", "BUG: bad: vmalloc_to_page"]
    assert all("an ioremap address: device memory has no struct page" in text for text in m.kernel.reports)
    assert all("(bad.py:5 in bad_nopage)" in text for text in m.kernel.reports)
    assert bytes(m.kernel.mem.count[1:256]) == counts and m.unload("bad") == []


def test_a_machine_with_ram_on_both_sides_of_the_pci_hole(run_c: Run) -> None:
    """Below the end of RAM too, device memory is device memory: for a call's buffer, ioremap, the direct map.  # D8"""
    with Machine(ram=6 << 30) as m:
        run_c(
            m,
            """
            int pair[2], mem = must_open("/dev/mem", O_RDWR);
            char c = 0, *p = map(mem, 0xe8000000LL, PAGE, RW, MAP_SHARED);
            EQUAL("pipe", pipe(pair), 0);
            p[0] = 'a';
            EQUAL("a buffer there", write(pair[1], p, 1), 1);
            EQUAL("read by a call", read(pair[0], &c, 1), 1);
            EQUAL("it", c, 'a');
            EQUAL("again", write(pair[1], "b", 1), 1);
            EQUAL("written by a call", read(pair[0], p + 1, 1), 1);
            EQUAL("seen", p[1], 'b');
        """,
        )
        assert bytes(m.kernel.bus.memories[0].data[:2]) == b"ab"
        before = set_current_kernel(m.kernel)
        try:
            window = ioremap(0xE8000000, 4096)
            assert window and readw(window) == 0x6261
            with pytest.raises(BadKernelAddress):
                kernel_memory(0xFFFF_8880_E800_0000, 1)
            kernel_memory(0xFFFF_8881_0000_0000, 1)[0] = 7  # RAM above 4 GiB
            iounmap(window)
        finally:
            set_current_kernel(before)
        assert m.kernel.reports == []


def test_interrupt_context(m: Machine, driver: Load, run_c: Run) -> None:
    """vmalloc and ioremap may sleep: refused in a handler and under a spinlock; vfree refused in a handler.  # D4"""
    d = ByProgram(m, driver, run_c, """
        from machine.kernel.current import current_kernel
        got, lock = [], spinlock_t()
        kept = vmalloc(4096)
        def handler(irq, dev_id, regs):
            got.append((vmalloc(4096), ioremap(0xe8000000, 4096)))
            vfree(kept)
            return IRQ_HANDLED
        def test():
            request_irq(5, handler, 0, "bad", None)
            current_kernel().irq.raise_irq(5)
            free_irq(5, None)
            spin_lock(lock)
            got.append(vmalloc(4096))
            spin_unlock(lock)
            memset(kept, 1, 4096)
            vfree(kept)
            return got
    """)  # fmt: skip
    assert d.call() == [(0, 0), 0]
    assert m.kernel.vmalloc.areas == [] and m.unload("bad") == []
    sleeping = "BUG: sleeping function called from invalid context at bad.py:"
    assert [text.split(" (")[0].split(" in an")[0].split(" with a")[0] for text in m.kernel.reports] == [
        f"{sleeping}7 in handler: vmalloc",
        f"{sleeping}7 in handler: ioremap",
        "BUG: bad: vfree(0xffffc90000000000) in interrupt context",
        f"{sleeping}15 in test: vmalloc",
    ]
