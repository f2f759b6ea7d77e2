"""Linux Device Drivers, third edition, §15.2.4 and §15.2.5: nopage, and regions of a device."""

from __future__ import annotations

from collections.abc import Sequence

from machine.events import PageFault
from machine.tour.model import Change, Claim, Section, Step
from machine.tour.watch import Observed, physical

BOOK = "Linux Device Drivers, 3rd edition, chapter 15 (Linux 2.6.10)"


# -- 15.2.4 ----------------------------------------------------------------------------------------------------


def _by_page(seen: Observed) -> Sequence[Claim]:
    mapping, calls = seen.mappings[0], seen.of("nopage")
    offsets = [hex(call.address - call.vm_start) for call in calls]
    return [
        Claim(
            "mmap itself maps nothing",
            f"{mapping.present} of {mapping.pages} entries are present when it returns",
            mapping.present == 0,
        ),
        Claim(
            "nopage is called at the first touch of each page",
            f"{len(calls)} calls, at {', '.join(offsets)}",
            offsets == ["0x0", "0x2000"],
        ),
        Claim("the address is rounded down to its page", "r@0x2010 asked for " + offsets[-1], offsets[-1] == "0x2000"),
        Claim(
            "a second touch of a page does not fault", f"{len(seen.faults)} faults for 3 reads", len(seen.faults) == 2
        ),
    ]


def _invalid(seen: Observed) -> Sequence[Claim]:
    calls = seen.of("nopage")
    got = seen.lines("r@0:")[0]
    return [
        Claim(
            "PCI memory has no struct page: pfn_valid fails",
            f"nopage answers {calls[0].answer}",
            calls[0].answer == "NOPAGE_SIGBUS",
        ),
        Claim("the process gets a bus error", got, got == "SIGBUS (BUS_ADRERR)"),
    ]


def _counted(seen: Observed) -> Sequence[Claim]:
    call, fault = seen.of("nopage")[0], seen.faults[0]
    return [
        Claim(
            "get_page counts a reference for the mapping",
            _count(fault),
            fault.count_after == fault.count_before + 1 == call.count,
        ),
    ]


def _count(fault: PageFault) -> str:
    return f"count {fault.count_before} before the fault, {fault.count_after} after"


def _grown(seen: Observed) -> Sequence[Claim]:
    return [
        Claim(
            "the driver hears of the growth through nopage",
            f"{len(seen.of('nopage'))} calls for 3 pages",
            len(seen.of("nopage")) == 3,
        ),
        Claim("the new pages are the device's", seen.lines("r@0x2000:")[0], seen.lines("r@0x2000:")[0] != "SIGBUS"),
    ]


def _grown_without(seen: Observed) -> Sequence[Claim]:
    answers = [fault.answer for fault in seen.faults]
    return [
        Claim(
            "without nopage the kernel maps the zero page",
            f"answered by: {', '.join(answers)}",
            answers == ["zero page"],
        ),
        Claim(
            "the process reads zeros instead of a fault",
            seen.lines("r@0x1000:")[0],
            seen.lines("r@0x1000:")[0] == "0x00",
        ),
    ]


NOPAGE = Section(
    "15.2.4",
    "Mapping memory with nopage",
    BOOK,
    """
    remap_pfn_range is enough for most drivers. nopage is more flexible: it is asked for one page at a time, when a
    process touches one that isn't there. It finds the struct page, counts a reference with get_page, and returns
    it, or NOPAGE_SIGBUS when there is none, or NOPAGE_OOM. A driver that wants to support mremap needs it, for the
    kernel does not say when a mapping grows.
    """,
    [
        Step(
            "Page by page",
            "The mmap method only sets vm_ops; the rest happens at the first touch.",
            ["mapdo", "-r", "/dev/simplen", "0xf0000", "0x4000", "r@0", "r@0x2010", "r@8"],
            _by_page,
            "/dev/simplen",
        ),
        Step(
            "Counts",
            """
            nopage takes a reference with get_page, unmapping drops it, and a page whose count falls to 0 is free.
            (These pages are reserved, and Linux 2.6.10 leaves their counts alone at unmap; §15.2.6.1 shows one that
            comes back.)
            """,
            ["mapdo", "-r", "/dev/simplen", "0xf8000", "0x1000", "r@0"],
            _counted,
            "/dev/simplen",
        ),
        Step(
            "Memory of a PCI card",
            "There is no struct page to return: such memory needs remap_pfn_range.",
            ["mapdo", "-r", "/dev/simplen", "0xe8000000", "0x1000", "r@0"],
            _invalid,
            "/dev/simplen",
        ),
        Step(
            "mremap with nopage",
            "A mapping that grows: nopage provides the new pages.",
            ["mapdo", "-r", "/dev/simplen", "0xf0000", "0x1000", "r@0", "size=0x3000", "r@0x1000", "r@0x2000"],
            _grown,
            "/dev/simplen",
        ),
        Step(
            "mremap without nopage",
            "Where the driver has no nopage, the kernel maps zeros.",
            ["mapdo", "-r", "/dev/simpler", "0xf0000", "0x1000", "r@0", "size=0x2000", "r@0x1000"],
            _grown_without,
            "/dev/simpler",
        ),
    ],
    devices=["simple"],
    code=[("simple", "simple_vma_nopage"), ("simple_fault", "simple_vma_fault")],
    changes=[
        Change(
            "struct page *nopage(vma, address, &type)",
            "vm_fault_t fault(vmf)",
            "fault came in 2.6.23, nopage went in 2.6.26; one argument since 4.11",
        ),
        Change(
            "NOPAGE_SIGBUS, NOPAGE_OOM", "VM_FAULT_SIGBUS, VM_FAULT_OOM", "return values; the page goes to vmf->page"
        ),
        Change("*type = VM_FAULT_MINOR", "VM_FAULT_MAJOR or nothing", "minor is what is not major"),
        Change("an area grows with zero pages", "EFAULT", "remap_pfn_range sets VM_DONTEXPAND since 3.7"),
    ],
    unload=["simple"],
)


