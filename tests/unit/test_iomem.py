"""The resource tree and the default PC's /proc/iomem (MECHANISMS A1)."""

from __future__ import annotations

from errno import EBUSY, EINVAL

import pytest

from machine.hardware.iomem import (
    IORESOURCE_BUSY,
    Resource,
    insert_resource,
    release_region,
    release_resource,
    request_region,
    request_resource,
)
from machine.hardware.ram import GiB, MiB, Ram
from tests.unit.text_iomem import default_pc

DEFAULT_PC = """\
00000000-0009ffff : System RAM
000a0000-000bffff : Video RAM area
000c0000-000ccfff : Video ROM
000d1000-000d1fff : Adapter ROM
000f0000-000fffff : System ROM
00100000-0fffffff : System RAM
  00100000-002fffff : Kernel code
  00300000-003fffff : Kernel data
d7f00000-f7efffff : PCI Bus #01
  e8000000-efffffff : 0000:01:00.0
fc700000-fccfffff : PCI Bus #01
  fcc00000-fcc0ffff : 0000:01:00.0
"""


def pc(ram: Ram) -> Resource:
    return default_pc(ram, (0x100000, 0x2FFFFF), (0x300000, 0x3FFFFF))


def test_default_pc_shows_the_lines_of_the_text() -> None:
    assert pc(Ram(256 * MiB)).render() == DEFAULT_PC


def test_ram_beyond_the_pci_hole_starts_at_4_gib() -> None:
    lines = pc(Ram(4 * GiB)).render().splitlines()
    assert "00100000-d7efffff : System RAM" in lines
    assert lines[-1] == "100000000-1280fffff : System RAM"


def test_find_gives_the_innermost() -> None:
    root = pc(Ram(32 * MiB))
    for physical, name in ((0xE8000000, "0000:01:00.0"), (0xD7F00000, "PCI Bus #01"), (0x100000, "Kernel code")):
        found = root.find(physical)
        assert found is not None and found.name == name
    assert root.find(0xFE000000) is None


@pytest.mark.parametrize(("start", "end"), [(0x0, 0x1000), (0x1FFF, 0x2000), (0x1800, 0x1900), (0x800, 0x3000)])
def test_request_resource_refuses_any_overlap(start: int, end: int) -> None:
    root = Resource("root", 0, 0xFFFF)
    assert request_resource(root, Resource("a", 0x1000, 0x1FFF)) == 0
    assert request_resource(root, Resource("b", start, end)) == -EBUSY
    assert [each.name for _, each in root.iter()] == ["a"]


def test_request_resource_refuses_what_sticks_out() -> None:
    root = Resource("root", 0x1000, 0x1FFF)
    assert request_resource(root, Resource("b", 0x1800, 0x2000)) == -EBUSY
    assert request_resource(root, Resource("c", 0x1800, 0x17FF)) == -EBUSY


def test_insert_resource_takes_the_children_it_covers() -> None:
    root = Resource("root", 0, 0xFFFF)
    request_resource(root, Resource("a", 0x1000, 0x1FFF))
    request_resource(root, Resource("b", 0x3000, 0x3FFF))
    assert insert_resource(root, Resource("both", 0x1000, 0x4FFF)) == 0
    assert root.render() == "00001000-00004fff : both\n  00001000-00001fff : a\n  00003000-00003fff : b\n"
    assert insert_resource(root, Resource("cuts", 0x3800, 0x5000)) == -EBUSY


def test_release_resource() -> None:
    root = Resource("root", 0, 0xFFFF)
    a = Resource("a", 0x1000, 0x1FFF)
    request_resource(root, a)
    assert release_resource(a) == 0
    assert root.render() == ""
    assert release_resource(a) == -EINVAL


def test_request_region_goes_into_the_window_and_is_busy() -> None:
    root = pc(Ram(32 * MiB))
    region = request_region(root, 0xFCC00000, 0x1000, "fb")
    assert region is not None and region.flags & IORESOURCE_BUSY
    assert "    fcc00000-fcc00fff : fb\n" in root.render()
    assert request_region(root, 0xFCC00800, 0x10, "other") is None
    assert request_region(root, 0x000F0000, 0x1000, "rom") is None
    assert release_region(root, 0xFCC00000, 0x1000)
    assert not release_region(root, 0xFCC00000, 0x1000)
    assert request_region(root, 0xFCC00800, 0x10, "other") is not None
