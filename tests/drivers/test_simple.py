"""`simple`, both ways of mapping physical memory, by compiled programs (MECHANISMS C2, B3, B4, B6 to B9, B11)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.hardware.paging import PCD, PWT
from machine.kernel.abi.errno import Errno
from machine.kernel.current import set_current_kernel
from machine.kernel.mm.page import GFP_KERNEL
from machine.kernel.mm.vma import VM_IO, VM_RESERVED

Run = Callable[..., Any]
MiB = 1 << 20
FRAME = 0x400
"""A frame of ordinary RAM that nothing uses in a machine that has just started."""


@pytest.fixture
def m(machine_clean: Callable[..., Machine]) -> Machine:
    return machine_clean(devices=["simple"], ram=32 * MiB)


OPEN = 'int r = must_open("/dev/simpler", O_RDWR), n = must_open("/dev/simplen", O_RDWR); (void)r; (void)n;'


def test_the_isa_hole_both_ways(m: Machine, run_c: Run) -> None:
    """Reserved memory itself, its bytes and stores; nobody counts its pages.  # C2, B3, B7, B9"""
    m.kernel.ram.view[0xA0010:0xA0013] = b"VGA"
    counts = [m.kernel.mem.count[0xA0 + i] for i in range(2)]
    faults: list[Any] = []
    m.events.listen("fault", lambda fault: faults.append(fault) if "/dev/simple" in fault.vma else None)
    run_c(m, OPEN + """
        char *p = map(r, 0xa0000, 2 * PAGE, RW, MAP_SHARED), *q = map(n, 0xa0000, 2 * PAGE, RW, MAP_SHARED);
        CHECK("simpler", !memcmp(p + 16, "VGA", 3));
        CHECK("simplen", !memcmp(q + 16, "VGA", 3));
        p[PAGE] = 'r';
        EQUAL("what simpler stores, simplen shows", q[PAGE], 'r');
        q[PAGE + 1] = 'n';
        EQUAL("and the other way", p[PAGE + 1], 'n');
        EQUAL("munmap", munmap(q, 2 * PAGE), 0);
    """)  # fmt: skip
    assert bytes(m.kernel.ram.view[0xA1000:0xA1002]) == b"rn"
    assert [(fault.answer, "simplen" in fault.vma) for fault in faults] == [("simple.nopage", True)] * 2
    # nopage counts them, and for a reserved page nothing undoes it (B9): it is no leak.
    assert [m.kernel.mem.count[0xA0 + i] for i in range(2)] == [count + 1 for count in counts]


def test_ordinary_ram(m: Machine, run_c: Run) -> None:
    """By remap_pfn_range a page of zeros of the process's own; by nopage the page itself, counted while it is mapped.
    # C2, B4, B7, B9"""
    mem, view = m.kernel.mem, m.kernel.ram.view
    address = mem.alloc_pages(GFP_KERNEL, 0, "kernel") << 12
    view[address : address + 4096] = b"memory! " * 512
    counts: list[int] = []
    m.events.listen(
        "syscall_enter", lambda call: counts.append(mem.count[address >> 12]) if call.name == "getppid" else None
    )
    run_c(m, OPEN + f"""
        char *p = map(r, {address}, PAGE, RW, MAP_SHARED), *q = map(n, {address}, PAGE, RW, MAP_SHARED);
        getppid();
        CHECK("zeros", all_are(p, 0, PAGE));
        CHECK("the page", !memcmp(q, "memory! ", 8));
        p[0] = 'p';
        q[1] = 'q';
        EQUAL("private", q[0], 'm');
        getppid();
        if (!fork()) {{ getppid(); q[2] = 'c'; _exit(0); }}
        wait(NULL);
        EQUAL("seen", q[2], 'c');
        getppid();
        munmap(q, PAGE);
        getppid();
    """)  # fmt: skip
    assert bytes(view[address : address + 8]) == b"mqcory! "
    assert counts == [1, 2, 3, 2, 1]
    mem.free_pages(address >> 12)


