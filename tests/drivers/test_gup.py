"""get_user_pages: a driver that reads and writes its caller's pages by itself (LDD3 §15.3; MECHANISMS B3, B5, D1)."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

OLD = """
def pin(start, count, write, pages, force=0):
    down_read(current.mm.mmap_sem)
    got = get_user_pages(current, current.mm, start, count, write, force, pages, NULL)
    up_read(current.mm.mmap_sem)
    return got
release = page_cache_release
"""
TODAY = """
def pin(start, count, write, pages, force=0):
    mmap_read_lock(current.mm)
    got = get_user_pages(start, count, FOLL_WRITE * write | FOLL_FORCE * force, pages, NULL)
    mmap_read_unlock(current.mm)
    return got
release = put_page
"""
FAST = """
def pin(start, count, write, pages, force=0):
    return pin_user_pages_fast(start, count, FOLL_WRITE * write | FOLL_FORCE * force, pages)
release = unpin_user_page
"""
DRIVER = """
held = []
def fill(start, count, value):
    pages = []
    got = pin(start, count, 1, pages)
    for page in pages:
        memset(kmap(page), value, PAGE_SIZE)
        kunmap(page)
        set_page_dirty_lock(page)
        release(page)
    return got
def total(start, count):
    pages = []
    got = pin(start, count, 0, pages)
    sums = 0
    for page in pages:
        address = kmap_atomic(page, KM_USER0)
        sums += sum(kernel_memory(address, PAGE_SIZE))
        kunmap_atomic(address, KM_USER0)
        release(page)
    return got if got < 0 else sums
def ioctl(filp, cmd, arg):
    start, count, value = arg, cmd >> 8 & 0xff, cmd >> 16 & 0xff
    if cmd & 0xff == 1:
        return fill(start, count, value)
    if cmd & 0xff == 2:
        return total(start, count)
    if cmd & 0xff == 3:
        return pin(start, count, value & 1, held, value >> 1)
    if cmd & 0xff == 4:
        counts = [page_count(page) for page in held]
        while held:
            release(held.pop())
        return counts[0]
    return -ENOTTY
"""
NODE = """
def old_ioctl(inode, filp, cmd, arg):
    return ioctl(filp, cmd, arg)
major = register_chrdev(0, "dio", file_operations({method}))
{node}
def cleanup():
    {remove}
    unregister_chrdev(major, "dio")
