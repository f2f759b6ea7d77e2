"""`schar`: one reserved page, read, written, mapped; what goes wrong without the reserve (MECHANISMS C6, B4)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.kernel.mm.page import GFP_KERNEL, PG_reserved

Run = Callable[..., Any]
Make = Callable[..., Machine]
OPEN = 'int fd = must_open("/dev/schar", O_RDWR);'
BASE = 0xFFFF888000000000


@pytest.fixture
def m(machine_clean: Make) -> Machine:
    return machine_clean(devices=["schar"], ram=32 << 20)


def frame(m: Machine) -> int:
    return int(m.kernel.modules["schar"].namespace["schar_buffer"] - BASE) >> 12


def test_one_page_for_all(m: Machine, run_c: Run) -> None:
    """A mapping sees what is written, read sees what is stored; every mapping is the page itself.  # C6"""
    run_c(m, OPEN + """
        char text[8], *p = map(fd, 0, PAGE, RW, MAP_SHARED), *q = map(fd, 0, PAGE, RW, MAP_PRIVATE);
        CHECK("zeroed by get_free_page", all_are(p, 0, PAGE));
        EQUAL("write", write(fd, "written", 7), 7);
        CHECK("seen", !memcmp(p, "written", 7) && !memcmp(q, "written", 7));
        memcpy(p + 100, "stored", 6);
        EQUAL("read", pread(fd, text, 6, 100), 6);
        CHECK("seen", !memcmp(text, "stored", 6));
        q[100] = 'S';
        EQUAL("a private copy", p[100], 's');
        if (!fork()) { p[0] = 'W'; _exit(0); }
        wait(NULL);
        EQUAL("a child's store", p[0], 'W');
    """)  # fmt: skip
    assert bytes(m.kernel.ram.view[frame(m) << 12 : (frame(m) << 12) + 7]) == b"Written"
    assert m.kernel.mem.flags[frame(m)] & PG_reserved and m.kernel.mem.count[frame(m)] == 1
    # It is still there for the next process.
    assert m.run(["head", "-c", "7", "/dev/schar"]).stdout == b"Written"


def test_read_and_write(m: Machine, run_c: Run) -> None:
    """The end of the page is the end of the device: short, then 0 or ENOSPC.  # C6"""
    run_c(m, OPEN + """
        char page[2 * PAGE];
        memset(page, 'x', sizeof page);
        EQUAL("seek", lseek(fd, PAGE - 3, SEEK_SET), PAGE - 3);
        EQUAL("short write", write(fd, "abcdef", 6), 3);
        ERRNO("full", write(fd, "d", 1), ENOSPC);
        EQUAL("nothing", write(fd, "", 0), 0);
        EQUAL("end", read(fd, page, 10), 0);
        EQUAL("seek", lseek(fd, -5, SEEK_CUR), PAGE - 5);
        EQUAL("short read", read(fd, page, 10), 5);
        CHECK("bytes", !memcmp(page, "\\0\\0abcx", 6));
        EQUAL("whole", pread(fd, page, sizeof page, 0), PAGE);
        EQUAL("far away", pread(fd, page, 1, 1 << 20), 0);
        ERRNO("bad buffer", pread(fd, (void *)16, 1, 0), EFAULT);
        ERRNO("bad buffer", pwrite(fd, (void *)16, 1, 0), EFAULT);
    """)  # fmt: skip


def test_what_mmap_refuses(m: Machine, run_c: Run) -> None:
    """An offset, and any size but a page; the log has the numbers.  # C6, B2"""
    run_c(m, OPEN + """
        ERRNO("offset", map(fd, PAGE, PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("two pages", map(fd, 0, 2 * PAGE, RW, MAP_SHARED), EINVAL);
        ERRNO("both", map(fd, 3 * PAGE, 2 * PAGE, RW, MAP_SHARED), EINVAL);
        CHECK("a part is a page", map(fd, 0, 100, RW, MAP_SHARED) != MAP_FAILED);
    """)  # fmt: skip
    said = [line.split("schar: ")[1] for line in m.dmesg if "schar: " in line]
    assert said == [
        "mmap: the offset must be 0, not 4096",
        "mmap: wanted 8192, but PAGE_SIZE is 4096",
        "mmap: the offset must be 0, not 12288",
    ]


