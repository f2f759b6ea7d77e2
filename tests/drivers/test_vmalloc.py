"""The vmalloc area: addresses, frames, entries, mistakes (MECHANISMS D4, D5, D6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from machine import Machine
from machine.hardware.paging import NX, PCD, RW, US, P, walk
from machine.kernel.mm.vmalloc import VMALLOC_END, VMALLOC_START
from tests.drivers.by_program import ByProgram

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

DEVICE = """
size = 3 * PAGE_SIZE
at = [0]
walks = []
def bad_ioctl(inode, filp, cmd, arg):
    if cmd == 1:
        held = [get_zeroed_page(GFP_KERNEL) for _ in range(16)]
        for page in held[::2]:
            free_page(page)     # the next pages that are given out have gaps between them
        at[0] = vmalloc(size)
        for page in held[1::2]:
            free_page(page)
        return put_user(at[0], arg, 8) if at[0] else -ENOMEM
    if cmd == 2:
        vfree(at[0])
        at[0] = 0
        return 0
    if cmd == 3:
        return put_user(get_zeroed_page(GFP_KERNEL) if not pages else pages[0], arg, 8)
    if cmd == 4:
        return put_user(ioremap(0xe8000000, PAGE_SIZE), arg, 8)
    return -ENOTTY
def bad_read(filp, buf, count, f_pos):
    left = copy_to_user(buf, at[0] + f_pos[0], count)
    f_pos[0] += count - left
    return count - left if left < count else -EFAULT
def bad_write(filp, buf, count, f_pos):
    left = copy_from_user(at[0] + f_pos[0], buf, count)
    f_pos[0] += count - left
    return count - left if left < count else -EFAULT
def bad_nopage(vma, address, type):
    page = vmalloc_to_page(at[0] + address - vma.vm_start)
    get_page(page)
    return page
def bad_mmap(filp, vma):
    vma.vm_ops = bad_vm_ops
    vma.vm_flags |= VM_RESERVED
    return 0
bad_vm_ops = vm_operations_struct(nopage=bad_nopage)
pages = [get_zeroed_page(GFP_KERNEL)]
major = register_chrdev(0, "bad", file_operations(ioctl=bad_ioctl, read=bad_read, write=bad_write, mmap=bad_mmap))
devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
def cleanup():
    devfs_remove("bad")
    unregister_chrdev(major, "bad")
    free_page(pages[0])
module_exit(cleanup)
"""
OPEN = 'unsigned long long at; int fd = must_open("/dev/bad", O_RDWR); EQUAL("vmalloc", ioctl(fd, 1, &at), 0);'


def test_entries_in_the_tables_of_the_kernel(m: Machine, driver: Load, run_c: Run) -> None:
    """The area's pages: present, writable, no user, no execute; a guard page; nothing in a process's tables.  # D4"""
    driver(DEVICE)
    seen: list[Any] = []

    def look(call: Any) -> None:
        if call.operation == "ioctl" and call.result == 0:
            area = m.kernel.vmalloc.areas[0] if m.kernel.vmalloc.areas else None
            seen.append((area, [] if area is None else list(area.pages)))
            cr3 = m.kernel.kernel_tables.cr3
            seen.append([walk(m.kernel.ram, cr3, VMALLOC_START + page * 4096)[-1][1] for page in range(4)])
            its_own = m.kernel.current.mm.tables.cr3  # type: ignore[union-attr]
            assert walk(m.kernel.ram, its_own, VMALLOC_START)[-1][1] == 0

    m.events.listen("driver_call", look)
    free = m.kernel.mem.free_frames()
    run_c(m, OPEN + 'CHECK("address", at == 0xffffc90000000000ULL); EQUAL("vfree", ioctl(fd, 2, 0), 0);')
    (area, pages), entries = seen[:2]
    assert (area.addr, area.end - area.addr, area.size) == (VMALLOC_START, 3 * 4096, 4 * 4096)
    assert [entry >> 12 & 0xFFFFFFFF for entry in entries[:3]] == pages
    assert all(entry & (P | RW) == P | RW and not entry & (US | PCD) and entry & NX for entry in entries[:3])
    assert entries[3] == 0  # the guard page
    assert seen[2][0] is None and not any(entry & P for entry in seen[3])
    assert m.kernel.vmalloc.areas == [] and m.kernel.reports == []
    assert m.kernel.mem.free_frames() + m.kernel.vfs.page_cache_frames() >= free
    assert m.unload("bad") == []