def test_a_free_page(m: Machine, run_c: Run) -> None:
    """A window shows free memory too.  Nobody else gets the page meanwhile, and it is freed once.  # C2, B9"""
    mem = m.kernel.mem
    m.kernel.ram.view[FRAME << 12 : (FRAME << 12) + 4] = b"free"
    seen: list[tuple[int, Any]] = []
    m.events.listen(
        "syscall_enter",
        lambda call: seen.append((mem.count[FRAME], mem.owner_of(FRAME) is None)) if call.name == "getppid" else None,
    )
    run_c(m, OPEN + f"""
        char *p = map(n, {FRAME << 12}, PAGE, RW, MAP_SHARED), *q = map(n, {FRAME << 12}, PAGE, RW, MAP_PRIVATE);
        getppid();
        CHECK("its bytes", !memcmp(p, "free", 4));
        getppid();
        CHECK("twice", !memcmp(q, "free", 4));
        getppid();
        q[0] = 'F';
        getppid();
        EQUAL("a private copy", p[0], 'f');
        p[1] = 'R';
    """)  # fmt: skip
    assert seen == [(0, True), (1, False), (2, False), (1, False)]
    assert (mem.count[FRAME], mem.owner_of(FRAME)) == (0, None)
    assert bytes(m.kernel.ram.view[FRAME << 12 : (FRAME << 12) + 4]) == b"fRee"
    assert mem.check_free_lists() == [] and m.kernel.reports == []
    assert m.run(["mapper", "/dev/simplen", hex(FRAME << 12), "4"]).stdout == b"fRee"


def test_somebodys_page(machine_clean: Callable[..., Machine], run_c: Run) -> None:
    """The window over a process's own anonymous page: one page, seen at two addresses, and counted right.  # C2, B9"""
    # An anonymous page that is writable in two places is what check_invariants is there to find.
    m = machine_clean(devices=["simple"], ram=32 * MiB, check_invariants=False)
    run_c(m, OPEN + """
        volatile char *mine = anonymous(1), *window;
        unsigned long long entry = 0;
        int pagemap = must_open("/proc/self/pagemap", O_RDONLY);
        mine[0] = 'm';
        EQUAL("pagemap", pread(pagemap, &entry, 8, (off_t)((unsigned long)mine / PAGE) * 8), 8);
        window = map(n, (off_t)(entry & ((1ULL << 55) - 1)) * PAGE, PAGE, RW, MAP_SHARED);
        EQUAL("seen", window[0], 'm');
        window[1] = 'w';
        EQUAL("stored", mine[1], 'w');
        munmap((char *)mine, PAGE);
        EQUAL("it stays while it is mapped", window[0], 'm');
    """)  # fmt: skip
    assert m.kernel.reports == []


def test_the_log(m: Machine, run_c: Run) -> None:
    """The lines of the book, for the first mapping, fork, split and unmap; at KERN_NOTICE.  # C2, B6"""
    records: list[Any] = []
    m.events.listen("printk", records.append)
    result = run_c(m, OPEN + """
        char *p = map(r, 0xf0000, 4 * PAGE, PROT_READ, MAP_SHARED);
        printf("%lx\\n", (unsigned long)p);
        fflush(stdout);
        if (!fork()) _exit(0);
        wait(NULL);
        munmap(p + PAGE, PAGE);
        map(n, 0xe8000000LL, PAGE, PROT_READ, MAP_SHARED);
    """)  # fmt: skip
    p = int(result.stdout.split()[0], 16)
    lines = [record.text for record in records if record.text.startswith("Simple")]
    opened = [
        f"Simple VMA open, virt {p:x}, phys f0000",
        f"Simple VMA open, virt {p:x}, phys f0000",
        "Simple VMA close.",
        f"Simple VMA open, virt {p + 0x1000:x}, phys f1000",
        f"Simple VMA open, virt {p + 0x1000:x}, phys f1000",
        "Simple VMA close.",
    ]
    assert lines[:6] == opened
    assert re.fullmatch(r"Simple VMA open, virt [0-9a-f]+, phys e8000000", lines[6])
    assert lines[7:] == ["Simple VMA close."] * 3  # at exit
    assert {record.level for record in records if record.text.startswith("Simple")} == {5}


def test_what_has_no_struct_page(m: Machine, run_c: Run) -> None:
    """PCI memory: simpler maps it, simplen gives SIGBUS, and a system call EFAULT.  Likewise past the end of RAM.
    # C2, B7, B10"""
    run_c(m, OPEN + f"""
        volatile char *p = map(r, 0xe8000000LL, PAGE, RW, MAP_SHARED), *q = map(n, 0xe8000000LL, PAGE, RW, MAP_SHARED);
        volatile char *end = map(n, {32 * MiB} - PAGE, 2 * PAGE, RW, MAP_SHARED);
        catch_faults();
        p[5] = 'v';
        EQUAL("video memory", p[5], 'v');
        NO_READ("nopage", q + 5, SIGBUS, BUS_ADRERR);
        NO_WRITE("nopage", q + 6, SIGBUS, BUS_ADRERR);
        ERRNO("in a system call", write(open("/dev/null", O_WRONLY) < 0 ? -1 : r, (char *)q, 1), EINVAL);
        int pipes[2];
        EQUAL("pipe", pipe(pipes), 0);
        ERRNO("in a system call", write(pipes[1], (char *)q, 1), EFAULT);
        READS("the last page of RAM", end);
        NO_READ("past the end", end + PAGE, SIGBUS, BUS_ADRERR);
    """)  # fmt: skip