def test_no_memory_for_tables(m: Machine, run_c: Run) -> None:
    """remap_page_range fails with ENOMEM, the driver says EAGAIN.  # C6, B3"""
    mem = m.kernel.mem
    tables = mem.alloc_pages
    answers: list[Any] = []

    def alloc(gfp: int = GFP_KERNEL, order: int = 0, owner: Any = "kernel") -> int:
        if owner == "page table" and refuse:
            from machine.kernel.abi.errno import ENOMEM, Errno

            raise Errno(ENOMEM)
        return tables(gfp, order, owner)

    refuse: list[int] = []

    def enter(call: Any) -> None:
        if call.name == "getppid":
            refuse.append(1) if not refuse else refuse.clear()

    mem.alloc_pages = alloc  # type: ignore[method-assign]
    m.events.listen("syscall_enter", enter)
    m.events.listen("driver_call", lambda call: answers.append(call.result) if call.operation == "mmap" else None)
    run_c(m, OPEN + """
        char *far = (char *)0x50000000, *p;
        int error;
        getppid();
        p = mmap(far, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
        error = errno;
        getppid();
        CHECK("refused", p == MAP_FAILED);
        EQUAL("errno", error, EAGAIN);
        CHECK("later", mmap(far, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == far);
    """)  # fmt: skip
    assert answers == [-11, 0]


def test_unload(m: Machine, run_c: Run) -> None:
    """It un-reserves, then frees: the page is back, and nothing is left.  # C6, D6"""
    run_c(m, OPEN + 'char *p = map(fd, 0, PAGE, RW, MAP_SHARED); p[0] = 1; EQUAL("close", close(fd), 0); p[1] = 1;')
    pfn, free = frame(m), m.kernel.mem.free_frames()
    assert m.unload("schar") == []
    assert m.kernel.mem.count[pfn] == 0 and not m.kernel.mem.flags[pfn] & PG_reserved
    assert m.kernel.mem.free_frames() == free + 1


# -- what goes wrong ---------------------------------------------------------------------------------------


def variant(tmp_path: Path, old: str, new: str) -> str:
    """The path of schar with one piece of its text replaced."""
    spec = importlib.util.find_spec("drivers")
    assert spec is not None and spec.submodule_search_locations
    text = (Path(next(iter(spec.submodule_search_locations))) / "schar.py").read_text()
    assert text.count(old) == 1
    path = tmp_path / "schar.py"
    path.write_text(text.replace(old, new))
    return str(path)


def test_without_the_reserve(tmp_path: Path, machine_clean: Make, run_c: Run) -> None:
    """mmap succeeds and shows zeros: a page of the process's own in the place of the driver's.  # C6, B4"""
    m = machine_clean(ram=32 << 20)
    m.load(variant(tmp_path, "    mem_map_reserve(MAP_NR(schar_buffer))\n", ""))
    run_c(m, OPEN + """
        char c, *p = map(fd, 0, PAGE, RW, MAP_SHARED);
        CHECK("mmap says nothing", p != MAP_FAILED);
        EQUAL("write", write(fd, "written", 7), 7);
        CHECK("not seen", all_are(p, 0, PAGE));
        p[0] = 'x';
        EQUAL("read", pread(fd, &c, 1, 0), 1);
        EQUAL("not stored", c, 'w');
    """)  # fmt: skip
    assert m.unload("schar") == []


def test_freed_before_unreserved(tmp_path: Path, m: Machine, machine_clean: Make) -> None:
    """free_page of a reserved page frees nothing: the page is on the list at unload.  # C6, D5, D6"""
    order = "    mem_map_unreserve(MAP_NR(schar_buffer))\n    free_page(schar_buffer)\n"
    swapped = "    free_page(schar_buffer)\n    mem_map_unreserve(MAP_NR(schar_buffer))\n"
    assert m.unload("schar") == []
    m.load(variant(tmp_path, order, swapped))
    pfn = frame(m)
    left = m.unload("schar")
    assert len(left) == 1 and "page" in left[0] and "schar.py" in left[0]
    assert m.kernel.mem.count[pfn] == 1
    m.kernel.mem.free_pages(pfn)  # else the machine would be found unclean