def test_a_program_cannot_reach_kernel_addresses(m: Machine, driver: Load, run_c: Run, target: str) -> None:
    """Direct map, vmalloc and ioremap: SIGSEGV, SEGV_MAPERR, the P bit of the error code set, as on a PC.  # D4"""
    driver(DEVICE)
    run_c(
        m,
        OPEN
        + """
        unsigned long long all[3] = {at, 0, 0};
        EQUAL("direct map", ioctl(fd, 3, &all[1]), 0);
        EQUAL("ioremap", ioctl(fd, 4, &all[2]), 0);
        catch_faults();
        for (int i = 0; i < 3; i++) {
            void *p = (void *)(unsigned long)(sizeof(long) == 8 ? all[i] : 0xfffff000);  // i386: beyond all
            NO_READ("read", p, SIGSEGV, SEGV_MAPERR);
            NO_WRITE("write", p, SIGSEGV, SEGV_MAPERR);
            ERRNO("a system call's buffer", write(1, p, 1), EFAULT);
        }
    """,
    )
    assert m.kernel.vmalloc.find(VMALLOC_START) is not None
    if target == "x86_64":
        program = """
            #include <ucontext.h>
            static void *volatile at;
            static void handler(int s, siginfo_t *info, void *context)
            {
                long error = ((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR];
                EQUAL("error code: present, read, user", error, 5);
                CHECK("address", info->si_addr == at);
                _exit(done());
            }
        """
        body = f"""
            struct sigaction action = {{.sa_sigaction = handler, .sa_flags = SA_SIGINFO}};
            sigaction(SIGSEGV, &action, NULL);
            at = (void *){VMALLOC_START:#x};
            return *(volatile char *)at;
        """
        from tests.conftest import build

        text = f'#include "check.h"\n{program}\nint main(void)\n{{{body}}}\n'
        result = m.run([str(build(text, target=target))])
        assert result.exit == 0 and b"FAIL" not in result.stdout and b"ok address" in result.stdout


def test_a_program_reads_writes_and_maps_it(m: Machine, driver: Load, run_c: Run) -> None:
    """Copies across pages that lie anywhere in RAM, and a mapping of the same pages.  # D4, D7, B7"""
    d = driver(DEVICE)
    run_c(
        m,
        OPEN
        + """
        char out[9000], in[9000];
        for (int i = 0; i < 9000; i++) out[i] = i * 7;
        EQUAL("fresh memory is not zeroed", pread(fd, in, 9000, 3), 9000);
        CHECK("0x5a", all_are(in, 0x5a, 9000));
        EQUAL("write", pwrite(fd, out, 9000, 1000), 9000);
        EQUAL("read", pread(fd, in, 9000, 1000), 9000);
        CHECK("the same", !memcmp(in, out, 9000));
        char *p = map(fd, 0, 3 * PAGE, RW, MAP_SHARED);
        CHECK("the mapping too", !memcmp(p + 1000, out, 9000));
        p[2 * PAGE] = 'x';
        EQUAL("its stores", pread(fd, in, 1, 2 * PAGE), 1);
        EQUAL("are seen", in[0], 'x');
    """,
    )
    area = m.kernel.vmalloc.find(d["at"][0])
    assert area is not None
    assert all(b != a + 1 for a, b in zip(area.pages, area.pages[1:], strict=False)), "the frames are not scattered"
    mem = m.kernel.mem
    assert [mem.count[pfn] for pfn in area.pages] == [1, 1, 1]
    assert [mem.mapcount[pfn] for pfn in area.pages] == [0, 0, 0]
    assert {mem.owner_of(pfn) for pfn in area.pages} == {m.kernel.modules["bad"]}
    d["vfree"](d["at"][0])
    assert m.kernel.reports == [] and m.unload("bad") == []


