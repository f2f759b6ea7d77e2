"""Device models of a few lines, driven by compiled programs wherever they can be attached."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.errors import DeviceError
from machine.testing import ANY, BusLog, Field, Fifo, Memory, Reg, RegisterBlock
from tests.conftest import build

Make = Callable[..., Machine]
HERE = Path(__file__).parent


class Timer(RegisterBlock):
    """What models/timer.c drives."""

    ctrl = Reg(
        0x00, fields={"enable": Field(0), "repeat": Field(1), "mode": Field("3:2", values={"slow": 0, "fast": 2})}
    )
    count = Reg(0x04, access="ro", reset=42)
    period = Reg(0x08)
    status = Reg(0x0C, access="w1c")
    data = Fifo(0x10, depth=4)
    depth = Reg(0x14, access="ro")
    buffer = Memory(0x100, 16, reset=b"\x11")

    def __init__(self, start: int = 42) -> None:
        self.told: list[Any] = []
        super().__init__()
        self.count = start
        self.tick: Any = None

    @ctrl.on_write
    def switched(self, value: int) -> None:
        self.told.append(value)
        if self.tick is not None:
            self.tick.cancel()
        if self["ctrl.enable"] and self["ctrl.repeat"]:
            self.tick = self.every(self.period, self.expired)

    @ctrl.on_write
    def switched_too(self, value: int) -> None:
        self.told.append(-value)

    def expired(self) -> None:
        self.status |= 1
        self.raise_irq()

    def read_depth(self) -> int:
        return len(self.data)


@pytest.fixture(scope="module", params=["x86_64", "i386"])
def timer(request: pytest.FixtureRequest) -> Path:
    return build(HERE / "models" / "timer.c", target=request.param, flags=["-O2", "-g"])


PCI = "/sys/bus/pci/devices/0000:00:04.0/resource0"
DRIVER = HERE.parents[1] / "drivers" / "regmap.py"
SETTINGS = "regmap_start={address},regmap_size={size},regmap_irq={irq},regmap_name=mine"


@pytest.mark.parametrize(
    ("where", "path", "offset"),
    [
        ("/dev/mem@0xfe000000", "/dev/mem", "0xfe000000"),
        ("/dev/uio0", "/dev/uio0", "0"),
        ("/dev/uio3", "/dev/uio3", "0"),
        ("/dev/timer", "/dev/timer", "0"),
        ("pci:1234:11e8/bar0", PCI, "0"),
        (f"{DRIVER},{SETTINGS}", "/dev/mine", "0"),
    ],
)
def test_where_it_appears(machine_clean: Make, timer: Path, where: str, path: str, offset: str) -> None:
    m = machine_clean(deterministic=True)
    block = m.attach(where, Timer, start=7)
    assert isinstance(block, Timer)
    result = m.run([str(timer), path, offset], timeout=60)
    assert (result.exit, result.stdout) == (0, b"count 7\n"), result.stderr
    log = BusLog.of_result(m, result)
    switched_on = {"enable": 1, "mode": "slow"}
    log.assert_accesses([("write", "period", 1000), ("write", "ctrl", switched_on), ("read", "count", 7)])
    assert block.told == [1, -1] and block.period == 1000


@pytest.mark.parametrize("where", ["/dev/uio0", "/dev/timer", "/dev/uio1,irq=77"])
def test_interrupts_and_time(machine_clean: Make, timer: Path, where: str) -> None:
    """An interrupt each 500 us of virtual time, to read and poll of the device."""
    m = machine_clean(deterministic=True)
    block = m.attach(where, Timer)
    result = m.run([str(timer), where.partition(",")[0], "0", "wait"], timeout=60)
    assert result.exit == 0, result.stderr
    assert result.stdout == b"".join(b"interrupt %d status 1\n" % i for i in (1, 2, 3))
    assert block.irq == (77 if "77" in where else 48) and not block.tick.active
    log = BusLog.of_result(m, result)
    times = [a.time_ns for a in log.to("status") if not a.write]
    assert all(500_000 <= later - earlier < 600_000 for earlier, later in pairwise(times))


def test_queues_and_memory(machine_clean: Make, timer: Path) -> None:
    m = machine_clean(deterministic=True)
    block = m.attach("/dev/mem@0xfe000000", Timer)
    result = m.run([str(timer), "/dev/mem", "0xfe000000", "queue"], timeout=60)
    assert result.stdout == b"depth 4: 10 11 12 13 0 0\nmemory ccddbbaa ccdd\n", result.stderr
    assert (block.data.overruns, block.data.underruns, len(block.data)) == (2, 2, 0)
    assert block.buffer[:6] == b"\xaa\xbb\xdd\xcc\x11\x11"
    log = BusLog.of_result(m, result)
    log.assert_writes([..., ("buffer+0x0", 0xAA), ("buffer", ANY), ("buffer+0x2", 0xCCDD)])
    block.reset()
    assert block.buffer == b"\x11" * 16


def test_two_devices_of_one_kind(machine_clean: Make, timer: Path) -> None:
    m = machine_clean(deterministic=True)
    one, two = m.attach("/dev/uio0", Timer, start=1), m.attach("/dev/uio1", Timer, start=2)
    one.name, two.name = "one", "two"
    for number, block in enumerate((one, two)):
        result = m.run([str(timer), f"/dev/uio{number}", "0"], timeout=60)
        assert result.stdout == b"count %d\n" % (number + 1)
        BusLog.of_result(m, result).assert_reads([(f"{block.name}.count", number + 1)])
    assert (one.irq, two.irq) == (48, 49)
    assert m.unload("uio") == []


class Copier(RegisterBlock):
    """Copies memory by DMA, and says so with an interrupt that it holds."""

    source = Reg(0x18)
    target = Reg(0x1C)
    ctrl = Reg(0x00)
    status = Reg(0x0C, access="w1c")

    @ctrl.on_write
    def start(self, value: int) -> None:
        self.after(20, self.copy, value)

    def copy(self, count: int) -> None:
        self.dma_write(self.target, self.dma_read(self.source, count))
        self.status = 1
        self.hold_irq()

    @status.on_write
    def acknowledge(self, value: int) -> None:
        self.lower_irq()


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_dma_reaches_the_programs_memory(machine_clean: Make, target: str) -> None:
    """Physical addresses from /proc/self/pagemap."""
    program = build(HERE / "models" / "copier.c", target=target, flags=["-O2"])
    m = machine_clean(deterministic=True)
    m.attach("/dev/uio0", Copier)
    result = m.run([str(program)], timeout=60)
    assert (result.exit, result.stdout) == (0, b"interrupt 1: copied\n"), result.stderr


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_a_card_with_two_bars(machine_clean: Make, target: str) -> None:
    """Registers behind BAR 0, memory behind BAR 2; its interrupt and its DMA are the card's.  # C9"""
    program = build(HERE / "models" / "copier.c", target=target, flags=["-O2"])
    m = machine_clean(deterministic=True)
    card = m.attach("pci:1234:5678@00:06.0,class=0x088000", {0: Copier, 2: 65536})
    m.load("uio,uio_pci=1234:5678")
    assert m.read_file("/sys/bus/pci/devices/0000:00:06.0/class") == b"0x088000\n"
    result = m.run([str(program)], timeout=60)
    assert (result.exit, result.stdout) == (0, b"interrupt 1: copied\n"), result.stderr
    assert isinstance(card.bars[0].block, Copier) and len(card.bars[2].buffer) == 65536
    assert BusLog.of_result(m, result).writes("ctrl") == [("ctrl", 7)]
    assert card.refused == card.aborts == 0


