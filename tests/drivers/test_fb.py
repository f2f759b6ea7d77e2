"""/dev/fb0: compiled programs and Debian's fbset on the display controller (MECHANISMS C8, B5, B12)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.hardware.paging import PCD, PWT
from machine.kernel.mm.vma import VM_IO, VM_RESERVED
from machine.testing.cards import Display
from tests.conftest import build

Make = Callable[..., Machine]
SOURCE = Path(__file__).parent / "framebuffer.c"


@pytest.fixture
def m(machine_clean: Make) -> Machine:
    return machine_clean(deterministic=True, devices=["fb"])


@pytest.fixture
def part(m: Machine, target: str) -> Callable[[str], Any]:
    """Run a part of framebuffer.c; every check must be ok."""
    program = build(SOURCE, target=target, flags=["-D_FILE_OFFSET_BITS=64", "-Wno-unused-function"])

    def run(name: str) -> Any:
        result = m.run([str(program), name], timeout=120)
        output = (result.stdout + result.stderr).decode(errors="replace")
        assert result.exit == 0 and "ok" in output and "FAIL" not in output, f"signal {result.signal}\n{output}"
        return result

    return run


def display(m: Machine) -> Display:
    found = m.kernel.pci_host.find(1, 0)
    assert isinstance(found, Display)
    return found


def test_what_it_says_about_itself(m: Machine, part: Callable[[str], Any]) -> None:
    """Both structures, in the layout of the program's own word size.  # C8, A1"""
    part("info")
    assert m.read_file("/proc/fb") == b"0 nopage display\n"
    shown = {name: m.read_file(f"/sys/class/graphics/fb0/{name}") for name in ("name", "virtual_size", "stride", "dev")}
    assert shown == {"name": b"nopage display\n", "virtual_size": b"1024,768\n", "stride": b"4096\n", "dev": b"29:0\n"}
    assert "0000:01:00.0" in m.kernel.iomem.render() and " : fb\n" in m.kernel.iomem.render()
    assert m.unload("fb") == [] and " : fb\n" not in m.kernel.iomem.render()
    assert display(m).picture() is None and "fb0" not in m.kernel.chrdevs.nodes


def test_mode_and_pan(m: Machine, part: Callable[[str], Any]) -> None:
    """Rounded, refused, tested only; the controller's registers follow.  # C8"""
    part("mode")
    mode = display(m).registers.mode
    assert mode is not None and mode == (640, 480, 16, 1280, 100 * 1280)
    assert display(m).registers.control == 1


def test_read_and_write(m: Machine, part: Callable[[str], Any]) -> None:
    part("rw")
    assert bytes(display(m).registers.memory[4096:4107]) == b"some pixels"


def test_palette(m: Machine, part: Callable[[str], Any]) -> None:
    """16 bits a colour for the program, 8 for the controller; grey steps at the start.  # C8"""
    part("cmap")
    assert display(m).picture() == (4, 1, bytes.fromhex("030303 ff0000 123456 060606"))


def test_pixels_through_mmap_are_the_picture(m: Machine, part: Callable[[str], Any]) -> None:
    """Memory at offset 0, the registers behind it; panned, and drawn over by the 2D engine.  # C8, B5, B12"""
    areas: list[tuple[int, int]] = []

    def look(call: Any) -> None:
        if call.operation == "mmap" and call.result == 0:
            vma = call.args[1]
            areas.append((vma.vm_mm.tables.get(vma.vm_start), vma.vm_flags))

    m.events.listen("driver_call", look)
    faults: list[Any] = []
    m.events.listen("fault", faults.append)
    part("draw")
    expected = bytearray()
    for y in range(40, 88):
        for x in range(64):
            white = 10 <= x < 30 and 45 <= y < 49
            expected += b"\xff\xff\xff" if white else bytes((x, y, x ^ y))
    assert display(m).picture() == (64, 48, bytes(expected))
    assert [entry & 0xFFFFF000 for entry, _ in areas] == [0xE8000000, 0xFCC00000]
    assert areas[0][0] & PCD and all(flags & VM_IO and flags & VM_RESERVED for _, flags in areas)
    touched = [each for each in faults if "fb0" in str(each) and each.outcome != "device access"]
    assert not touched, "the memory is there at once"