def test_a_mapped_page_outlives_vfree(m: Machine, driver: Load, run_c: Run) -> None:
    """The process keeps its page until it unmaps it; only then is the frame free.  # D4, B9"""
    driver(DEVICE)
    kept: list[int] = []

    def look(call: Any) -> None:
        if call.operation == "nopage":
            kept.append(call.result.pfn)
        elif call.operation == "ioctl" and kept:
            kept.append(m.kernel.mem.count[kept[0]])

    m.events.listen("driver_call", look)
    run_c(
        m,
        OPEN
        + """char *p = map(fd, 0, PAGE, RW, MAP_SHARED); p[0] = 'k';
                  EQUAL("vfree", ioctl(fd, 2, 0), 0); EQUAL("still there", p[0], 'k'); munmap(p, PAGE);""",
    )
    assert kept[1] == 1  # the mapping's, after vfree dropped the driver's
    assert m.kernel.mem.count[kept[0]] == 0 and m.kernel.reports == []


def test_kernel_memory_over_pieces(m: Machine, driver: Load, run_c: Run) -> None:
    """One memoryview where it can be, else an object that is used as one.  # D4"""
    d = ByProgram(
        m,
        driver,
        run_c,
        """
        def test():
            held = [get_zeroed_page(GFP_KERNEL) for _ in range(16)]
            for page in held[::2]:
                free_page(page)     # the next pages that are given out have gaps between them
            a = vmalloc(5 * PAGE_SIZE)
            for page in held[1::2]:
                free_page(page)
            model = bytearray(b"\\x5a" * 5 * PAGE_SIZE)
            whole = kernel_memory(a, 5 * PAGE_SIZE)
            assert type(kernel_memory(a + 10, 4086)) is memoryview and type(whole) is not memoryview
            for at, data in ((0, b"begin"), (4090, b"0123456789" * 3), (4095, b"12"), (100, bytes(range(256)) * 60)):
                whole[at:at + len(data)] = data
                model[at:at + len(data)] = data
            whole[-1] = model[-1] = 7
            assert bytes(whole) == whole.tobytes() == bytes(model) and whole == model and list(whole) == list(model)
            assert len(whole) == 20480 and whole[4096] == model[4096] and whole[::4095].tobytes() == model[::4095]
            assert bytes(whole[4000:12345]) == model[4000:12345] and bytes(whole[5:5]) == b""
            inner = whole[4000:12345]
            inner[90:100] = b"inside...."
            model[4090:4100] = b"inside...."
            memcpy(a + 8000, a + 7000, 6000)            # overlapping: as if through a buffer
            model[8000:14000] = bytes(model[7000:13000])
            memset(a + 4094, 0x11, 4)
            model[4094:4098] = b"\\x11" * 4
            assert bytes(whole) == model
            assert memcmp(a, bytes(model), len(model)) == 0 and memcmp(a, b"aaaa", 4) > 0 and memcmp(b"a", b"b", 1) < 0
            for wrong in (lambda: whole[20480], lambda: kernel_memory(a + 4096, 5 * PAGE_SIZE),
                          lambda: kernel_memory(a + 5 * PAGE_SIZE, 1), lambda: kernel_memory(ioremap(0xe8000000, 8), 8),
                          lambda: kernel_memory(0, 1), lambda: kernel_memory(a, -1)):
                try:
                    wrong()
                except (BadKernelAddress, IndexError) as error:
                    texts.append(str(error))
            try:
                whole[0:5] = b"four"
            except ValueError as error:
                texts.append(str(error))
            vfree(a)
        from machine.kernel.mm.vmalloc import BadKernelAddress
        texts = []
    """,
    )
    d.call()
    texts = d.globals["texts"]
    assert len(texts) == 7
    assert texts[1].startswith(
        "unable to handle kernel paging request at virtual address ffffc90000005000 (the area of"
    )
    assert texts[2] == "unable to handle kernel paging request at virtual address ffffc90000005000"
    assert "is an ioremap address: use readl, writel, memcpy_fromio" in texts[3]
    assert texts[6] == "4 bytes assigned to 5 bytes of kernel memory"
    assert m.kernel.reports == []


