"""The texts about device models, places and expected accesses, provoked and compared whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.errors import ConfigError
from machine.hardware.bus import Bus
from machine.hardware.pci import Bar, Capability, PciError, PciFunction
from machine.hardware.ram import Ram
from machine.testing import ANY, Field, Fifo, Memory, Reg, RegArray, RegisterBlock, RegisterError, messages
from machine.testing.buslog import BusLog

HERE = Path(__file__).name
ACCESS = (
    "rw, ro, wo, rc, rs, wrc, wrs, wc, ws, wsrc, wcrs, w1c, w1s, w1t, w0c, w0s, w0t, w1src, w1crs, w0src, w0crs, woc, "
    "wos, w1, wo1"
)


def text_of(provoke: Callable[[], object]) -> str:
    """What is said, with this file's path and lines as FILE:N."""
    wrong = (RegisterError, PciError, ConfigError, AttributeError, ValueError, IndexError, AssertionError)
    with pytest.raises(wrong) as caught:
        provoke()
    return re.sub(rf"[\w./-]*{HERE}:\d+", "FILE:N", str(caught.value))


def declare(**parts: Any) -> Any:
    return type("Bad", (RegisterBlock,), parts)


def _method(self: Any, value: int) -> None:
    """A hook."""


class Timer(RegisterBlock):
    ctrl = Reg(0, fields={"enable": Field(0), "mode": Field("3:2", values={"slow": 0, "fast": 2})})
    count = Reg(4, access="ro", reset=42)
    data = Fifo(8, depth=4)
    buffer = Memory(0x100, 16)
    wide = Reg(0x10, width=2, on_read="given")

    given: Any = lambda self: self.answer

    def __init__(self, answer: Any = None, answers: Any = None) -> None:
        self.answer, self.answers = answer, answers
        super().__init__()

    def write_ctrl(self, value: int) -> Any:
        return self.answers


class Other(RegisterBlock):
    ctrl = Reg(0)


def _set(block: Any, name: str, value: Any) -> None:
    setattr(block, name, value)


def _hook_of_another_class() -> None:
    class Bad(RegisterBlock):
        ctrl = Reg(0)

        @Other.ctrl.on_write
        def started(self, value: int) -> None:
            pass


DECLARED: list[tuple[dict[str, Any], str]] = [
    (
        {"reset": Reg(0)},
        "FILE:N: Bad.reset: every RegisterBlock has a 'reset' of its own; give the register another name",
    ),
    ({"a": Reg(-4)}, "FILE:N: Bad.a: its offset is -4; offsets count from the block's start, in bytes"),
    ({"a": Reg(0, width=3)}, "FILE:N: Bad.a: a register is 1, 2, 4 or 8 bytes wide, not 3"),
    ({"a": Reg(0, access="rx")}, f"FILE:N: Bad.a: access is one of {ACCESS}, not 'rx'"),
    ({"a": Reg(0, reset=1 << 32)}, "FILE:N: Bad.a: the reset value 0x100000000 does not fit 32 bits"),
    (
        {"a": Reg(0, fields={"f": Field(30, 4)})},
        "FILE:N: Bad.a: field 'f', 4 bits from bit 30 on, does not fit a register of 32 bits",
    ),
    (
        {"a": Reg(0, fields={"f": Field(0, 2, values={"x": 4})})},
        "FILE:N: Bad.a: value 'x' = 4 does not fit field 'f', which is 2 bits wide",
    ),
    ({"a": Reg(0, fields={"f": Field(0, 2), "g": Field(1)})}, "FILE:N: Bad.a: fields 'f' and 'g' both have bit 1"),
    (
        {"a": Reg(0, fields={"f": 3})},  # type: ignore[dict-item]
        "FILE:N: Bad.a: field 'f' is declared by Field(BIT) or Field('HIGH:LOW'), not by 3",
    ),
    (
        {"a": Reg(0, width=8), "b": Reg(4)},
        "FILE:N: Bad.b (0x4, 4 bytes) overlaps Bad.a (0x0, 8 bytes), declared at FILE:N",
    ),
    ({"a": RegArray(0, 4, stride=2)}, "FILE:N: Bad.a: an array of 4 registers of 4 bytes, 2 bytes apart"),
    ({"a": Memory(0, 0)}, "FILE:N: Bad.a: a memory of 0 bytes that holds b'\\x00' after a reset"),
    ({"a": Memory(0, 4, access="w1c")}, "FILE:N: Bad.a: a memory is rw, ro or wo, not 'w1c'"),
    (
        {"a": Fifo(0, depth=0)},
        (
            "FILE:N: Bad.a: a Fifo has a depth of 1 or more, access rw, ro or wo, full='drop' or 'overwrite', and "
            "empty='last' or a number that fits; not depth=0, access='rw', full='drop', empty=0"
        ),
    ),
    ({"unaligned": "never"}, "Bad.unaligned is 'split' or 'refuse', not 'never'"),
    (
        {"size": 100, "a": Reg(0x1000)},
        "Bad.size is 0x64; it must be whole pages of 0x1000, and the registers need 0x1004 bytes",
    ),
    (
        {"a": Reg(0, on_write="strat"), "start": _method},
        "FILE:N: Bad.a: on_write='strat': Bad has no such method; did you mean 'start'?",
    ),
    (
        {"ctrl": Reg(0), "write_crtl": _method},
        "FILE:N: Bad._method: there is no register 'crtl'; did you mean 'ctrl'?",
    ),
]


