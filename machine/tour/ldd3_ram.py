"""Linux Device Drivers, third edition, §15.2.6 and §15.2.7: RAM, and kernel virtual addresses."""

from __future__ import annotations

from collections.abc import Sequence

from machine.tour.model import Change, Claim, Section, Step
from machine.tour.watch import Observed

_LATER = "The third page of the device.\n" * 7
BOOK = "Linux Device Drivers, 3rd edition, chapter 15 (Linux 2.6.10)"


# -- 15.2.6 ------------------------------------------------------------------------------------------------


def _zeros(seen: Observed) -> Sequence[Claim]:
    mapping, data = seen.mappings[0], seen.result.stdout
    answers = [fault.answer for fault in seen.faults]
    return [
        Claim(
            "remap_pfn_range maps no ordinary RAM, and says nothing",
            f"it returned {mapping.result}; {mapping.present} of {mapping.pages} entries are present",
            mapping.result == 0 and mapping.present == 0,
        ),
        Claim(
            "the process sees the zero page instead",
            f"{len(data)} bytes, {'all 0' if not any(data) else 'not all 0'}; answered by: {', '.join(answers)}",
            data == bytes(4096) and answers == ["zero page"],
        ),
    ]


def _reserved(seen: Observed) -> Sequence[Claim]:
    mapping = seen.mappings[0]
    return [
        Claim(
            "640 KiB to 1 MiB are reserved, and mapped",
            f"{mapping.present} of {mapping.pages} entries are present",
            mapping.present == mapping.pages == 96,
        ),
    ]


def _kernel(seen: Observed) -> Sequence[Claim]:
    mapping = seen.mappings[0]
    return [
        Claim(
            "the kernel's own pages are reserved too",
            f"{mapping.present} of {mapping.pages} entries are present",
            mapping.present == mapping.pages == 1,
        ),
    ]


REMAPPING_RAM = Section(
    "15.2.6",
    "Remapping RAM",
    BOOK,
    """
    remap_pfn_range gives access to reserved pages and to physical addresses above RAM, and to nothing else.
    Reserved pages are those that memory management leaves alone: they can't be swapped out or freed under a process
    that maps them. For any other page of RAM, one from get_free_page included, the entry stays empty, and the
    process gets zeros of its own.
    """,
    [
        Step(
            "64 KiB into RAM",
            "mapper and od are how the book shows it.",
            ["mapper", "/dev/mem", "0x10000", "0x1000"],
            _zeros,
            "/dev/mem",
            hexdump=True,
        ),
        Step(
            "The ISA hole",
            "On a PC the range between 640 KiB and 1 MiB is marked as reserved.",
            ["mapdo", "-r", "/dev/mem", "0xa0000", "0x60000"],
            _reserved,
            "/dev/mem",
        ),
        Step(
            "The kernel's code",
            "So are the pages in which the kernel itself lies.",
            ["mapdo", "-r", "/dev/mem", "0x200000", "0x1000"],
            _kernel,
            "/dev/mem",
        ),
    ],
    changes=[
        Change("ordinary RAM: entries stay empty, result 0", "ordinary RAM is mapped, uncounted (VM_PFNMAP)", "2.6.15"),
        Change("PG_reserved guards a page", "the area's VM_PFNMAP does", "2.6.15: PG_reserved is hardly used any more"),
    ],
)


# -- 15.2.6.1 ------------------------------------------------------------------------------------------------


def _written(seen: Observed) -> Sequence[Claim]:
    writes = seen.of("write")
    return [
        Claim(
            "write keeps the text in the device's memory",
            f"{len(writes)} call{'s' if len(writes) != 1 else ''} of the driver's write, "
            f"{', '.join(call.answer for call in writes)} bytes",
            sum(int(call.answer) for call in writes) > 0 and seen.result.exit == 0,
        ),
    ]


def _listing(seen: Observed) -> Sequence[Claim]:
    calls, mapping = seen.of("nopage"), seen.mappings[0]
    fault = seen.faults[0]
    after = seen.counts_after.get(calls[0].pfn or 0, -1)
    return [
        Claim(
            "the mmap method only sets vm_ops",
            f"{mapping.present} entries are present when it returns",
            mapping.present == 0,
        ),
        Claim(
            "nopage finds the page and counts it",
            f"{len(calls)} call, count {fault.count_before} -> {fault.count_after}",
            len(calls) == 1 and (fault.count_before, fault.count_after) == (1, 2),
        ),
        Claim(
            "the program sees the listing",
            f"{len(seen.result.stdout)} bytes, they begin {seen.text[:5]!r}",
            len(seen.result.stdout) == 140 and seen.text.startswith("total"),
        ),
        Claim("at exit the reference goes back", f"count {after}, the driver's own", after == 1),
    ]


def _second(seen: Observed) -> Sequence[Claim]:
    call = seen.of("nopage")[0]
    return [
        Claim(
            "offset 8192 is the third page of the device",
            f"nopage gave frame {call.pfn or 0:#x}; the text is {seen.text[:10]!r} ...",
            seen.text.startswith(_LATER[:10]) and len(seen.result.stdout) == 200,
        ),
    ]