def test_mistakes_are_reported(m: Machine, driver: Load, run_c: Run) -> None:
    """What kind of address it is, and what to call instead; nothing is harmed.  # D4, D5, D8"""
    d = ByProgram(
        m,
        driver,
        run_c,
        """
        def test():
            a, io = vmalloc(5000), ioremap(0xe8000000, 9)
            page, small = get_zeroed_page(GFP_KERNEL), kmalloc(9, GFP_KERNEL)
            pages.append(page)
            virt_to_page(a); virt_to_page(io); vmalloc_to_page(page); vmalloc_to_page(io); vmalloc_to_page(a + 8192)
            free_page(a); kfree(a); free_page(io); kfree(io); iounmap(a)
            vfree(io); vfree(page); vfree(a + 1); vfree(a + 4096)
            virt_to_bus(a); virt_to_phys(a)
            vfree(a)
            vfree(a)
            vfree(0); vfree(None)
            free_page(page); kfree(small); iounmap(io)
        pages = []
    """,
    )
    free = d.free_frames()
    d.call()
    assert [
        text.partition(": ")[2].rpartition(" (bad.py")[0].replace("ffffc900000", "*") for text in m.kernel.reports
    ] == [
        "bad: virt_to_page(0x*00000): a vmalloc address: vmalloc_to_page finds its page",
        "bad: virt_to_page(0x*03000): an ioremap address: device memory has no struct page; remap_pfn_range maps it",
        f"bad: vmalloc_to_page({d.globals['pages'][0]:#x}): an address of the direct map: use virt_to_page",
        "bad: vmalloc_to_page(0x*03000): an ioremap address: device memory has no struct page; remap_pfn_range maps it",
        "bad: vmalloc_to_page(0x*02000): an address of the vmalloc area where nothing is mapped",
        "bad: free_pages(0x*00000): a vmalloc address: vfree gives it back",
        "bad: kfree(0x*00000): a vmalloc address: vfree gives it back",
        "bad: free_pages(0x*03000): an ioremap address: iounmap gives it back",
        "bad: kfree(0x*03000): an ioremap address: iounmap gives it back",
        "bad: iounmap: bad address *00000: a vmalloc address, not what ioremap gave",
        "bad: Trying to vfree() nonexistent vm area (*03000): an ioremap address: iounmap gives it back",
        f"bad: Trying to vfree() nonexistent vm area ({d.globals['pages'][0]:x}): an address of the direct map",
        "bad: Trying to vfree() nonexistent vm area (*00001): 1 bytes into an area of 5000 bytes",
        "bad: Trying to vfree() nonexistent vm area (*01000): 4096 bytes into an area of 5000 bytes",
        "bad: virt_to_bus(0x*00000): a vmalloc address, whose pages are scattered in RAM: a device can't reach it",
        "bad: virt_to_phys(0x*00000): a vmalloc address: vmalloc_to_page finds its page",
        "bad: Trying to vfree() nonexistent vm area (*00000): an address of the vmalloc area where nothing is mapped",
    ]
    assert all("(bad.py:" in text for text in m.kernel.reports)
    m.kernel.slab.reap()
    assert d.free_frames() == free and m.kernel.vmalloc.areas == []
    assert m.unload("bad") == []