def test_flags(m: Machine, run_c: Run) -> None:
    """VM_RESERVED always; VM_IO where the offset is above RAM, and for O_SYNC.  # C2, B12"""
    flags: dict[tuple[str, int, int], int] = {}
    prots: list[int] = []

    def listen(call: Any) -> None:
        if call.operation == "mmap":
            filp, vma = call.args
            flags[vma.vm_file.f_path, vma.vm_pgoff << 12, filp.f_flags & 0o4010000] = vma.vm_flags & (
                VM_IO | VM_RESERVED
            )
            prots.append(vma.vm_page_prot & (PCD | PWT))

    m.events.listen("driver_call", listen)
    run_c(m, OPEN + """
        int s = must_open("/dev/simplen", O_RDWR | O_SYNC);
        map(n, 0x10000, PAGE, RW, MAP_SHARED);
        map(n, 32 << 20, PAGE, RW, MAP_SHARED);
        map(n, (32 << 20) - PAGE, 2 * PAGE, RW, MAP_SHARED);
        map(s, 0x10000, PAGE, RW, MAP_SHARED);
        map(r, 0x10000, PAGE, RW, MAP_SHARED);
        CHECK("mapped", 1);
    """)  # fmt: skip
    both = VM_IO | VM_RESERVED
    assert flags == {
        ("/dev/simplen", 0x10000, 0): VM_RESERVED,
        ("/dev/simplen", 32 * MiB, 0): both,
        ("/dev/simplen", 32 * MiB - 4096, 0): VM_RESERVED,
        ("/dev/simplen", 0x10000, 0o4010000): both,
        ("/dev/simpler", 0x10000, 0): both,
    }
    assert set(prots) == {0}  # simple leaves the cache to the processor


def test_mremap(m: Machine, run_c: Run) -> None:
    """Grown: simplen is asked for the new pages, simpler's are zeros.  Moved: the entries come along.  # C2, B8, B11"""
    m.kernel.ram.view[0xF0000] = m.kernel.ram.view[0xF1000] = m.kernel.ram.view[0xF2000] = 0x77
    calls: list[int] = []
    m.events.listen(
        "driver_call",
        lambda call: calls.append(call.args[1] - call.args[0].vm_start) if call.operation == "nopage" else None,
    )
    run_c(m, OPEN + """
        unsigned char *room = (unsigned char *)hole(32), *p, *q, *moved;
        p = mmap(room, PAGE, RW, MAP_SHARED | MAP_FIXED, r, 0xf0000);
        q = mmap(room + 8 * PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, n, 0xf0000);
        EQUAL("simpler", p[0], 0x77);
        EQUAL("simplen", q[0], 0x77);
        CHECK("grow", mremap(p, PAGE, 3 * PAGE, 0) == p && mremap(q, PAGE, 3 * PAGE, 0) == q);
        EQUAL("zeros", p[PAGE], 0);
        p[PAGE] = 1;
        EQUAL("by nopage", q[2 * PAGE], 0x77);
        moved = mremap(q, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 16 * PAGE);
        EQUAL("moved, already there", moved[0] + moved[2 * PAGE], 2 * 0x77);
        EQUAL("moved, asked for now", moved[PAGE], 0x77);
        moved = mremap(p, 3 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 24 * PAGE);
        EQUAL("simpler moved and shrunk", moved[0], 0x77);
    """)  # fmt: skip
    assert calls == [0, 0x2000, 0x1000]
    assert m.kernel.ram.view[0xF1000] == 0x77  # the store went to the zero page's copy


