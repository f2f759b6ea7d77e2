"""Linux Device Drivers, third edition, §15.2 to §15.2.3: remap_pfn_range and the operations of areas."""

from __future__ import annotations

from collections.abc import Sequence

from machine.hardware.paging import PCD, PWT
from machine.kernel.mm.vma import VM_IO, VM_RESERVED
from machine.tour.ldd3_nopage import SECTIONS as NOPAGE_SECTIONS
from machine.tour.ldd3_ram import SECTIONS as RAM_SECTIONS
from machine.tour.model import Change, Claim, Section, Step
from machine.tour.watch import Observed, physical

BOOK = "Linux Device Drivers, 3rd edition, chapter 15 (Linux 2.6.10)"

REMAP = Change(
    "remap_pfn_range: reserved pages and addresses above RAM only",
    "remap_pfn_range: any page",
    "since 2.6.15; the area becomes VM_PFNMAP, and its pages are not counted",
)


# -- 15.2 ------------------------------------------------------------------------------------------------


def _xserver(seen: Observed) -> Sequence[Claim]:
    maps, _, iomem = seen.text.partition("\n\n")
    rows = [line.split() for line in maps.splitlines()]
    video = [row for row in rows if row[2] == "000a0000"]
    card = [row for row in rows if row[2] == "e8000000"]
    frame_buffer = "  e8000000-efffffff : 0000:01:00.0"
    return [
        Claim("four areas of /dev/mem", f"{len(rows)} lines", len(rows) == 4),
        Claim(
            "one at a0000, the video RAM in the ISA hole", " ".join(video[0][:3]), video[0][0].startswith("000a0000-")
        ),
        Claim("one at e8000000, above all RAM", " ".join(card[0][:3]), card[0][0] == "2a958a8000-2a9d8a8000"),
        Claim("/proc/iomem knows that address", frame_buffer.strip(), frame_buffer in iomem.splitlines()),
        Claim("no fault is needed to map", f"{len(seen.faults)} faults in these areas", not seen.faults),
    ]


def _rounded(seen: Observed) -> Sequence[Claim]:
    mapping = seen.mappings[0]
    return [
        Claim(
            "a length that is no multiple of a page is rounded up",
            f"asked for 100 bytes, the driver saw {mapping.vm_end - mapping.vm_start}",
            mapping.vm_end - mapping.vm_start == 4096,
        ),
    ]


def _unaligned(seen: Observed) -> Sequence[Claim]:
    error = seen.result.stderr.decode().strip()
    return [
        Claim("the offset must be a multiple of a page", error, error == "mmap: Invalid argument"),
        Claim(
            "the kernel checks before it calls the driver",
            f"{len(seen.mappings)} calls of the driver's mmap",
            not seen.mappings,
        ),
    ]


MMAP = Section(
    "15.2",
    "The mmap device operation",
    BOOK,
    """
    A program that maps a device reads and writes it with plain loads and stores: no system call, no copy. The
    kernel does most of the work of mmap(2), finding a range of addresses and making the area; what is left for the
    driver is to provide the page tables, at once or page by page.

    The example is an X server: it maps the graphics adapter through /dev/mem.
    """,
    [
        Step(
            "What an X server maps",
            "Its areas in /proc/PID/maps match the adapter's lines of /proc/iomem.",
            ["xmaps"],
            _xserver,
            "/dev/mem",
        ),
        Step(
            "Pages are the unit",
            "The kernel handles mappings in page tables, so they are whole pages.",
            ["mapdo", "-r", "/dev/mem", "0xf0000", "100", "r@0"],
            _rounded,
            "/dev/mem",
        ),
        Step(
            "Offsets too",
            "What is mapped starts at a page as well.",
            ["mapdo", "-r", "/dev/mem", "0xf0010", "100", "r@0"],
            _unaligned,
            "/dev/mem",
        ),
    ],
    changes=[
        Change(
            "/dev/mem shows all memory",
            "/dev/mem shows devices; RAM only below 1 MiB, as zeros",
            "CONFIG_STRICT_DEVMEM, since 2.6.26",
        ),
    ],
)


# -- 15.2.1 ----------------------------------------------------------------------------------------------


def _at_once(seen: Observed) -> Sequence[Claim]:
    mapping = seen.mappings[0]
    flags = mapping.vm_flags & (VM_IO | VM_RESERVED)
    return [
        Claim(
            "remap_pfn_range builds all page tables at once",
            f"{mapping.present} of {mapping.pages} entries are present when mmap returns",
            mapping.present == mapping.pages,
        ),
        Claim(
            "no fault comes later",
            f"{len(seen.faults)} faults while {len(seen.lines('r@'))} pages were read",
            not seen.faults and len(seen.lines("r@")) == 3,
        ),
        Claim(
            "the area is marked VM_IO and VM_RESERVED", f"vm_flags {mapping.vm_flags:#x}", flags == VM_IO | VM_RESERVED
        ),
        Claim(
            "the entry holds the physical address", f"{physical(mapping.after):#x}", physical(mapping.after) == 0xF0000
        ),
    ]


def _uncached(seen: Observed) -> Sequence[Claim]:
    entry = seen.mappings[0].after[-1][1]
    return [
        Claim(
            "caching can be switched off through the protection bits",
            f"PCD {int(bool(entry & PCD))}, PWT {int(bool(entry & PWT))}",
            bool(entry & PCD and entry & PWT),
        ),
    ]


