"""Beginning Linux Programming, chapter 21, §21.5.4 to §21.5.7: memory for drivers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from machine.tour.model import Change, Claim, Section, Step
from machine.tour.watch import Observed

BOOK = "Beginning Linux Programming, chapter 21 (Linux 2.2)"
LESSON = str(Path(__file__).with_name("lesson.py"))


def _logged(seen: Observed, book: str, start: str, wanted: str) -> Claim:
    """A claim on the first line of the log that begins like that."""
    line = next((each for each in seen.log if each.startswith(start)), "nothing in the log")
    return Claim(book, line, wanted in line)


# -- 21.5.4 ------------------------------------------------------------------------------------------------


def _pages(seen: Observed) -> Sequence[Claim]:
    return [
        _logged(seen, "get_free_page gives one page, zeroed", "get_free_page:", "4096 bytes, zeroed"),
        _logged(seen, "with two underscores it is not cleared: quicker", "__get_free_page:", "4096 bytes, not zeroed"),
        _logged(seen, "GFP_DMA memory is in the first 16 MB", "__get_dma_pages:", "below 16 MiB"),
        _logged(seen, "order 5 is the largest: 128 KB", "__get_free_pages: 131072", "131072 bytes"),
        _logged(seen, "order 6 is too much", "__get_free_pages: order 6", "none"),
    ]


def _objects(seen: Observed) -> Sequence[Claim]:
    return [
        _logged(seen, "kmalloc gives any size", "kmalloc(5000)", "memory"),
        _logged(seen, "up to 128 KB", "kmalloc(131072)", "memory"),
        _logged(seen, "beyond it leaves an error in the log", "kmalloc: Size", "kmalloc: Size (135168) too large"),
        _logged(seen, "and gives nothing", "kmalloc(135168)", "none"),
    ]


def _virtual(seen: Observed) -> Sequence[Claim]:
    return [
        _logged(seen, "vmalloc gives far more than kmalloc", "vmalloc(1048576)", "256 pages"),
        _scattered(seen),
    ]


def _scattered(seen: Observed) -> Claim:
    line = next((each for each in seen.log if "of them follow" in each), "nothing in the log")
    follow = re.search(r", (\d+) of them follow", line)
    return Claim("contiguous for the kernel only", line, follow is not None and int(follow[1]) < 255)


MEMORY = Section(
    "21.5.4",
    "Allocating memory in drivers",
    BOOK,
    """
    Three families. get_free_page and its relatives give whole pages, 2 to the power of `order` of them; kmalloc
    gives any size up to 128 KB, contiguous in RAM; vmalloc gives memory that is contiguous only in the kernel's
    addresses. What a module takes it must give back: nobody does it when the module is unloaded.

    The book has no module for this; /dev/lesson calls the functions that are written to it.
    """,
    [
        Step(
            "Pages",
            "The forms with underscores do not clear what they give.",
            ["devwrite", "/dev/lesson"],
            _pages,
            stdin=b"get_free_page\n__get_free_page\n__get_dma_pages 2\n__get_free_pages 5\n__get_free_pages 6\n",
        ),
        Step(
            "kmalloc",
            "For sizes that are no power of two pages.",
            ["devwrite", "/dev/lesson"],
            _objects,
            stdin=b"kmalloc 5000\nkmalloc 131072\nkmalloc 135168\n",
        ),
        Step(
            "vmalloc",
            "It builds page tables for pages got one by one; not for DMA, not in interrupts.",
            ["devwrite", "/dev/lesson"],
            _virtual,
            stdin=b"vmalloc 1048576\n",
        ),
    ],
    devices=[LESSON],
    changes=[
        Change("__get_free_pages: order 0 to 5", "order 0 to 10", "2.4; the names get_free_page(s) went in 2.6"),
        Change("kmalloc: 128 KB", "4 MiB", "2.6.22 and later, by configuration"),
        Change("get_free_page: zeroed", "get_zeroed_page", "2.4"),
    ],
    unload=["lesson"],
)


# -- 21.5.5 ------------------------------------------------------------------------------------------------------


def _copied(seen: Observed) -> Sequence[Claim]:
    got = seen.lines("read@0=0x40:")[0]
    return [
        _logged(seen, "access_ok gives 1 for memory of the process", "access_ok", "1 to read it, 1 to write it"),
        _logged(seen, "copy_to_user gives 0 when all was copied", "copy_to_user", "0 of 64"),
        Claim("the read succeeds", got, got == "64 bytes"),
    ]


def _half(seen: Observed) -> Sequence[Claim]:
    got = seen.lines("read@0xff0=0x40:")[0]
    return [
        _logged(seen, "otherwise the number of bytes that were not", "copy_to_user", "48 of 64"),
        Claim("drivers make -EFAULT of it; no signal comes", got, got == "Bad address"),
    ]


def _kernel_address(seen: Observed) -> Sequence[Claim]:
    return [
        _logged(seen, "access_ok gives 0 for the kernel's memory", "access_ok", "0 to read it, 0 to write it"),
        _logged(seen, "get_user checks by itself: -EFAULT", "access_ok", "get_user: -14"),
        _logged(seen, "so does copy_to_user", "copy_to_user", "64 of 64"),
    ]


COPIES = Section(
    "21.5.5",
    "Passing data between user and kernel space",
    BOOK,
    """
    A program reaches only memory below PAGE_OFFSET; the kernel reaches both, but has to check what a program hands
    it. access_ok does the check. get_user and put_user move single values and copy_to_user and copy_from_user many
    bytes, and check too; the forms with two underscores don't. All of them need a process: none may be used in an
    interrupt.
    """,
    [
        Step(
            "A good address",
            "read(2) into the program's own memory.",
            ["mapdo", "-a", "/dev/lesson", "0", "0x2000", "read@0=0x40"],
            _copied,
        ),
        Step(
            "A buffer that ends too early",
            "The second page of the buffer is not there any more.",
            ["mapdo", "-a", "/dev/lesson", "0", "0x2000", "unmap@0x1000=0x1000", "read@0xff0=0x40"],
            _half,
        ),
        Step(
            "An address of the kernel",
            "Above PAGE_OFFSET. read(2) would refuse it before the driver is called, so an ioctl hands it over.",
            ["mapdo", "-a", "/dev/lesson", "0", "0x2000", "ioctl!0xffff888000100000=0x40"],
            _kernel_address,
        ),
    ],
    devices=[LESSON],
    code=[],
    changes=[
        Change("access_ok(type, addr, size)", "access_ok(addr, size)", "5.0: the type was used by no machine any more"),
        Change("verify_area", "access_ok", "gone in 2.6.12"),
        Change("copy_to_user_ret(..., ret)", "copy_to_user and return", "gone in 2.4: a return that is not seen"),
        Change("get_user_ret, put_user_ret", "get_user, put_user", "likewise"),
    ],
    unload=["lesson"],
)


# -- 21.5.6 ------------------------------------------------------------------------------------------------------


def _written(seen: Observed) -> Sequence[Claim]:
    said = seen.result.stderr.decode().strip()
    return [Claim("write copies to the page", said, seen.result.exit == 0)]


def _mapped(seen: Observed) -> Sequence[Claim]:
    mapping, read = seen.mappings[0], seen.lines("r@0:")[0]
    return [
        Claim(
            "remap_page_range maps the page at once",
            f"{mapping.present} of {mapping.pages} entries present",
            mapping.present == mapping.pages == 1,
        ),
        Claim("the mapping shows what was written", f"{read}, 'S'", read == "0x53"),
    ]


def _stored(seen: Observed) -> Sequence[Claim]:
    got = seen.lines("r@0x100:")[0]
    return [Claim("read(2) gives what the mapping stored", f"{got} arrived at 0x100", got == "0x21")]


def _refused(wanted: str) -> Callable[[Observed], Sequence[Claim]]:
    def check(seen: Observed) -> Sequence[Claim]:
        error = seen.result.stderr.decode().strip()
        return [
            Claim(wanted, error, error == "mmap: Invalid argument"),
            Claim(
                "and says so in the log",
                seen.log[-1] if seen.log else "nothing in the log",
                bool(seen.log) and "mmap" in seen.log[-1],
            ),
        ]

    return check


SCHAR = Section(
    "21.5.6",
    "Simple memory mapping",
    BOOK,
    """
    Copying data between user and kernel space costs time, and isn't allowed everywhere. With mmap a program looks
    into the driver's buffer itself. Schar's buffer is one page from get_free_page; remap_page_range maps it. That
    works only because the page was marked with mem_map_reserve(MAP_NR(...)), which keeps the kernel's hands off it;
    at unload it is unmarked first and freed then, for a reserved page can't be freed.
    """,
    [
        Step(
            "Some text for the page",
            "A write, as without mmap.",
            ["devwrite", "/dev/schar"],
            _written,
            "/dev/schar",
            stdin=b"Schar",
        ),
        Step(
            "The page, mapped",
            "No copy: the program sees the driver's own page.",
            ["mapdo", "-r", "/dev/schar", "0", "0x1000", "r@0"],
            _mapped,
            "/dev/schar",
        ),
        Step(
            "A store",
            "What the program stores is in the driver's buffer, for read(2) too.",
            ["mapdo", "/dev/schar", "0", "0x1000", "w@0=0x21", "read@0x100=1", "r@0x100"],
            _stored,
            "/dev/schar",
        ),
        Step(
            "Two pages",
            "The buffer is one page: a larger request is refused.",
            ["mapdo", "/dev/schar", "0", "0x2000"],
            _refused("any size but one page is EINVAL"),
            "/dev/schar",
        ),
        Step(
            "An offset",
            "There is nothing behind the page.",
            ["mapdo", "/dev/schar", "0x1000", "0x1000"],
            _refused("an offset is EINVAL"),
            "/dev/schar",
        ),
    ],
    devices=["schar"],
    code=[("schar", "schar_mmap")],
    changes=[
        Change(
            "remap_page_range(from, phys, size, prot)",
            "remap_pfn_range(vma, from, pfn, size, prot)",
            "2.6.10 brought the frame number, 2.6.11 dropped the old one",
        ),
        Change("vma->vm_offset, in bytes", "vma->vm_pgoff, in pages", "2.3: files beyond 4 GiB"),
        Change(
            "mem_map_reserve(MAP_NR(address))",
            "SetPageReserved(virt_to_page(address))",
            "2.4; not needed any more since 2.6.15",
        ),
    ],
    unload=["schar"],
)


# -- 21.5.7 ------------------------------------------------------------------------------------------------------


def _iomap(seen: Observed) -> Sequence[Claim]:
    mapping = seen.mappings[0]
    entry = mapping.after[-1][1] & 0x000F_FFFF_FFFF_F000
    got = seen.lines("r@0:")
    return [
        Claim("mmap gives the frame buffer", f"the entry says physical {entry:#x}", entry == 0xE8000000),
        Claim("a store goes to the card, a load comes from it", f"{got[0]} after the store", got[0] == "0x47"),
        Claim(
            "read(2) goes through ioremap and sees it too",
            f"{seen.lines('r@0x10:')[0]} arrived at 0x10",
            seen.lines("r@0x10:")[0] == "0x47",
        ),
    ]


IOMAP = Section(
    "21.5.7",
    "I/O memory",
    BOOK,
    """
    I/O memory is what devices offer: ISA memory below 1 MB and PCI memory above RAM. It is not memory in the usual
    sense, and the kernel reaches it only after ioremap, which gives a pointer for a physical address. Iomap makes a
    graphics card's frame buffer a device that can be read, written and mapped; the card's base address stands in
    /proc/pci.
    """,
    [
        Step(
            "The frame buffer of the display card",
            "ioremap for the driver, remap_page_range for the program.",
            ["mapdo", "/dev/iomap0", "0", "0x1000", "w@0=0x47", "r@0", "read@0x10=1", "r@0x10"],
            _iomap,
            "/dev/iomap0",
        ),
    ],
    devices=["iomap,iomap_base=0xe8000000,iomap_size=0x100000"],
    code=[("iomap", "iomap_mmap")],
    changes=[
        Change("ioremap(offset, size)", "ioremap, pcim_iomap", "ioremap_nocache went in 5.6: ioremap does not cache"),
        Change("base address from /proc/pci", "/sys/bus/pci/devices/*/resource", "/proc/pci went in 2.6"),
    ],
    unload=["iomap"],
)

SECTIONS: list[Section] = [MEMORY, COPIES, SCHAR, IOMAP]
