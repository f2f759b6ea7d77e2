"""The `_ret` forms of Linux 2.2: they end the driver's method with a value (MECHANISMS D7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]

DRIVER = """
    KERNEL = (2, 2)
    trail = []
    def bad_read(filp, buf, count, f_pos):
        trail.append("read")
        copy_to_user_ret(buf, b"0123456789", min(count, 10), -EFAULT)
        trail.append("copied")
        return min(count, 10)
    def bad_write(filp, buf, count, f_pos):
        data = bytearray(count)
        try:
            copy_from_user_ret(data, buf, count, -ENOSPC)
        except Exception:
            trail.append("except Exception sees it")
        finally:
            trail.append("finally")
        trail.append(bytes(data))
        return count
    def bad_ioctl(inode, filp, cmd, arg):
        x = [0]
        if cmd == 1:
            get_user_ret(x, arg, -EFAULT)
            put_user_ret(x[0] + 1, arg + 4, -EIO)
            return 5
        if cmd == 2:
            get_user_ret(x, arg, -EFAULT, 8)
            put_user_ret(x[0] + 1, arg, -EFAULT, 8)
        if cmd == 3:
            helper(arg)
            trail.append("after the helper")
        if cmd == 4:
            get_user_ret(x, arg, 77)
        return 0
    def helper(arg):
        get_user_ret([0], arg, -ENXIO)
        trail.append("in the helper")
    def bad_mmap(filp, vma):
        put_user_ret(1, 16, -EBUSY)
        return 0
    fops = file_operations(read=bad_read, write=bad_write, ioctl=bad_ioctl, mmap=bad_mmap)
    register_chrdev(42, "bad", fops)
    devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
"""
OPEN = 'int fd = must_open("/dev/bad", O_RDWR);'


def test_they_return_from_the_method(m: Machine, driver: Load, run_c: Run) -> None:
    """On a fault the method's result is `ret`, what follows is skipped, and it is no oops.  # D7"""
    d = driver(DRIVER)
    run_c(m, OPEN + """
        char buf[10];
        unsigned number[2] = {41, 0};
        unsigned long long wide = 0x1ffffffffULL;
        char *edge = anonymous(2);
        munmap(edge + PAGE, PAGE);
        EQUAL("read", read(fd, buf, 4), 4);
        CHECK("bytes", !memcmp(buf, "0123", 4));
        ERRNO("read into nowhere", read(fd, (void *)16, 4), EFAULT);
        ERRNO("half of it there", read(fd, edge + PAGE - 2, 4), EFAULT);
        ERRNO("not even called", read(fd, (void *)-4096L, 4), EFAULT);
        EQUAL("write", write(fd, "abc", 3), 3);
        ERRNO("write from nowhere", write(fd, (void *)16, 3), ENOSPC);
        EQUAL("get and put", ioctl(fd, 1, number), 5);
        EQUAL("stored", number[1], 42);
        ERRNO("get", ioctl(fd, 1, 16), EFAULT);
        ERRNO("put", ioctl(fd, 1, edge + PAGE - 4), EIO);
        EQUAL("eight bytes", ioctl(fd, 2, &wide), 0);
        CHECK("stored", wide == 0x200000000ULL);
        EQUAL("a positive ret", ioctl(fd, 4, 16), 77);
        ERRNO("mmap", map(fd, 0, PAGE, PROT_READ, MAP_SHARED), EBUSY);
    """)  # fmt: skip
    assert d["trail"] == ["read", "copied", "read", "read", "finally", b"abc", "finally"]
    assert m.kernel.oopses == [] and m.kernel.reports == []


def test_in_a_helper(m: Machine, driver: Load, run_c: Run) -> None:
    """C would return from the helper; here the method ends, and the report says so.  What works is fine.  # D7"""
    d = driver(DRIVER)
    run_c(m, OPEN + """
        int x = 1;
        EQUAL("works", ioctl(fd, 3, &x), 0);
        ERRNO("fails", ioctl(fd, 3, 16), ENXIO);
    """)  # fmt: skip
    assert d["trail"] == ["in the helper", "after the helper"]
    assert len(m.kernel.reports) == 1 and m.kernel.oopses == []
    assert "get_user_ret in the helper helper" in m.kernel.reports[0]
    assert "it ends bad_ioctl; test what get_user returns instead (bad.py:" in m.kernel.reports[0]


def test_outside_a_method(m: Machine, driver: Load) -> None:
    """There is nobody to return to.  # D7"""
    d = driver(DRIVER)
    with pytest.raises(RuntimeError, match="get_user_ret failed outside a method of a driver"):
        d["helper"](16)
    assert m.kernel.oopses == []
