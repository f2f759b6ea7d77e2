"""Structures through declared fields: the compiler's layout, three places to be, copies to and from programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from machine import Machine
from machine.kernel.include.structs import (
    char,
    elements,
    member,
    offsetof,
    s8,
    s16,
    s32,
    s64,
    sizeof,
    struct,
    u8,
    u16,
    u32,
    u64,
    ulong,
)  # fmt: skip
from machine.kernel.modparam import kernel_param

Run = Callable[..., Any]
Load = Callable[..., dict[str, Any]]


class Point(struct):
    x = s16()
    y = s64()


class Everything(struct):
    a = u8()
    b = u16()
    c = s8()
    d = u64()
    name = char(5)
    e = s32()
    list = elements(u16(), 3)
    point = member(Point)
    f = u8()


class Everything32(struct, pack=4):
    a = u8()
    b = u16()
    c = s8()
    d = u64()
    name = char(5)
    e = s32()
    list = elements(u16(), 3)
    x = u64()
    f = u8()


C_LAYOUT = """
    struct point { int16_t x; int64_t y; };
    struct everything { uint8_t a; uint16_t b; int8_t c; uint64_t d; char name[5]; int32_t e; uint16_t list[3];
                        struct point point; uint8_t f; };
    struct everything32 { uint8_t a; uint16_t b; int8_t c; uint64_t d; char name[5]; int32_t e; uint16_t list[3];
                          uint64_t x; uint8_t f; };
    #define AT(s, m) printf("%zu ", __builtin_offsetof(struct s, m))
    if (sizeof(long) == 8) {
        AT(everything, a); AT(everything, b); AT(everything, c); AT(everything, d); AT(everything, name);
        AT(everything, e); AT(everything, list); AT(everything, point); AT(everything, f);
        printf("%zu", sizeof(struct everything));
    } else {
        AT(everything32, a); AT(everything32, b); AT(everything32, c); AT(everything32, d); AT(everything32, name);
        AT(everything32, e); AT(everything32, list); AT(everything32, x); AT(everything32, f);
        printf("%zu", sizeof(struct everything32));
    }
"""


def test_the_layout_is_the_compilers(m: Machine, run_c: Run, target: str) -> None:
    """x86-64's as it is, i386's with pack=4."""
    kind = Everything if target == "x86_64" else Everything32
    shown = run_c(m, "#include <stdint.h>\n#include <stddef.h>\n" + C_LAYOUT).stdout.split()
    assert [int(word) for word in shown] == [*(offsetof(kind, name) for name in kind._fields), sizeof(kind)]


def test_values() -> None:
    it = Everything(a=300, c=-1, name=b"abc", list=(1, 2, 0x10003))
    assert (it.a, it.c, it.name, it.list) == (44, -1, b"abc", (1, 2, 3))
    it.d, it.e = -1, 1 << 31
    assert (it.d, it.e) == ((1 << 64) - 1, -(1 << 31))
    it.point.y = -5
    it.point.x = 7
    assert bytes(it.point) == b"\7\0" + bytes(6) + (-5).to_bytes(8, "little", signed=True)
    it.point = Point(x=1, y=2)
    assert (it.point.x, it.point.y) == (1, 2)
    assert bytes(Everything(bytearray(bytes(it)))) == bytes(it) and Everything(bytearray(bytes(it))) == it
    assert sizeof(it) == len(it) == sizeof(Everything) and sizeof(Everything.name) == 5
    assert repr(Point(x=1, y=-2)) == "Point(x=0x1, y=-0x2)"


def test_over_a_buffer() -> None:
    buffer = bytearray(16)
    view = memoryview(buffer)
    point = Point(view)
    point.y = 0x0102
    assert buffer[8:10] == b"\2\1" and point.address is None


def test_refusals() -> None:
    with pytest.raises(AttributeError, match="struct Point has no member 'z'"):
        Point().z = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="no member 'z'"):
        Point(z=1)
    with pytest.raises(ValueError, match="6 bytes for char name"):
        Everything(name=b"sixsix")
    with pytest.raises(ValueError, match="2 values for list"):
        Everything(list=(1, 2))
    with pytest.raises(ValueError, match="3 bytes for a struct Point of 16"):
        Point(bytearray(3))


def test_packed_and_derived() -> None:
    class packed(struct, pack=1):
        a = u8()
        b = u32()
        c = ulong()

    class longer(Point):
        z = u8()

    assert (sizeof(packed), offsetof(packed, "c")) == (13, 5)
    assert (sizeof(longer), offsetof(longer, "z")) == (24, 16)


def test_ulong_is_a_parameter_type_too() -> None:
    assert kernel_param("base", ulong, 0).type_name == "ulong"


def test_a_program_hands_one_over(m: Machine, driver: Load, run_c: Run) -> None:
    """copy_from_user and copy_to_user take a struct, over kernel memory and over bytes of its own.  # D7"""
    d = driver("""
        class request(struct):
            number = u32()
            length = u32()
            where = u64()
            name = char(16)
        memory = [kmalloc(100, GFP_KERNEL), vmalloc(2 * PAGE_SIZE)]
        seen = []
        def bad_ioctl(inode, filp, cmd, arg):
            it = request([None, memory[0], memory[1] + PAGE_SIZE - 10][cmd])
            if copy_from_user(it, arg, sizeof(it)):
                return -EFAULT
            seen.append((it.number, it.length, it.where, it.name))
            it.number += 1
            it.name = b"from the driver"
            return -EFAULT if copy_to_user(arg, it, sizeof(request)) else 0
        major = register_chrdev(0, "bad", file_operations(ioctl=bad_ioctl))
        devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
        def cleanup():
            devfs_remove("bad")
            unregister_chrdev(major, "bad")
            kfree(memory[0])
            vfree(memory[1])
        module_exit(cleanup)
    """)
    run_c(
        m,
        """
        struct { unsigned number, length; unsigned long long where; char name[16]; } r = {6, 7, 1ULL << 40 | 8, "me"};
        int fd = must_open("/dev/bad", O_RDWR);
        for (int i = 0; i < 3; i++) {
            strcpy(r.name, "me");
            EQUAL("ioctl", ioctl(fd, i, &r), 0);
            EQUAL("number", r.number, 7 + i);
            CHECK("name", !strcmp(r.name, "from the driver"));
        }
        ERRNO("bad pointer", ioctl(fd, 2, 16), EFAULT);
    """,
    )
    assert d["seen"] == [(6 + i, 7, 1 << 40 | 8, b"me") for i in range(3)]
    assert m.kernel.reports == [] and m.kernel.oopses == [] and m.unload("bad") == []