def test_vertical_blank(m: Machine, part: Callable[[str], Any]) -> None:
    """A shared interrupt, on only while somebody waits.  # C8, D9"""
    part("vsync")
    registers = display(m).registers
    assert registers.irq_enable == 0 and registers.irq_status == 0 and m.kernel.reports == []
    assert m.kernel.irq.lines[display(m).irq].count >= 3
    assert b" fb\n" in m.read_file("/proc/interrupts")


@pytest.mark.skipif(not shutil.which("fbset"), reason="Debian's fbset is not installed")
def test_fbset(m: Machine) -> None:
    """The unmodified program shows the mode and sets another one.  # C8"""
    shown = m.run(["fbset", "-i"], timeout=60)
    text = shown.stdout.decode()
    assert shown.exit == 0, shown.stderr
    assert 'mode "1024x768-60"' in text and "geometry 1024 768 1024 768 32" in text
    assert "timings 15384 160 24 29 3 136 6" in text and "rgba 8/16,8/8,8/0,8/24" in text
    assert "Name        : nopage display" in text and "Size        : 67108864" in text
    assert "MMIO Address: 0xfcc00000" in text and "LineLength  : 4096" in text
    assert m.run(["fbset", "-g", "800", "600", "800", "1200", "16"], timeout=60).exit == 0
    assert "geometry 800 600 800 1200 16" in m.run(["fbset"], timeout=60).stdout.decode()
    mode = display(m).registers.mode
    assert mode is not None and mode[:4] == (800, 600, 16, 1600)
    refused = m.run(["fbset", "-g", "80000", "600", "80000", "1200", "32"], timeout=60)
    assert refused.exit == 1 and b"Invalid argument" in refused.stderr


def test_parameters(machine_clean: Make) -> None:
    """Another first mode; one that can't be shown leaves nothing behind.  # C8, D6"""
    m = machine_clean()
    with pytest.raises(ConfigError):
        m.load("fb,fb_xres=100000,fb_yres=100000")
    assert any("fb: 100000x100000 with 32 bits a pixel can't be shown" in line for line in m.dmesg)
    assert m.kernel.framebuffers is None and " : fb\n" not in m.kernel.iomem.render() and not m.kernel.vmalloc.areas
    m.load("fb,fb_xres=640,fb_yres=480,fb_bpp=16")
    assert "fb0: 640x480, 16 bits a pixel, 64 MiB at 0xe8000000" in m.dmesg
    assert 59_000 < display(m).registers.refresh < 61_000
    assert m.unload("fb") == []


COMBINING = """
def mmap(filp, vma):
    vma.vm_page_prot = pgprot_writecombine(vma.vm_page_prot)
    return io_remap_page_range(vma, vma.vm_start, 0xe8000000, vma.vm_end - vma.vm_start, vma.vm_page_prot)
register_chrdev(42, "bad", file_operations(mmap=mmap))
devfs_mk_cdev(MKDEV(42, 0), 0o666, "bad")
def cleanup():
    devfs_remove("bad")
    unregister_chrdev(42, "bad")
module_exit(cleanup)
"""


def test_the_frame_buffer_is_as_fast_as_memory(machine_clean: Make, target: str, tmp_path: Path) -> None:
    """Memory and not callbacks, whatever the mapping says of caches.  # C8, B5

    On an idle computer the ratios are below 1.1 (`python -m bench`); a callback a store would make it 40.
    """
    driver = tmp_path / "bad.py"
    driver.write_text("from machine.kernel.linux import *\n" + COMBINING)
    machine = machine_clean(devices=["fb", str(driver)])
    program = build(Path(__file__).parent / "throughput.c", target=target, flags=["-O2"])
    entries: dict[str, int] = {}

    def look(call: Any) -> None:
        if call.operation == "mmap" and call.result == 0:
            vma = call.args[1]
            entries[f"{call.driver} {len(entries)}"] = vma.vm_mm.tables.get(vma.vm_start) & (PCD | PWT)

    machine.events.listen("driver_call", look)
    result = machine.run([str(program), "10"], timeout=240)
    took = {name: float(value) for name, value in (line.split() for line in result.stdout.decode().splitlines())}
    assert len(took) == 5, result.stderr
    assert {name: value / took["anonymous"] for name, value in took.items() if value > 2 * took["anonymous"]} == {}
    assert entries == {"fb 0": PCD | PWT, "mem 1": 0, "mem 2": PCD | PWT, "bad 3": PWT}
    assert bytes(display(machine).registers.memory[:8]) == bytes.fromhex("00000000 01000000")