def _hole(seen: Observed) -> Sequence[Claim]:
    first, hole, end = (seen.lines(f"r@{offset}:")[0] for offset in ("0", "0x1000", "0x3000"))
    return [
        Claim("a hole is SIGBUS", hole, hole == "SIGBUS (BUS_ADRERR)"),
        Claim("so is the end of the device", end, end == "SIGBUS (BUS_ADRERR)"),
        Claim("pages before it are there", first, first.startswith("0x")),
    ]


def _kept(seen: Observed) -> Sequence[Claim]:
    before, after = seen.lines("r@0:")
    return [
        Claim("a process sees what others write", f"{before} before, {after} after the store", before != after),
    ]


NOPAGE_RAM = Section(
    "15.2.6.1",
    "Remapping RAM with the nopage method",
    BOOK,
    """
    The way to map real RAM is nopage, page by page. `scullp` is a device whose memory is pages; its mmap does
    almost nothing, and nopage looks the page up in the device's list.

    Two decisions: a mapped device doesn't release its memory (vmas counts the mappings), and only devices of order
    0 can be mapped, since the pages of a larger block are counted on the first one only.
    """,
    [
        Step(
            "ls -l /dev > /dev/scullp",
            "First the device gets some text.",
            ["lsdev", "-o", "/dev/scullp", "/dev"],
            _written,
            "/dev/scullp0",
        ),
        Step(
            "mapper /dev/scullp 0 140",
            "The first 140 bytes, through a mapping.",
            ["mapper", "/dev/scullp0", "0", "140"],
            _listing,
            "/dev/scullp0",
        ),
        Step(
            "More text, further on",
            "A device may have holes: pages that nobody wrote have no memory.",
            ["devwrite", "/dev/scullp0", "8192"],
            _written,
            "/dev/scullp0",
            stdin=_LATER.encode(),
        ),
        Step(
            "mapper /dev/scullp 8192 200",
            "And 200 bytes from another page.",
            ["mapper", "/dev/scullp0", "8192", "200"],
            _second,
            "/dev/scullp0",
        ),
        Step(
            "Holes, and the end",
            "A process that touches a hole receives SIGBUS.",
            ["mapdo", "-r", "/dev/scullp0", "0", "0x4000", "r@0", "r@0x1000", "r@0x3000"],
            _hole,
            "/dev/scullp0",
        ),
        Step(
            "A shared mapping",
            "Stores go into the device's own page.",
            ["mapdo", "/dev/scullp0", "0", "0x1000", "r@0", "w@0=0x54", "r@0"],
            _kept,
            "/dev/scullp0",
        ),
    ],
    devices=["scullp"],
    code=[("scullp", "scullp_vma_nopage"), ("scullp_fault", "scullp_vma_fault")],
    changes=[
        Change("filp->f_dentry->d_inode", "file_inode(filp)", "3.9"),
        Change("nopage only, one page a call", "fault, or vm_insert_page for all at mmap", "2.6.15"),
        Change(
            "the pages of a block are counted on its first",
            "compound pages (__GFP_COMP): any page leads to the head",
            "2.6.15: blocks can be mapped too",
        ),
    ],
    unload=["scullp"],
)


# -- 15.2.7 --------------------------------------------------------------------------------------------------


def _scattered(seen: Observed) -> Sequence[Claim]:
    frames = [call.pfn for call in seen.of("nopage") if call.pfn is not None]
    counts = {seen.counts_after[pfn] for pfn in frames}
    return [
        Claim(
            "vmalloc gets its pages one by one",
            "frames " + ", ".join(f"{pfn:#x}" for pfn in frames),
            len(set(frames)) == len(frames) == 3,
        ),
        Claim(
            "vmalloc_to_page finds each; get_page counts it",
            "counts at the end: " + ", ".join(map(str, sorted(counts))),
            counts == {1},
        ),
    ]


SCULLV = Section(
    "15.2.7",
    "Remapping kernel virtual addresses",
    BOOK,
    """
    Addresses from vmalloc are not those of the direct map: they go through page tables of their own, and
    virt_to_page is wrong for them. `scullv` keeps its data in vmalloc memory, and its nopage differs from scullp's
    in one line: it calls vmalloc_to_page. There is no test of the order, for vmalloc gets single pages whatever the
    size.

    Addresses from ioremap can't be treated like this: there is no struct page. Such memory is mapped with
    remap_pfn_range.
    """,
    [
        Step(
            "Fill the device",
            "A quantum is four pages here, and one vmalloc.",
            ["devwrite", "/dev/scullv0"],
            _written,
            "/dev/scullv0",
            stdin=b"0123456789abcde\n" * 768,
        ),
        Step(
            "Three pages of one quantum",
            "Contiguous for the kernel and for the process, scattered in RAM.",
            ["mapdo", "-r", "/dev/scullv0", "0", "0x3000", "r@0", "r@0x1000", "r@0x2000"],
            _scattered,
            "/dev/scullv0",
        ),
    ],
    devices=["scullv,scullv_order=2"],
    code=[("scullv", "scullv_vma_nopage"), ("scullv_fault", "scullv_vma_fault")],
    changes=[
        Change("vmalloc_to_page, page by page", "remap_vmalloc_range(vma, addr, pgoff)", "2.6.18: all at once"),
    ],
    unload=["scullv"],
)

SECTIONS = [REMAPPING_RAM, NOPAGE_RAM, SCULLV]