REMAP_PFN_RANGE = Section(
    "15.2.1",
    "Using remap_pfn_range",
    BOOK,
    """
    One call builds the page tables for a range of physical addresses. Its arguments are the area, the user address
    where the range starts, the page frame number (the physical address shifted right by PAGE_SHIFT), the size in
    bytes, and the protection, which is best taken from the area. io_remap_page_range is the form for I/O memory and
    does the same on a PC.
    """,
    [
        Step(
            "Three pages of the system ROM",
            "The call does everything; what comes later are plain loads.",
            ["mapdo", "-r", "/dev/mem", "0xf0000", "0x3000", "r@0", "r@0x1000", "r@0x2000"],
            _at_once,
            "/dev/mem",
        ),
        Step(
            "Without the cache",
            "Device memory should not be cached; /dev/mem does this for O_SYNC with pgprot_noncached.",
            ["mapdo", "-r", "-s", "/dev/mem", "0xf0000", "0x1000", "r@0"],
            _uncached,
            "/dev/mem",
        ),
    ],
    code=[("mem", "mmap_mem")],
    changes=[
        REMAP,
        Change(
            "io_remap_page_range(vma, virt, phys, ...)",
            "io_remap_pfn_range(vma, virt, pfn, ...)",
            "2.6.12: a frame number reaches beyond 4 GiB on 32-bit machines",
        ),
        Change(
            "vma->vm_page_prot from the area",
            "the same, or vm_iomap_memory(vma, start, len)",
            "3.9: checks offset and length too",
        ),
    ],
)


# -- 15.2.2, 15.2.3 --------------------------------------------------------------------------------------------


def _simple(seen: Observed) -> Sequence[Claim]:
    mapping = seen.mappings[0]
    return [
        Claim(
            "remapping is one call",
            f"the method returned {mapping.result}; {mapping.present} of {mapping.pages} entries are present",
            mapping.result == 0 and mapping.present == mapping.pages,
        ),
        Claim("the program reads the device", seen.lines("r@0:")[0], seen.lines("r@0:")[0].startswith("0x")),
        Claim("nothing faults", f"{len(seen.faults)} faults", not seen.faults),
    ]


SIMPLE = Section(
    "15.2.2",
    "A simple implementation",
    BOOK,
    """
    A driver whose device memory is mapped one to one needs little more than remap_pfn_range. `simple` shows it: it
    maps physical memory, the offset being the address.
    """,
    [
        Step(
            "Two pages of the system ROM through /dev/simpler",
            "The method is done after one call.",
            ["mapdo", "/dev/simpler", "0xf0000", "0x2000", "r@0", "r@0x1000"],
            _simple,
            "/dev/simpler",
        ),
    ],
    devices=["simple"],
    code=[("simple", "simple_remap_mmap")],
    changes=[REMAP],
    unload=["simple"],
)


def _opened(seen: Observed) -> Sequence[Claim]:
    start = seen.mappings[0].vm_start
    wanted = f"Simple VMA open, virt {start:x}, phys f0000"
    return [
        Claim(
            "the kernel doesn't call open for the first mmap: the driver does it itself",
            f"{len(seen.of('vma open'))} calls by the kernel, {len(_log(seen, 'open'))} line in the log",
            not seen.of("vma open") and _log(seen, "open") == [wanted],
        ),
        Claim(
            "the area's close is called at exit", f"{len(seen.of('vma close'))} call", len(seen.of("vma close")) == 1
        ),
    ]


def _log(seen: Observed, what: str) -> list[str]:
    return [line for line in seen.log if line.startswith(f"Simple VMA {what}")]


def _forked(seen: Observed) -> Sequence[Claim]:
    order = [call.operation for call in seen.calls if call.operation.startswith("vma")]
    return [
        Claim(
            "fork makes a second area: open",
            f"the kernel calls {', '.join(order)}",
            order == ["vma open", "vma close", "vma close"],
        ),
        Claim(
            "every open has its close",
            f"{len(_log(seen, 'open'))} opened, {len(_log(seen, 'close'))} closed",
            len(_log(seen, "open")) == len(_log(seen, "close")) == 2,
        ),
    ]


def _split(seen: Observed) -> Sequence[Claim]:
    opened, closed = seen.of("vma open"), seen.of("vma close")
    return [
        Claim(
            "a hole in the middle leaves two areas: one more open for each cut",
            f"{len(opened)} opens by the kernel",
            len(opened) == 2,
        ),
        Claim("and a close for each area that goes", f"{len(closed)} closes", len(closed) == 3),
    ]


VMA_OPERATIONS = Section(
    "15.2.3",
    "Adding VMA operations",
    BOOK,
    """
    An area has operations of its own. open is called whenever a process gets a new reference to the area, by fork
    for instance, and close when one goes. They come in addition to the kernel's own work; `simple` only logs them.
    """,
    [
        Step(
            "The first mmap",
            "open isn't called for the first mapping, so the mmap method calls it.",
            ["mapdo", "/dev/simpler", "0xf0000", "0x1000"],
            _opened,
            "/dev/simpler",
        ),
        Step(
            "fork",
            "The child has the area too.",
            ["mapdo", "/dev/simpler", "0xf0000", "0x1000", "fork"],
            _forked,
            "/dev/simpler",
        ),
        Step(
            "munmap in the middle",
            "Areas are cut in pieces; each piece is an area of its own.",
            ["mapdo", "/dev/simpler", "0xf0000", "0x3000", "unmap@0x1000=0x1000", "maps"],
            _split,
            "/dev/simpler",
        ),
    ],
    devices=["simple"],
    code=[("simple", "simple_vma_open"), ("simple", "simple_vma_close")],
    changes=[
        Change("mremap: open of the new area, close of the old", "the same, after vm_ops->mremap", "4.3"),
        Change("no way to refuse a split", "vm_ops->may_split", "5.11 (split in 4.15)"),
    ],
    unload=["simple"],
)


SECTIONS = [MMAP, REMAP_PFN_RANGE, SIMPLE, VMA_OPERATIONS, *NOPAGE_SECTIONS, *RAM_SECTIONS]