def test_leaks_are_listed(m: Machine, driver: Load) -> None:
    """At rmmod, with the line that got each; the kernel doesn't collect them.  # D6"""
    driver("""
        kept = vmalloc(10000)
        gone = vmalloc(10000)
        vfree(gone)
        window = ioremap(0xe8000010, 100)
        region = request_mem_region(0xe8000000, 0x1000, "bad region")
        def cleanup():
            pass
        module_exit(cleanup)
    """)
    assert m.unload("bad") == [
        "vmalloc of 10000 bytes at 0xffffc90000000000, got at bad.py:3 in <module>",
        "ioremap of 100 bytes of physical 0xe8000000 at 0xffffc90000004000, got at bad.py:6 in <module>",
        "region e8000000-e8000fff 'bad region', claimed at bad.py:7 in <module>",
    ]
    assert any(line.startswith("bad: not released at unload: vmalloc of 10000") for line in m.dmesg)
    assert len(m.kernel.vmalloc.areas) == 2
    assert "  e8000000-e8000fff : bad region\n" in m.read_file("/proc/iomem").decode()


def test_vmallocinfo(m: Machine, driver: Load) -> None:
    """/proc/vmallocinfo has the kernel's columns; /proc/meminfo counts the pages.  # A1, D4"""
    d = driver("a = vmalloc(1)\nb = ioremap(0xe8001000, 8192)\nc = vmalloc_user(4096)\n")
    assert m.read_file("/proc/vmallocinfo").decode().splitlines() == [
        "0xffffc90000000000-0xffffc90000002000    8192 bad.py:2:<module> pages=1 vmalloc",
        "0xffffc90000002000-0xffffc90000005000   12288 bad.py:3:<module> phys=0x00000000e8001000 ioremap",
        "0xffffc90000005000-0xffffc90000007000    8192 bad.py:4:<module> pages=1 vmalloc user",
    ]
    assert "VmallocUsed:           8 kB\n" in m.read_file("/proc/meminfo").decode()
    d["vfree"](d["a"]), d["iounmap"](d["b"]), d["vfree"](d["c"])
    assert m.read_file("/proc/vmallocinfo") == b""


def test_places_are_reused_and_tables_given_back(m: Machine, driver: Load, run_c: Run) -> None:
    """First fit; areas of several leaf tables; every frame comes back, those of tables too.  # D4"""
    d = ByProgram(
        m,
        driver,
        run_c,
        """
        def test():
            import random
            choose, held = random.Random(7), []
            for _ in range(400):
                if held and choose.random() < 0.5:
                    vfree(held.pop(choose.randrange(len(held)))[0])
                else:
                    size = choose.choice((1, 4096, 4097, 20000, 3 << 20))
                    at = vmalloc(size)
                    if at:
                        held.append((at, PAGE_ALIGN(size) + PAGE_SIZE))
                held.sort()
                assert all(a + n <= b for (a, n), (b, _) in zip(held, held[1:]))
            for at, _ in held:
                vfree(at)
            return vmalloc(0), vmalloc(1 << 45), vmalloc(-1)
    """,
    )
    vmalloc, tables = m.kernel.vmalloc, m.kernel.kernel_tables
    leaves, free = dict(tables.leaves), d.free_frames()
    assert d.call() == (0, 0, 0)
    assert d.free_frames() == free and tables.leaves == leaves and vmalloc.areas == []
    assert d.globals["vmalloc"](4096) == VMALLOC_START and VMALLOC_END - VMALLOC_START == 1 << 39
    assert ["vmalloc(-1): too large" in report for report in m.kernel.reports] == [True]


def test_out_of_memory_leaves_nothing(m: Machine, driver: Load, run_c: Run) -> None:
    """More than there is: NULL, and what had been got is free again.  # D4"""
    d = ByProgram(m, driver, run_c, "def test():\n    return vmalloc(31 << 20)\n")
    free = d.free_frames()
    assert d.call() == 0
    assert d.free_frames() == free and m.kernel.vmalloc.areas == [] and m.kernel.reports == []
