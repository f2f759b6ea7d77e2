"""A size that is negative, which is huge in C, or no whole number: reported with the driver's line, and refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from tests.drivers.conftest import chardev

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

CALLS = [
    ("kmalloc({}, GFP_KERNEL)", "kmalloc(", "NULL"),
    ("kzalloc({}, GFP_KERNEL)", "kzalloc(", "NULL"),
    ("kcalloc({}, 4, GFP_KERNEL)", "kcalloc(", "NULL"),
    ("kmalloc_array(4, {}, GFP_KERNEL)", "kmalloc_array(", "NULL"),
    ("krealloc(NULL, {}, GFP_KERNEL)", "krealloc(", "NULL"),
    ("krealloc(mine, {}, GFP_KERNEL)", "krealloc(", "NULL"),
    ("vmalloc({})", "vmalloc(", "NULL"),
    ("__get_free_pages(GFP_KERNEL, {})", "get_free_pages(order = ", "NULL"),
    ("dma_alloc_coherent(None, {}, [0], GFP_KERNEL)", "dma_alloc_coherent(", "NULL"),
    ("ioremap(0xfd000000, {})", "ioremap(size = ", "NULL"),
    ("ioremap({}, 4096)", "ioremap(offset = ", "NULL"),
    ("copy_to_user(buf, b'text', {})", "copy_to_user(n = ", "{}"),
    ("copy_from_user(bytearray(4), buf, {})", "copy_from_user(n = ", "{}"),
    ("clear_user(buf, {})", "clear_user(n = ", "{}"),
    ("strncpy_from_user(bytearray(4), buf, {})", "strncpy_from_user(count = ", "-EFAULT"),
    ("strnlen_user(buf, {})", "strnlen_user(n = ", "0"),
]


@pytest.mark.parametrize("target", ["x86_64"])
@pytest.mark.parametrize(
    "size, why",
    [
        ("-1", "-1): too large: a negative number is 0xffffffffffffffff in C (bad.py:"),
        ("3 / 2", "1.5): no whole number ('//' divides whole numbers) (bad.py:"),
    ],
)
@pytest.mark.parametrize("call, name, answer", CALLS)
def test_a_size_that_is_none(
    m: Machine, driver: Load, run_c: Run, call: str, name: str, answer: str, size: str, why: str
) -> None:
    """It was taken in silence: memory of no bytes, or success of a copy that copied nothing."""
    loaded = driver(chardev(f"""
        bad_vm_ops = None
        mine = kmalloc(16, GFP_KERNEL)
        gave = []
        def read(filp, buf, count, f_pos):
            gave.append({call.format(size)} == ({answer.format(size)}))
            return 0
        def release(inode, filp):
            kfree(mine)
            return 0
    """, "dict(read=read, release=release)"))  # fmt: skip
    run_c(m, 'int fd = must_open("/dev/bad", O_RDWR); char room[4]; EQUAL("read", read(fd, room, 4), 0);')
    (report,) = m.kernel.reports
    assert report.startswith(f"BUG: bad: {name}{why}"), report
    assert loaded["gave"] == [True] and m.unload("bad") == []