@pytest.mark.parametrize("settings", ["", ",msi"])
def test_edges_of_a_card(machine_clean: Make, timer: Path, settings: str) -> None:
    """A model that raises edges does it behind a BAR as well: the driver that shares the line sees whose it was."""
    m = machine_clean(deterministic=True)
    block = m.attach(f"pci:1234:5678/bar0{settings}", Timer)
    m.load("uio,uio_pci=1234:5678")
    result = m.run([str(timer), "/dev/uio0", "0", "wait"], timeout=60)
    assert result.exit == 0, result.stderr
    assert result.stdout == b"".join(b"interrupt %d status 1\n" % i for i in (1, 2, 3))
    assert block.function is not None and not block.function.config_read(6, 2) & 8
    assert m.unload("uio") == [] and m.kernel.reports == []


def test_dma_where_nobody_is(machine_clean: Make) -> None:
    m = machine_clean(deterministic=True)
    block = m.attach("/dev/mem@0xfe000000", Copier)
    assert block.dma_read(0xFD00_0000, 4) == b"\xff" * 4
    block.dma_write(0xFD00_0000, b"lost")
    block.dma_write(0xA0FFE, b"ab" * 2)
    assert block.dma_read(0xA0FFE, 4) == b"abab", "across a page"


# -- mistakes while a program runs -------------------------------------------------------------------------------


class Divider(Timer):
    @Timer.ctrl.on_write
    def divide(self, value: int) -> None:
        self.count = 1000 // self.period


def told(error: DeviceError) -> list[str]:
    """The text, with the places in this file as FILE, up to what led to it."""
    text = str(error).partition("\n\n")[0]
    return re.sub(rf"[\w./-]*{Path(__file__).name}:\d+", "FILE", text).splitlines()


def led(error: object) -> dict[str, str]:
    """What led to it: the access, and what is known of who made it."""
    first, *rest = str(error).partition("\n\n")[2].splitlines()
    return {"access": first} | {line.split()[0]: line.strip().partition(" ")[2].strip() for line in rest}


def line_of(text: str) -> str:
    lines = (HERE / "models" / "timer.c").read_text().splitlines()
    return f"timer.c:{next(number for number, line in enumerate(lines, 1) if text in line)}"