module_exit(cleanup)
"""
NODES = {
    "old": NODE.format(
        method="ioctl=old_ioctl",
        node='devfs_mk_cdev(MKDEV(major, 0), 0o666, "dio")',
        remove='devfs_remove("dio")',
    ),
    "today": NODE.format(
        method="unlocked_ioctl=ioctl, compat_ioctl=compat_ptr_ioctl",
        node='cls = class_create("dio")\ndevice_create(cls, NULL, MKDEV(major, 0), NULL, "dio")',
        remove="device_destroy(cls, MKDEV(major, 0)); class_destroy(cls)",
    ),
}
WAYS = {"old": OLD, "today": "KERNEL = (6, 6)\n" + TODAY, "fast": "KERNEL = (6, 6)\n" + FAST}
C = """
int fd = must_open("/dev/dio", O_RDWR);
#define CALL(n, count, value, at) ioctl(fd, (n) | (count) << 8 | (value) << 16, at)
"""


@pytest.fixture(params=sorted(WAYS))
def dio(request: pytest.FixtureRequest, driver: Load) -> dict[str, Any]:
    way = str(request.param)
    return driver(WAYS[way] + DRIVER + NODES["old" if way == "old" else "today"], name="dio")


def clean(m: Machine) -> None:
    assert m.kernel.reports == [] and m.kernel.oopses == []
    assert m.unload("dio") == []


def test_reading_and_writing(m: Machine, dio: Any, run_c: Run) -> None:
    """Pages that were never touched, pages of a file, and a page shared with a child: what the driver writes is what
    the caller reads, and nobody else."""
    run_c(
        m,
        C
        + """
        char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        EQUAL("zeros", CALL(2, 3, 0, p), 0);
        EQUAL("three pages", CALL(1, 3, 7, p + 100), 3);
        EQUAL("first", p[0], 7);
        EQUAL("last", p[3 * PAGE - 1], 7);
        EQUAL("their sum", CALL(2, 3, 0, p), 3 * 7 * PAGE);
        int file = must_open("/tmp/file", O_RDWR | O_CREAT);
        EQUAL("size", ftruncate(file, PAGE), 0);
        char *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        char *private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
        EQUAL("private", CALL(1, 1, 3, private), 1);
        EQUAL("the file is untouched", shared[5], 0);
        EQUAL("shared", CALL(1, 1, 4, shared), 1);
        char byte = 0;
        EQUAL("the file", (int)pread(file, &byte, 1, 9) * byte, 4);
        EQUAL("the private copy", private[5], 3);
        int pipes[2];
        EQUAL("pipe", pipe(pipes), 0);
        pid_t child = fork();
        if (child == 0) {
            read(pipes[0], &byte, 1);
            _exit(p[0] == 7 ? 0 : 1);
        }
        EQUAL("after fork", CALL(1, 1, 9, p), 1);
        write(pipes[1], "x", 1);
        int status = -1;
        waitpid(child, &status, 0);
        EQUAL("the child's copy", status, 0);
        EQUAL("the parent's", p[0], 9);
        """,
    )
    clean(m)


def test_what_cannot_be_had(m: Machine, dio: Any, run_c: Run) -> None:
    """Nothing mapped, no permission, device memory; a list that ends early; `force`."""
    run_c(
        m,
        C
        + """
        char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(p + 2 * PAGE, PAGE);
        EQUAL("two of four", CALL(1, 4, 1, p), 2);
        ERRNO("a hole", CALL(1, 1, 1, p + 2 * PAGE), EFAULT);
        ERRNO("NULL", CALL(1, 1, 1, 0), EFAULT);
        EQUAL("none", CALL(1, 0, 1, p), 0);
        mprotect(p, PAGE, PROT_READ);
        ERRNO("read only", CALL(1, 1, 5, p), EFAULT);
        EQUAL("may be read", CALL(2, 1, 0, p), PAGE);
        EQUAL("by force", CALL(3, 1, 3, p), 1);
        EQUAL("count", CALL(4, 0, 0, 0), 2);
        mprotect(p, PAGE, PROT_NONE);
        ERRNO("no access", CALL(2, 1, 0, p), EFAULT);
        """,
    )
    clean(m)


def test_pages_outlive_their_mapping(m: Machine, dio: Any, run_c: Run) -> None:
    """A pinned page stays when the program unmaps it and when it ends; the last reference frees it."""
    run_c(
        m,
        C
        + """
        char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        p[0] = 42;
        EQUAL("pin", CALL(3, 1, 1, p), 1);
        EQUAL("count", CALL(4, 0, 0, 0), 2);
        EQUAL("pin", CALL(3, 1, 1, p), 1);
        munmap(p, PAGE);
        """,
    )
    page = dio["held"][0]
    assert m.kernel.mem.count[page.pfn] == 1 and m.kernel.ram.view[page.pfn << 12] == 42
    free = m.kernel.mem.free_frames()
    dio["release"](dio["held"].pop())
    assert m.kernel.mem.free_frames() == free + 1
    clean(m)


def test_left_pinned(m: Machine, dio: Any, run_c: Run) -> None:
    """rmmod lists what was not given back."""
    run_c(m, C + "static char page[2 * PAGE]; page[0] = 1; CALL(3, 1, 1, page);")
    how = "pinned at" if dio["release"] is dio.get("unpin_user_page") else "not put_page'd, got at"
    leaks = m.unload("dio")
    assert len(leaks) == 1 and "user page at physical" in leaks[0] and f"{how} dio.py:" in leaks[0], leaks
    dio["held"][0].mem.put_page(dio["held"][0].pfn)


MISTAKES = """
def test():
    pages = []
    get_user_pages(current, current.mm, 0x1000, 1, 0, 0, pages, NULL)
    down_read(current.mm.mmap_sem)
    spin_lock(lock)
    get_user_pages(current, current.mm, 0x1000, 1, 0, 0, pages, NULL)
    spin_unlock(lock)
    up_read(current.mm.mmap_sem)
    unpin_user_page(virt_to_page(page))
    return 0
lock = SPIN_LOCK_UNLOCKED()
page = get_zeroed_page(GFP_KERNEL)
"""


def test_mistakes(m: Machine, driver: Load, run_c: Run) -> None:
    """Without the semaphore, with a spinlock, a page that was not pinned, and the other kernel's arguments."""
    from tests.drivers.by_program import ByProgram

    d = ByProgram(m, driver, run_c, MISTAKES + textwrap.dedent("""
        def wrong():
            try:
                get_user_pages(1, 2, 3)
            except TypeError as failure:
                return str(failure)
    """))  # fmt: skip
    assert d.call() == 0
    said = "\n".join(m.kernel.reports)
    assert "get_user_pages without down_read(mm.mmap_sem)" in said
    assert "sleeping function called from invalid context" in said and "get_user_pages with a spinlock held" in said
    assert "it is not pinned; get_user_pages is undone by put_page" in said and len(m.kernel.reports) == 3
    assert "has 8 arguments in 2.6.10" in d.call("wrong")


def test_without_a_process(m: Machine, driver: Load) -> None:
    """Called where no process waits: as NULL in C, but said."""
    d = driver("def test():\n    return get_user_pages_fast(0x1000, 1, FOLL_WRITE, [])")
    assert d["test"]() == -14
    assert "get_user_pages_fast where there is no process: current.mm is NULL" in m.kernel.reports.pop()