@pytest.mark.parametrize(("parts", "text"), DECLARED)
def test_declarations(parts: dict[str, Any], text: str) -> None:
    assert text_of(lambda: declare(**parts)) == text


def test_the_line_is_that_of_the_declaration() -> None:
    with pytest.raises(RegisterError) as caught:

        class Bad(RegisterBlock):
            one = Reg(0)
            two = Reg(2)

    first = _hook_of_another_class.__code__.co_firstlineno
    lines = [int(number) for number in re.findall(rf"{HERE}:(\d+)", str(caught.value))]
    assert lines[0] == lines[1] + 1 > first


READ_HOOK = "Timer.wide: a read hook gives a number of 16 bits, or None for the register's own value; this one gave"
WRITE_HOOK = "FILE:N: Timer.write_ctrl: a write hook returns nothing; this one gave"
AT_WORK: list[tuple[Callable[[], object], str]] = [
    (_hook_of_another_class, "FILE:N: Bad.started: its on_write is of a register that Bad does not have"),
    (lambda: Timer()["crtl"], "Timer has no register 'crtl'; did you mean 'ctrl'?"),
    (lambda: Timer()["ctrl.enalbe"], "Timer.ctrl has no field 'enalbe'; did you mean 'enable'?"),
    (lambda: Timer()["count.low"], "Timer.count has no field 'low'; there are none"),
    (
        lambda: Timer().set_field("ctrl", "mode", "slwo"),
        "Timer.ctrl: field 'mode' has no value 'slwo'; did you mean 'slow'?",
    ),
    (
        lambda: _set(Timer(), "data", 7),
        "Timer.data is a Fifo and can't be set; put entries in with data.push(...), data.clear() empties it",
    ),
    (
        lambda: _set(Timer(), "buffer", b"abc"),
        "Timer.buffer has 16 bytes and is given 3; for a part of it: buffer[0:3] = ...",
    ),
    (
        lambda: Timer().after(10, print),
        "Timer ('timer') is in no machine yet, and so has neither clock nor memory: attach it first",
    ),
    (
        lambda: Timer().after(-1, 5),  # type: ignore[arg-type]
        "Timer: after and every want microseconds, not negative (every: more than 0), and a function: not (-1, 5)",
    ),
    (
        lambda: Timer("a string").read(0x10, 2),
        f"{READ_HOOK} 'a string'",
    ),
    (
        lambda: Timer(0x10000).read(0x10, 2),
        f"{READ_HOOK} 0x10000",
    ),
    (
        lambda: Timer(answers=5).write(0, 4, 1),
        f"{WRITE_HOOK} 5 (to change the register set self.NAME)",
    ),
]


@pytest.mark.parametrize(("provoke", "text"), AT_WORK)
def test_models_at_work(provoke: Callable[[], object], text: str) -> None:
    assert text_of(provoke) == text