@pytest.mark.parametrize("handler", [[], ["handler"]])
def test_an_exception_in_a_hook_is_a_bus_error(machine_clean: Make, timer: Path, handler: list[str]) -> None:
    """The program gets SIGBUS at the register, the test the exception; the machine goes on."""
    m = machine_clean(deterministic=True)
    block = m.attach("/dev/mem@0xfe000000", Divider)
    with pytest.raises(DeviceError) as caught:
        m.run([str(timer), "/dev/mem", "0xfe000000", "divide", *handler], timeout=60)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert told(caught.value) == [
        f"FILE: Divider ('divider') raised ZeroDivisionError in a write of 0x1 to ctrl: {caught.value.__cause__}",
        "  FILE in divide: self.count = 1000 // self.period",
        "  the program got SIGBUS",
    ]
    made = led(caught.value)
    assert made["access"] == "the write that led to it: divider.ctrl = 1 (enable=1, repeat=0, mode=slow)"
    assert made["source"] == line_of("/* divide */") and "--break-on register:divider.ctrl" in made["replay"]
    result: Any = caught.value.result
    if handler:
        assert (result.exit, result.stdout) == (3, b"0\nsignal 7 at register 0\n")
    else:
        assert result.signal == 7
    block.period = 8
    assert m.run([str(timer), "/dev/mem", "0xfe000000"], timeout=60).stdout == b"count 1\n"


def test_an_exception_in_a_read(machine_clean: Make, timer: Path) -> None:
    class Broken(Timer):
        @Timer.ctrl.on_read
        def no(self) -> int:
            raise LookupError("there is nothing to read")

    m = machine_clean(deterministic=True)
    m.attach("/dev/mem@0xfe000000", Broken)
    with pytest.raises(DeviceError, match="a read of 4 bytes of ctrl: there is nothing to read") as caught:
        m.run([str(timer), "/dev/mem", "0xfe000000", "divide", "handler"], timeout=60)
    assert caught.value.result.stdout == b"signal 7 at register 0\n"  # type: ignore[attr-defined]


class Late(Timer):
    def write_ctrl(self, value: int) -> None:
        self.after(100, self.fails)

    def fails(self) -> None:
        raise RuntimeError("too late")


def test_an_exception_of_the_clocks_ends_the_run(machine_clean: Make, timer: Path) -> None:
    """Nobody's instruction: all is stopped, although the program would sleep for ever."""
    m = machine_clean(interruptible=True)
    m.attach("/dev/mem@0xfe000000", Late)
    with pytest.raises(DeviceError) as caught:
        m.run([str(timer), "/dev/mem", "0xfe000000", "sleep"], timeout=60)
    assert caught.value.result is None
    assert told(caught.value) == [
        "FILE: Late ('late') raised RuntimeError in Late.fails, called by the clock: too late",
        '  FILE in fails: raise RuntimeError("too late")',
        "  the machine was stopped, and everything in it killed",
    ]
    assert led(caught.value)["access"].startswith("the write that led to it: late.ctrl = ")
    assert led(caught.value)["source"] == line_of("/* sleep */")
    assert m.run(["/bin/true"], timeout=60).exit == 0


def test_an_exception_under_the_kernels_hands(machine_clean: Make, timer: Path) -> None:
    """A system call that copies from the registers: no instruction of the program is to blame."""
    program = build(HERE / "models" / "copies.c", flags=["-O2"])

    class Broken(Timer):
        def read_count(self) -> Any:
            return "a string"

    m = machine_clean(deterministic=True)
    m.attach("/dev/uio0", Broken)
    with pytest.raises(DeviceError) as caught:
        m.run([str(program)], timeout=60)
    assert told(caught.value) == [
        f"Broken ('broken') raised RegisterError in a read of 4 bytes of count: {caught.value.__cause__}",
        "  the machine was stopped, and everything in it killed",
    ]
    made = led(caught.value)
    assert made["access"].startswith("the read that led to it: broken.count") and made["made"].startswith("by")
    assert made["made"].endswith("the kernel, for process 2") and "source" not in made
    assert m.run(["/bin/true"], timeout=60).exit == 0


def test_programs_that_are_held(machine_clean: Make, timer: Path) -> None:
    """Whoever runs the machine hears of it; the wait for the program has its result; and it is heard once."""
    m = machine_clean(deterministic=True)
    m.attach("/dev/mem@0xfe000000", Divider)
    held = m.start([str(timer), "/dev/mem", "0xfe000000", "divide", "handler"], stdin=b"")
    with pytest.raises(DeviceError, match="raised ZeroDivisionError"):
        m.run_until(us=1_000_000)
    assert held.wait(60).stdout == b"0\nsignal 7 at register 0\n"
    held = m.start([str(timer), "/dev/mem", "0xfe000000", "divide", "handler"], stdin=b"")
    with pytest.raises(DeviceError) as caught:
        held.wait(60)
    assert caught.value.result.exit == 3  # type: ignore[attr-defined]
    assert m.check_clean() == []


def test_what_nobody_waited_for_is_unclean(timer: Path) -> None:
    with Machine(deterministic=True, check_invariants=True) as m:
        m.attach("/dev/mem@0xfe000000", Divider)
        m.start([str(timer), "/dev/mem", "0xfe000000", "divide", "handler"], stdin=b"")
        (line,) = m.check_clean()
        assert told(DeviceError(line))[1:] == [
            "  FILE in divide: self.count = 1000 // self.period",
            "  the program got SIGBUS",
        ]
        assert m.check_clean() == []