@pytest.mark.parametrize(
    "physical, access",
    [(0xE8000000, "p[3] = 9"), (0xFCC00000, "p[3] = 9"), (0xE8000000, 'read(open("/dev/zero", O_RDONLY), p, 8)')],
)
def test_a_private_write_above_ram(m: Machine, run_c: Run, physical: int, access: str) -> None:
    """do_wp_page finds no page to copy: it says so and the process dies, in a system call too, where no frame is
    missing.  A reserved page is copied.  # B3"""
    body = (
        OPEN
        + """
        unsigned char *p = map(r, PHYSICALLL, PAGE, RW, MAP_PRIVATE), *q = map(r, 0xa0000, PAGE, RW, MAP_PRIVATE);
        int status;
        q[3] = 9;
        printf("%lx\\n", (unsigned long)p);
        fflush(stdout);
        if (!fork()) { ACCESS; _exit(0); }
        wait(&status);
        CHECK("killed", WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    """.replace("PHYSICAL", hex(physical)).replace("ACCESS", access)
    )
    result = run_c(m, body)
    address = int(result.stdout.split()[0], 16)
    assert any(line.endswith(f"do_wp_page: bogus page at address {address:08x}") for line in m.dmesg)
    assert any("VM: killing process program" in line for line in m.dmesg)
    assert not any("Out of memory" in line or "oom" in line for line in m.dmesg)
    assert m.kernel.ram.view[0xA0003] == 0


def test_no_memory_for_tables(m: Machine, run_c: Run) -> None:
    """EAGAIN, as the book's driver has it; the tables that were made are given back, the area is gone.  # C2, B3"""
    mem = m.kernel.mem
    hoard: list[int] = []
    opened: list[str] = []

    def listen(call: Any) -> None:
        if call.name != "getppid":
            return
        if hoard:
            while hoard:
                mem.free_pages(hoard.pop())
            return
        while True:
            try:
                hoard.append(mem.alloc_pages(GFP_KERNEL, 0, "the test"))
            except Errno:
                break
        for _ in range(20):
            mem.free_pages(hoard.pop())

    m.events.listen("syscall_enter", listen)
    m.events.listen("driver_call", lambda call: opened.append(call.operation) if "vma" in call.operation else None)
    run_c(m, OPEN + """
        char *p;
        int error;
        CHECK("with memory", (p = map(r, 0xe8000000LL, 128 << 20, RW, MAP_SHARED)) != MAP_FAILED);
        munmap(p, 128 << 20);
        getppid();
        errno = 0;
        p = map(r, 0xe8000000LL, 128 << 20, RW, MAP_SHARED);
        error = errno;
        getppid();
        CHECK("without", p == MAP_FAILED);
        EQUAL("errno", error, EAGAIN);
    """)  # fmt: skip
    assert opened == ["vma close"]  # of the first one


def test_type_may_be_null(m: Machine) -> None:
    """`nopage` is given NULL for `type` by callers that don't care.  # B7"""
    driver = m.kernel.modules["simple"].namespace

    class area:
        vm_start, vm_pgoff = 0x1000, 0xF0

    before = set_current_kernel(m.kernel)
    page = driver["simple_vma_nopage"](area, 0x3000, None)
    set_current_kernel(before)
    assert page.pfn == 0xF2


def test_permissions_and_unloading(m: Machine, run_c: Run) -> None:
    """The nodes are for root and its group; the module stays while it is open or mapped.  # C2"""
    in_use: list[int] = []
    uses = m.kernel.modules["simple"]
    m.events.listen("syscall_enter", lambda call: in_use.append(uses.refcount) if call.name == "getppid" else None)
    run_c(m, """
        int fd = must_open("/dev/simplen", O_RDWR);
        char *p = map(fd, 0xf0000, PAGE, PROT_READ, MAP_SHARED);
        close(fd);
        getppid();
        munmap(p, PAGE);
        getppid();
        setgid(100);
        setuid(1000);
        ERRNO("simpler", open("/dev/simpler", O_RDONLY), EACCES);
        ERRNO("simplen", open("/dev/simplen", O_RDONLY), EACCES);
    """)  # fmt: skip
    assert in_use == [1, 0]
    assert m.unload("simple") == []
    assert "simple" not in m.kernel.modules


def test_a_fixed_major(machine_clean: Callable[..., Machine]) -> None:
    """simple_major=N takes that number; one that is taken is refused, with the book's line in the log.  # C2"""
    m = machine_clean(devices=["simple,simple_major=99"])
    assert m.run(["ls", "-l", "/dev/simplen"]).stdout.split()[4:6] == [b"99,", b"1"]
    with pytest.raises(ConfigError, match="EBUSY"):
        m.load("simple_region,simple_region_major=99")
    assert any("simple_region: unable to get major 99" in line for line in m.dmesg)