# -- maps ----------------------------------------------------------------------------------------------------------


def test_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = tmp_path / "wrong.rdl"
    wrong.write_text("addrmap top {\n  nonsense;\n};\n")
    assert text_of(lambda: RegisterBlock.from_rdl("wrong.rdl")).startswith(
        "wrong.rdl: no registers can be read from it:\n  wrong.rdl:2:"
    )
    assert text_of(lambda: RegisterBlock.from_svd("none.svd", "TIMER")) == (
        "none.svd: no registers can be read from it:\n  No such file or directory"
    )
    svd = Path(__file__).parents[1] / "unit" / "map.svd"
    assert text_of(lambda: RegisterBlock.from_svd(svd, "TMIER")) == (
        f"{svd}: there is no peripheral 'TMIER'; did you mean 'TIMER'?"
    )
    assert messages.no_library("pyvcd", "waves") == (
        "reading this needs pyvcd, which is not installed: pip install 'nopage[waves]'"
    )


# -- places --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def m() -> Iterator[Machine]:
    with Machine(ram=32 << 20, deterministic=True) as machine:
        machine.attach("/dev/uio0", Other)
        machine.attach("/dev/timer", Other)
        yield machine


class Huge(RegisterBlock):
    size = 1 << 30
    a = Reg(0)


TAKEN = Timer()
NO_PLACE = (
    "it is like '/dev/mem@0xfe000000', '/dev/uio0', '/dev/NAME', 'pci:1234:11e8/bar0' or "
    "'./driver.py,base={address},irq={irq}'"
)
NO_INIT = "has no __init__ of its own that would take arguments"
WHICH_BAR = "either one model behind one BAR ('pci:1234:11e8/bar0'), or a mapping of BARs to models and no /bar"
PLACES: list[tuple[str, Any, dict[str, Any], str]] = [
    ("/device/uio0", Timer, {}, f"a device can't be attached to '/device/uio0': {NO_PLACE}"),
    ("pci:12", Timer, {}, f"a device can't be attached to 'pci:12': {NO_PLACE}"),
    ("/dev/mem", Timer, {}, "'/dev/mem': at which physical address? As in '/dev/mem@0xfe000000'"),
    ("/dev/uio1,iqr=9", Timer, {}, "'/dev/uio1,iqr=9': there is no setting 'iqr' here; did you mean 'irq'?"),
    ("/dev/uio1,irq=nine", Timer, {}, "'/dev/uio1,irq=nine': irq wants a number that is not negative, not 'nine'"),
    (
        "/dev/uio1", dict, {},
        "/dev/uio1: what is attached is a class derived from RegisterBlock or an object of one, not <class 'dict'>",
    ),
    (
        "/dev/uio1", Timer(), {"start": 5},
        "/dev/uio1: start: arguments go to the class (Timer), but this is an object of it already",
    ),
    (
        "/dev/uio1", Timer, {"anwser": 5},
        "/dev/uio1: FILE:N: Timer.__init__: got an unexpected keyword argument 'anwser'",
    ),
    (
        "/dev/uio1", Other, {"answer": 5},
        f"/dev/uio1: Other {NO_INIT}: got an unexpected keyword argument 'answer'",
    ),
    ("/dev/mem@0x100000", Timer, {}, "/dev/mem@0x100000: timer can't be at 0x100000: there is RAM"),
    ("/dev/mem@0xfe000800", Timer, {}, "/dev/mem@0xfe000800: timer can't be at 0xfe000800: not the start of a page"),
    ("/dev/mem@0xf0000", Timer, {}, "/dev/mem@0xf0000: timer can't be at 0xf0000: System ROM is there"),
    ("/dev/uio0", Timer, {}, "/dev/uio0: there is such a device already ('other')"),
    ("/dev/timer", Timer, {}, "/dev/timer: there is such a device already ('timer')"),
    ("/dev/uio1", Huge, {}, "/dev/uio1: there is no free range of 0x40000000 bytes for Huge"),
    (
        "pci:1234:11e8", Timer, {},
        f"pci:1234:11e8: {WHICH_BAR}",
    ),
    ("/dev/uio1,irq=5000", Timer, {}, "/dev/uio1,irq=5000: the driver uio did not take the device: -22"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "model", "arguments", "text"), PLACES)