# -- 15.2.5 ----------------------------------------------------------------------------------------------------


def _region(seen: Observed) -> Sequence[Claim]:
    entry = physical(seen.mappings[0].after)
    return [
        Claim("offset 0 is the start of the region", f"physical {entry:#x}", entry == 0xC0000),
        Claim("no page beyond it is mapped", f"{seen.mappings[0].present} entries", seen.mappings[0].present == 1),
    ]


def _refused(seen: Observed) -> Sequence[Claim]:
    error = seen.result.stderr.decode().strip()
    return [Claim("a range that runs past the region is refused", error, error == "mmap: Invalid argument")]


def _zeros_beyond(seen: Observed) -> Sequence[Claim]:
    got = seen.lines("r@0xd000:")[0]
    answers = [fault.answer for fault in seen.faults]
    return [Claim("grown by mremap, the page past the region is zeros", f"{got}, {', '.join(answers)}", got == "0x00")]


def _sigbus_beyond(seen: Observed) -> Sequence[Claim]:
    got, grown = seen.lines("r@0xd000:")[0], seen.lines("size=0xe000:")[0]
    return [
        Claim("mremap itself can't be refused", grown, grown.endswith("57344 bytes")),
        Claim("a nopage that only says SIGBUS stops it", got, got == "SIGBUS (BUS_ADRERR)"),
        Claim(
            "it is not asked for pages that are mapped", f"{len(seen.of('nopage'))} call", len(seen.of("nopage")) == 1
        ),
    ]


REGION = Section(
    "15.2.5",
    "Remapping specific I/O regions",
    BOOK,
    """
    A real driver maps its device's registers and memory, not all of physical memory. The offset is then relative to
    the region, and the driver must refuse what runs past its end. `simple_region` shows the video ROM: 0xd000 bytes
    at 0xc0000.

    (The book's fragment hands remap_pfn_range a byte address where a frame number is due, and its subtraction wraps
    for an offset beyond the region. The driver here does both right.)
    """,
    [
        Step(
            "A page of the region",
            "Offsets count from the start of the region.",
            ["mapdo", "-r", "/dev/simple_region", "0", "0x1000", "r@0"],
            _region,
            "/dev/simple_region",
        ),
        Step(
            "Too long",
            "vsize larger than psize is an error.",
            ["mapdo", "-r", "/dev/simple_region", "0xc000", "0x2000", "r@0"],
            _refused,
            "/dev/simple_region",
        ),
        Step(
            "Too far",
            "So is an offset beyond the region.",
            ["mapdo", "-r", "/dev/simple_region", "0x20000", "0x1000", "r@0"],
            _refused,
            "/dev/simple_region",
        ),
        Step(
            "Grown past the end",
            "The driver does not hear of it: the process sees zero pages.",
            ["mapdo", "-r", "/dev/simple_region", "0", "0xd000", "size=0xe000", "r@0xd000"],
            _zeros_beyond,
            "/dev/simple_region",
        ),
        Step(
            "The same with a nopage that answers SIGBUS",
            "The simplest way to keep a mapping from growing.",
            ["mapdo", "-r", "/dev/simple_region_sigbus", "0", "0xd000", "size=0xe000", "r@0xcfff", "r@0xd000"],
            _sigbus_beyond,
            "/dev/simple_region_sigbus",
        ),
    ],
    devices=["simple_region"],
    code=[("simple_region", "simple_region_mmap")],
    changes=[
        Change("offset arithmetic by hand", "vm_iomap_memory(vma, start, len)", "3.9: does it, without the overflow"),
        Change("a nopage that returns NOPAGE_SIGBUS", "nothing", "VM_DONTEXPAND keeps mremap from growing it"),
    ],
    unload=["simple_region"],
)

SECTIONS = [NOPAGE, REGION]