def test_places(m: Machine, where: str, model: Any, arguments: dict[str, Any], text: str) -> None:
    before = len(m.kernel.bus.blocks)
    assert text_of(lambda: m.attach(where, model, **arguments)) == text
    assert len(m.kernel.bus.blocks) == before


def test_one_object_in_two_places(m: Machine) -> None:
    block = m.attach("/dev/mem@0xfd000000", Timer())
    assert text_of(lambda: m.attach("/dev/uio7", block)) == (
        "/dev/uio7: this Timer ('timer') is attached already; attach the class, or make another object"
    )
    assert text_of(block.raise_irq) == (
        "Timer ('timer') is wired to no interrupt line: give it one in its class (irq = 9) or where it is attached "
        "('/dev/mem@0xfe000000,irq=9')"
    )


def test_a_full_bus(m: Machine) -> None:
    def fill() -> None:
        while True:
            m.attach("pci:1234:0001/bar0", Other)

    assert text_of(fill) == "there is no free slot on PCI bus 0; name one of another bus: 'pci:1234:11e8@01:04.0/bar0'"


def test_words_of_the_command_line(m: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from machine.attach import attach_words

    monkeypatch.chdir(tmp_path)
    Path("models.py").write_text(
        "from machine.testing import Reg, RegisterBlock\n\nclass Timer(RegisterBlock):\n    a = Reg(0)\n"
    )
    assert text_of(lambda: attach_words(m, "/dev/uio5")) == (
        "'/dev/uio5' is not WHERE=FILE.py:CLASS, like /dev/uio0=timer.py:Timer or /dev/uio0=timer.py:Timer(start=5)"
    )
    assert text_of(lambda: attach_words(m, "/dev/uio5=none.py:Timer")) == (
        "--attach /dev/uio5=none.py:Timer: none.py: No such file or directory"
    )
    assert text_of(lambda: attach_words(m, "/dev/uio5=models.py:Tmier")) == (
        "--attach /dev/uio5=models.py:Tmier: models.py has no device model 'Tmier'; did you mean 'Timer'?"
    )


WRONG_FILES = [
    (
        "class A(RegisterBlock):\n    a = Reg(0)\n    b = Reg(2)\n", "A",
        "models.py:4: A.b (0x2, 4 bytes) overlaps A.a (0x0, 4 bytes), declared at models.py:3",
    ),
    (
        'class A(RegisterBlock):\n    a = Reg(0, fields={"x": Field(0, vales={})})\n', "A",
        "models.py:3: TypeError: Field takes no argument 'vales'; did you mean 'values'?",
    ),
    ("import nothere\n", "A", "models.py:2: ModuleNotFoundError: No module named 'nothere'"),
    (
        "class A(RegisterBlock):\n    def __init__(self):\n        super().__init__()\n        self.x = 1 // 0\n", "A",
        "models.py:5: ZeroDivisionError: integer division or modulo by zero",
    ),
    (
        "class A(RegisterBlock):\n    a = Reg(0)\n", "A(strat=5)",
        "/dev/uio5: A has no __init__ of its own that would take arguments: got an unexpected keyword argument 'strat'",
    ),
    ("class A(RegisterBlock):\n    a = Reg(0\n", "A", "models.py: '(' was never closed (models.py, line 3)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "said"), WRONG_FILES)
def test_files_of_models(m: Machine, project: Path, text: str, name: str, said: str) -> None:
    """No traceback of ours: the file's own line."""
    from machine.attach import attach_words

    Path("models.py").write_text(f"from machine.testing import Field, Reg, RegisterBlock\n{text}")
    spec = f"/dev/uio5=models.py:{name}"
    assert text_of(lambda: attach_words(m, spec)) == f"--attach {spec}: {said}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_waves_without_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Machine(ram=32 << 20, deterministic=True) as machine:
        assert text_of(lambda: machine.waves("out.vcd")) == (
            "out.vcd: there is no device whose registers it could show: attach it first"
        )


class Card(PciFunction):
    vendor, device = 0x1234, 0x0002


class Crowded(PciFunction):
    def __init__(self) -> None:
        super().__init__(bars=[Bar(4096) for _ in range(7)])


class Wordy(PciFunction):
    def __init__(self) -> None:
        super().__init__(capabilities=[Capability(9, bytes(200))])


def _bus() -> Bus:
    made = Bus(None, Ram(32 << 20))
    made.attach(TAKEN, 0xFE000000)
    made.attach_memory(bytearray(4096), 0xFD000000)
    return made


HARDWARE: list[tuple[Callable[[], object], str]] = [
    (lambda: _bus().attach(Timer(), 0xFE000010), "timer can't be at 0xfe000010: not the start of a page"),
    (
        lambda: _bus().attach(Timer(), 1 << 52),
        "timer can't be at 0x10000000000000: beyond the processor's addresses",
    ),
    (lambda: _bus().attach(Timer(), 0x100000), "timer can't be at 0x100000: there is RAM"),
    (lambda: _bus().attach(Timer(), 0xFE000000), "timer can't be at 0xfe000000: timer is at 0xfe000000"),
    (lambda: _bus().attach(Timer(), 0xFD000000), "timer can't be at 0xfd000000: device memory is at 0xfd000000"),
    (lambda: _bus().detach(Timer()), "timer is not on the bus"),
    (lambda: _bus().detach_memory(0xFC000000), "there is no device memory at 0xfc000000"),
    (lambda: Arrayed().many[4], "many[4]: there are 4"),
    (lambda: Bar(100), "a BAR takes a power of two from 4096 to 0x80000000 bytes, not 0x64"),
    (lambda: Bar(4096, memory=8192), "BAR of 0x1000 bytes: 0x2000 bytes behind it can't be, with 32 bits"),
    (Crowded, "Crowded: 7 base address registers, there are 6"),
    (Wordy, "Wordy: the capabilities don't fit the config space"),
    (lambda: Card().raise_irq(), "Card has no interrupt: set its irq_pin, or msi"),
    (lambda: Card().call_later(1, print), "Card is in no machine"),
]


class Arrayed(RegisterBlock):
    many = RegArray(0, 4)


@pytest.mark.parametrize(("provoke", "text"), HARDWARE)
def test_addresses_and_cards(provoke: Callable[[], object], text: str) -> None:
    assert text_of(provoke) == text


def test_slots() -> None:
    with Machine(ram=32 << 20, deterministic=True) as machine:
        machine.plug(Card(), "00:04.0")
        assert text_of(lambda: machine.plug(Card(), "00:04.0")) == "00:04.0: slot 04.0 is taken by Card"
        assert text_of(lambda: machine.plug(Card(), "slot 4")) == (
            "slot 4: 'slot 4' is no PCI slot; write it like 00:04.0 (bus, device 00 to 1f, function 0 to 7)"
        )
        assert text_of(lambda: machine.plug(Card(), None)) == (  # type: ignore[arg-type]
            "'None' is no PCI slot; write it like 00:04.0 (bus, device 00 to 1f, function 0 to 7)"
        )
        buses = ", ".join(str(each.number) for each in machine.kernel.pci.buses)
        assert (
            text_of(lambda: machine.plug(Card(), "77:04.0")) == f"77:04.0: there is no PCI bus 119: there are {buses}"
        )
        assert text_of(lambda: machine.attach("pci:1234:0003@00:05.0/bar0", Huge)) == (
            "00:05.0: no room for its BARs in the windows of bus 0"
        )


class Unmade(Card):
    def __init__(self) -> None:
        pass


def test_what_is_no_card() -> None:
    """A refused card leaves nothing behind: the next is plugged in as if nothing had been."""
    with Machine(ram=32 << 20, deterministic=True) as machine:
        for given, text in (
            (Card, "Card is a class; plug in a card of it: Card()"),
            (None, "None is no card (PciFunction)"),
            (5, "5 is no card (PciFunction)"),
            (Unmade(), "Unmade.__init__ did not call super().__init__()"),
        ):
            assert text_of(lambda given=given: machine.plug(given, "00:05.0")) == f"00:05.0: {text}"
        card = Card()
        machine.plug(card, "00:05.0")
        assert text_of(lambda: machine.plug(card, "00:06.0")) == (
            "00:06.0: this card is in slot 05.0 already; make another"
        )
        machine.plug(Card(), "00:06.0")
        slots = [each.devfn >> 3 for each in machine.kernel.pci.devices if each.bus.number == 0]
        assert slots.count(5) == slots.count(6) == 1
    assert text_of(lambda: PciFunction(bars=Bar(4096))).startswith("bars= takes a list of Bar and None, not <")  # type: ignore[arg-type]
    assert text_of(lambda: PciFunction(bars=[4096])) == "bars= takes a list of Bar and None, not 4096"  # type: ignore[list-item]
    assert text_of(lambda: Bar(block=Arrayed)) == (  # type: ignore[arg-type]
        "block=Arrayed: it is a class; give a block of it: Arrayed()"
    )
    assert text_of(lambda: Bar(block=7)) == "block=7: it is no RegisterBlock"  # type: ignore[arg-type]


# -- expected accesses ---------------------------------------------------------------------------------------------


EXPECTED: list[tuple[Any, str]] = [
    (
        [1],
        "FILE:N: assert_writes: an access is expected as ('ctrl', 1), ('ctrl', ANY), 'ctrl' or ..., not as 1",
    ),
    ([("tmier.ctrl", 1)], "FILE:N: 'tmier.ctrl': there is no device 'tmier'; did you mean 'timer'?"),
    ([("timer.crtl", 1)], "FILE:N: Timer has no register 'crtl'; did you mean 'ctrl'?"),
    ([("crtl", 1)], "FILE:N: Timer has no register 'crtl'; did you mean 'ctrl'?"),
    ([("ctrl", {"enalbe": 1})], "FILE:N: Timer.ctrl has no field 'enalbe'; did you mean 'enable'?"),
    ([("ctrl", {"mode": "slwo"})], "FILE:N: Timer.ctrl: field 'mode' has no value 'slwo'; did you mean 'slow'?"),
    (
        [("ctrl", 1)],
        (
            "register writes differ: 1 expected, 0 made\n"
            "       expected                     made\n"
            ">   0  ctrl = 1                     (nothing)"
        ),
    ),
    (
        [("ctrl", 1), ..., "count"],
        "register writes differ: ctrl = 1 was expected, and did not come; 0 were made",
    ),
]


@pytest.fixture(scope="module")
def log() -> Iterator[BusLog]:
    with Machine(ram=32 << 20, deterministic=True) as machine:
        machine.attach("/dev/mem@0xfe000000", Timer)
        yield BusLog.of_machine(machine)


@pytest.mark.parametrize(("expected", "text"), EXPECTED)
def test_expectations(log: BusLog, expected: Any, text: str) -> None:
    assert text_of(lambda: log.assert_writes(expected)) == text


def test_expectations_of_reads_and_writes(log: BusLog) -> None:
    assert text_of(lambda: log.assert_accesses([("ctrl", ANY)])) == (
        "FILE:N: assert_accesses: an access is expected as ('write', 'ctrl', 1) or ('read', 'count', ANY) or ..., "
        "not as ('ctrl', ANY)"
    )
    assert text_of(lambda: log.assert_no_access_to("cuont")) == (
        "FILE:N: Timer has no register 'cuont'; did you mean 'count'?"
    )


def test_long_comparisons_are_cut() -> None:
    from machine.events import RegisterAccess

    many = BusLog([RegisterAccess("timer", "count", 4, 4, True, number, 0x401000, 2) for number in range(100)])
    lines = text_of(lambda: many.assert_writes([("count", number) for number in range(99)])).splitlines()
    assert lines[0] == "register writes differ: 99 expected, 100 made" and lines[2] == "  ...  60 more"
    assert len(lines) == 43 and lines[-1].split()[:4] == [">", "99", "(nothing)", "timer.count"]
    gap = text_of(lambda: many.assert_writes([("count", 0), ..., ("count", 98)]))
    assert gap.splitlines()[0] == "register writes differ: nothing was expected after the first 99; 100 were made"


def test_with_gaps_the_candidates_are_marked() -> None:
    from machine.events import RegisterAccess

    some = BusLog([RegisterAccess("timer", name, 0, 4, True, 1, 0x401000, 2) for name in ("ctrl", "period", "status")])
    assert text_of(lambda: some.assert_writes(["ctrl", ..., ("status", 2)])) == (
        "register writes differ: status = 2 was expected in one of those marked; 3 were made\n"
        "    0  write timer.ctrl = 1, 4 bytes at 0x401000, process 2\n"
        ">   1  write timer.period = 1, 4 bytes at 0x401000, process 2\n"
        ">   2  write timer.status = 1, 4 bytes at 0x401000, process 2"
    )
    assert text_of(lambda: some.assert_no_access_to("ctrl", "timer.status")) == (
        "no access to ctrl, timer.status was expected; there were 2:\n"
        "  write timer.ctrl = 1, 4 bytes at 0x401000, process 2\n"
        "  write timer.status = 1, 4 bytes at 0x401000, process 2"
    )


def test_what_follows_no_gap_has_one_place() -> None:
    """Only what stands behind `...` may be anywhere; equal accesses behind each other are one line."""
    from machine.events import RegisterAccess

    def made(*names: str) -> BusLog:
        return BusLog([RegisterAccess("timer", name, 0, 4, True, 1, 0x401000, 2) for name in names])

    assert text_of(lambda: made("ctrl", "period", "period").assert_writes(["period", "ctrl", ...])) == (
        "register writes differ: period = ANY was expected where the mark is; 3 were made\n"
        ">   0  write timer.ctrl = 1, 4 bytes at 0x401000, process 2\n"
        "    1  write timer.period = 1, 4 bytes at 0x401000, process 2, 2 times"
    )
    assert text_of(lambda: made("ctrl", "period", "ctrl", "count").assert_writes([..., "ctrl", "status", ...])) == (
        "register writes differ: status = ANY was expected in one of those marked; 4 were made\n"
        "    0  write timer.ctrl = 1, 4 bytes at 0x401000, process 2\n"
        ">   1  write timer.period = 1, 4 bytes at 0x401000, process 2\n"
        "    2  write timer.ctrl = 1, 4 bytes at 0x401000, process 2\n"
        ">   3  write timer.count = 1, 4 bytes at 0x401000, process 2"
    )
    assert text_of(lambda: made("ctrl", "period", "ctrl", "count").assert_writes([..., "ctrl"])) == (
        "register writes differ: nothing was expected after the first 3; 4 were made\n"
        "    0  write timer.ctrl = 1, 4 bytes at 0x401000, process 2\n"
        "    1  write timer.period = 1, 4 bytes at 0x401000, process 2\n"
        "    2  write timer.ctrl = 1, 4 bytes at 0x401000, process 2\n"
        ">   3  write timer.count = 1, 4 bytes at 0x401000, process 2"
    )
    assert text_of(lambda: made("ctrl").assert_writes(["ctrl", "period", ...])) == (
        "register writes differ: period = ANY was expected, and did not come; 1 were made\n"
        "    0  write timer.ctrl = 1, 4 bytes at 0x401000, process 2"
    )
    many = made("ctrl", *["status"] * 97, "period")
    assert text_of(lambda: many.assert_writes(["ctrl", "period"])).splitlines()[3:] == [
        ">   1  (nothing)                    timer.status = 1, 4 bytes at 0x401000, process 2, 97 times",
        "   98  period = ANY                 timer.period = 1, 4 bytes at 0x401000, process 2",
    ]
    assert text_of(lambda: many.assert_no_access_to("status")) == (
        "no access to status was expected; there were 97:\n"
        "  write timer.status = 1, 4 bytes at 0x401000, process 2, 97 times"
    )


class Own(Timer):
    """Names of its own, close to those of registers and fields."""

    statsu = Reg(0x20)
    contrl: int
    Ctrl = 7

    def __init__(self) -> None:
        super().__init__()
        self.stats = {}  # type: ignore[var-annotated]

    def reset(self) -> None:
        super().reset()
        self.modes = self.coutn = 0


MISTYPED = [
    ("crtl", "ctrl", "register"), ("Count", "count", "register"), ("coutn", "count", "register"),
    ("buffr", "buffer", "register"), ("bufferr", "buffer", "register"), ("bufger", "buffer", "register"),
    ("enable", "self['ctrl.enable']", "field"), ("enalbe", "self['ctrl.enable']", "field"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "meant", "kind"), MISTYPED)
def test_a_mistyped_register(name: str, meant: str, kind: str) -> None:
    device = Timer()
    assert text_of(lambda: _set(device, name, 1)) == (
        f"Timer has no register '{name}'; did you mean {meant}, its {kind}? (An attribute of the model's own that is "
        "so close to it has an annotation in the class, or is set in __init__ or reset)"
    )
    assert name not in vars(device)


def test_a_models_own_attributes() -> None:
    device = Own()
    names = ("stats", "statsu", "contrl", "Ctrl", "modes", "coutn", "_count", "counts", "count2", "cmd", "colour")
    for number, name in enumerate(names):
        _set(device, name, number)
    assert [getattr(device, name) for name in names] == list(range(len(names)))
    assert text_of(lambda: _set(Timer(), "coutn", 1)).startswith("Timer has no register 'coutn'; did you mean count")


def test_arguments_of_fields() -> None:
    with pytest.raises(TypeError, match=r"^Field takes no argument 'vales'; did you mean 'values'\?$"):
        Field(0, vales={"off": 0})  # type: ignore[call-arg]
    for bits in ("2:3", "2-3", "", "a:b"):
        with pytest.raises(ValueError) as caught:
            Field(bits)
        assert str(caught.value) == (
            f"Field({bits!r}): bits are given as a number, or as 'HIGH:LOW' with the higher first, like '7:4'"
        )
    with pytest.raises(TypeError) as wrong:
        Field(0, values=["off", "on"])
    assert str(wrong.value) == (
        "Field: values is a mapping of names to numbers, like {'off': 0, 'on': 1}, or an enum, not ['off', 'on']"
    )


def test_an_attribute_that_is_not_there() -> None:
    """In what a model raises: Python's own words, and what is meant."""
    device = Timer()
    device.name = "timer"

    def said(provoke: Callable[[], object]) -> str:
        with pytest.raises(AttributeError) as caught:
            provoke()
        return messages.model_failed(device, "a read", caught.value, [], True, []).splitlines()[0]

    head = "Timer ('timer') raised AttributeError in a read:"
    assert said(lambda: device.cuont) == f"{head} 'Timer' object has no attribute 'cuont'; did you mean 'count'?"  # type: ignore[attr-defined]
    assert said(lambda: device.ctrl.enable) == (  # type: ignore[attr-defined]
        f"{head} 'int' object has no attribute 'enable'; a field is self['ctrl.enable']"
    )
    assert said(lambda: device.whatever) == f"{head} 'Timer' object has no attribute 'whatever'"  # type: ignore[attr-defined]


def test_arguments_of_registers() -> None:
    with pytest.raises(TypeError, match=r"^Reg takes no argument 'acces'; did you mean 'access'\?$"):
        Reg(0, acces="ro")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"^Fifo takes no argument 'size'; there are: offset, depth, "):
        Fifo(0, 4, size=3)  # type: ignore[call-arg]


def test_every_text_is_used() -> None:
    """None is left over; and models are refused with a text of this module everywhere."""
    import ast

    package = Path(messages.__file__).parent
    bodies = [ast.parse(path.read_text()).body for path in package.glob("*.py")]
    texts = {node.name for body in bodies for node in body if isinstance(node, ast.FunctionDef)}
    assert len(texts) > 100
    sources = {path: path.read_text() for path in package.parents[1].rglob("*.py")}
    used = set(re.findall(r"(?<!def )\b\w+\b", "\n".join(sources.values())))
    assert texts - used == set()
    assert "no_such_text" not in used
    raised = re.compile(r"raise RegisterError\(\s*(?!messages\.|getattr\(messages)\S")
    assert [str(path) for path, text in sources.items() if raised.search(text)] == []
