"""The description of a board, read and checked: every mistake is reported with its line."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Optional

from machine.errors import ConfigError
from machine.hardware.board import SYSTEM_ROM_SIZE, Card, Layout
from machine.hardware.chipset import MAX_BRIDGES, Windows
from machine.hardware.pci import PciError, PciFunction
from machine.hardware.pci_bus import PIRQ, parse_slot
from machine.hardware.ram import PAGE_SIZE, PCI_HOLE_END, PCI_HOLE_START, MiB
from machine.hardware.registers import RegisterBlock, RegisterError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KNOWN = {
    "": ("description", "rom", "option-rom", "pci", "bridge", "card", "block"),
    "rom": ("system",),
    "option-rom": ("address", "file"),
    "pci": ("memory", "prefetchable", "io", "wires"),
    "bridge": ("slot", "memory", "prefetchable", "io"),
    "card": ("slot", "model", "rom"),
    "block": ("address", "model"),
}
"""The tables, and the keys of each."""
_LISTS = ("option-rom", "bridge", "card", "block")
_OPTION_ROMS = (0xC0000, 0xF0000)
_CARDS = "machine.hardware.cards"


class BoardFile:
    """One description: `layout`, and `files` that it depends on, itself first.  ConfigError names file and line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = [str(path)]
        try:
            self.text = path.read_text()
            self.data: dict[str, Any] = tomllib.loads(self.text)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from None
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            raise ConfigError(f"{path}:{line[1]}: {error}" if line else f"{path}: {error}") from None
        except (ValueError, RecursionError) as error:  # a number of 5,000 digits, 3,000 brackets
            raise ConfigError(f"{path}: {error}") from None
        self._check_names()
        self.description = str(self.data.get("description", ""))
        self.layout = self._lay_out()

    # -- where something is ----------------------------------------------------------------------

    def line(self, table: str, index: int = 0, key: str = "") -> int:
        """The line of a key, or of its table's head: the `index`-th ``[[table]]``."""
        head = re.compile(rf"\s*\[+\s*{re.escape(table)}\s*\]+")
        seen, start = -1, 0 if not table else None
        for number, text in enumerate(self.text.splitlines(), 1):
            if text.lstrip().startswith("["):
                if start is not None and table:
                    break
                if table and head.match(text):
                    seen += 1
                    start = number if seen == index else None
                elif not table:
                    break
            elif start is not None and key and re.match(rf"\s*{re.escape(key)}\s*=", text):
                return number
        return start or 1

    def line_of_slot(self, slot: str) -> int:
        """The line of the card or bridge in a slot (``01:00.0``), 0 when there is none."""
        wanted = parse_slot(slot)
        for table in ("card", "bridge"):
            for index, each in enumerate(self.data.get(table, ())):
                if parse_slot(each["slot"]) == wanted:
                    return self.line(table, index, "slot")
        return 0

    def wrong(self, why: str, table: str = "", index: int = 0, key: str = "") -> NoReturn:
        """Refuse the description."""
        raise ConfigError(f"{self.path}:{self.line(table, index, key)}: {why}")

    # -- checks ----------------------------------------------------------------------------------

    def _check_names(self) -> None:
        from machine.options import did_you_mean

        for name, value in self.data.items():
            if name not in KNOWN[""]:
                what = "table" if isinstance(value, (dict, list)) else "key"
                where = (name, 0, "") if isinstance(value, (dict, list)) else ("", 0, name)
                self.wrong(f"there is no {what} '{name}'{did_you_mean(name, KNOWN[''])}", *where)
            if name == "description":
                continue
            tables = value if isinstance(value, list) else [value]
            if isinstance(value, list) != (name in _LISTS) or not all(isinstance(each, dict) for each in tables):
                self.wrong(f"'{name}' is written as {f'[[{name}]]' if name in _LISTS else f'[{name}]'}", name)
            for index, table in enumerate(tables):
                for key in table:
                    if key not in KNOWN[name]:
                        hint = did_you_mean(key, KNOWN[name])
                        self.wrong(f"[{name}] has no key '{key}'{hint}", name, index, key)

    def _get(self, table: dict[str, Any], kind: type, name: str, index: int, key: str) -> Any:
        value = table.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            what = "a number" if kind is int else "a text in quotes"
            self.wrong(f"[{name}] wants {key} = {what}", name, index, key)
        return value

    def _window(self, table: dict[str, Any], name: str, index: int, key: str, step: int) -> Optional[tuple[int, int]]:
        if key not in table:
            return None
        value = table[key]
        if not (isinstance(value, list) and len(value) == 2 and all(isinstance(n, int) for n in value)):
            self.wrong(f"{key} is the first and the last address: {key} = [0x..., 0x...]", name, index, key)
        first, last = value
        if first % step or (last + 1) % step or first > last:
            whole = "MiB" if step == MiB else "4 KiB"
            self.wrong(f"{key} {first:#x} to {last:#x} is not in whole {whole}", name, index, key)
        if key == "io" and not 0 <= first <= last <= 0xFFFF:
            self.wrong(f"ports go from 0 to 0xffff, not {first:#x} to {last:#x}", name, index, key)
        if key != "io" and not (first >= PCI_HOLE_START and last + 1 < PCI_HOLE_END):
            hole = f"{PCI_HOLE_START:#x} to {PCI_HOLE_END - MiB - 1:#x}"
            self.wrong(f"{key} {first:#x} to {last:#x} is not in the hole that RAM leaves: {hole}", name, index, key)
        return first, last

    def _windows(self, table: dict[str, Any], name: str, index: int) -> Windows:
        memory, prefetchable = (self._window(table, name, index, key, MiB) for key in ("memory", "prefetchable"))
        return Windows(memory, prefetchable, self._window(table, name, index, "io", PAGE_SIZE))

    # -- files -----------------------------------------------------------------------------------

    def _find(self, file: str, name: str, index: int, key: str) -> Path:
        import firmware

        places = (self.path.parent, firmware.IMAGES)
        found = next(((place / file).resolve() for place in places if (place / file).is_file()), None)
        if found is None:
            self.wrong(f"there is no file {file} (looked in {places[0]} and {places[1]})", name, index, key)
        if str(found) not in self.files:
            self.files.append(str(found))
        return found

    def _rom(self, table: dict[str, Any], name: str, index: int, key: str) -> bytes:
        data = self._find(self._get(table, str, name, index, key), name, index, key).read_bytes()
        if not data or len(data) % 512 or len(data) > SYSTEM_ROM_SIZE:
            self.wrong(f"{table[key]} has {len(data)} bytes: a ROM has 512 to 65536, in steps of 512", name, index, key)
        return data

    def _model(self, table: dict[str, Any], name: str, index: int, base: type) -> Callable[[], Any]:
        """The class behind ``model``: a card of nopage by its name, or ``FILE.py:CLASS``."""
        text = self._get(table, str, name, index, "model")
        file, colon, wanted = text.partition(":")
        try:
            if file.endswith(".py"):
                found = _execute(self._find(file, name, index, "model"))
            else:
                module = importlib.import_module(f"{_CARDS}.{file}")
                self.files.append(str(module.__file__))
                found = vars(module)
        except ConfigError:
            raise
        except ImportError:
            self.wrong(f"there is no card '{text}': it is one of nopage's, or FILE.py:CLASS", name, index, "model")
        except (Exception, SystemExit) as error:
            self.wrong(f"{file} fails: {type(error).__name__}: {error}", name, index, "model")
        kinds = [each for each in found.values() if isinstance(each, type) and issubclass(each, base)]
        if colon:
            classes = [each for each in kinds if each.__name__ == wanted]
        else:
            classes = [each for each in kinds if each is not base and each.__module__ == found["__name__"]]
        if len(classes) != 1:
            kind = "register block" if base is RegisterBlock else "PCI card"
            self.wrong(f"{file} has {'no' if not classes else 'more than one'} {kind}"
                       f"{f' {wanted}' if colon else ''}: write FILE.py:CLASS", name, index, "model")  # fmt: skip

        def make() -> Any:
            try:
                return classes[0]()
            except (PciError, RegisterError, TypeError) as error:
                self.wrong(f"{text}: {error}", name, index, "model")
            except (Exception, SystemExit) as error:
                self.wrong(f"{text} fails: {type(error).__name__}: {error}", name, index, "model")

        make()
        return make

    # -- the whole -------------------------------------------------------------------------------

    def _lay_out(self) -> Layout:
        data = self.data
        if "rom" not in data:
            self.wrong("a board has a system ROM: [rom] with system = FILE")
        system = self._rom(data["rom"], "rom", 0, "system")
        if len(system) != SYSTEM_ROM_SIZE:
            self.wrong(f"the system ROM has {SYSTEM_ROM_SIZE} bytes, not {len(system)}", "rom", 0, "system")
        pci = data.get("pci", {})
        wires = pci.get("wires", list(PIRQ))
        if not isinstance(wires, list) or len(wires) != 4 or not all(isinstance(n, int) and 0 < n < 16 for n in wires):
            self.wrong("wires are four interrupt lines from 1 to 15", "pci", 0, "wires")
        bridges = [self._slot(each, "bridge", n)[1] for n, each in enumerate(data.get("bridge", ()))]
        if len(bridges) > MAX_BRIDGES:
            self.wrong(f"the firmware knows {MAX_BRIDGES} bridges", "bridge", MAX_BRIDGES)
        windows = [self._windows(pci, "pci", 0)]
        windows += [self._windows(each, "bridge", n) for n, each in enumerate(data.get("bridge", ()))]
        cards = [self._card(each, n, len(bridges)) for n, each in enumerate(data.get("card", ()))]
        self._check_slots(bridges, cards)
        roms = [self._option_rom(each, n) for n, each in enumerate(data.get("option-rom", ()))]
        self._apart("option-rom", "address", [(at, at + len(rom) - 1) for at, rom in roms])
        blocks = [self._block(each, n) for n, each in enumerate(data.get("block", ()))]
        self._apart("block", "address", [(at, at + make().size - 1) for at, make in blocks])
        for kind in range(len(Windows._fields)):
            self._apart("bridge", Windows._fields[kind], [each[kind] for each in windows[1:]])
        return Layout(system, roms, windows, bridges, cards, blocks, tuple(wires))

    def _slot(self, table: dict[str, Any], name: str, index: int) -> tuple[int, int]:
        try:
            bus, devfn = parse_slot(self._get(table, str, name, index, "slot"))
        except ValueError as error:
            self.wrong(str(error), name, index, "slot")
        if name == "bridge" and bus:
            self.wrong("bridges are on bus 0", name, index, "slot")
        return bus, devfn

    def _card(self, table: dict[str, Any], index: int, bridges: int) -> Card:
        bus, devfn = self._slot(table, "card", index)
        if bus > bridges:
            self.wrong(f"there is no bus {bus}: a [[bridge]] makes one", "card", index, "slot")
        rom = self._rom(table, "card", index, "rom") if "rom" in table else b""
        return Card(bus, devfn, self._model(table, "card", index, PciFunction), rom)

    def _check_slots(self, bridges: list[int], cards: list[Card]) -> None:
        taken = {(0, 0): "the host bridge"}
        where = [("bridge", n, (0, devfn)) for n, devfn in enumerate(bridges)]
        where += [("card", n, (card.bus, card.devfn)) for n, card in enumerate(cards)]
        for name, index, slot in where:
            if slot in taken:
                self.wrong(f"the slot is taken: {taken[slot]}", name, index, "slot")
            taken[slot] = f"a {name} in line {self.line(name, index)}"

    def _option_rom(self, table: dict[str, Any], index: int) -> tuple[int, bytes]:
        address = self._get(table, int, "option-rom", index, "address")
        data = self._rom(table, "option-rom", index, "file")
        first, end = _OPTION_ROMS
        if address % 2048 or not first <= address or address + len(data) > end:
            self.wrong(f"an option ROM starts at a multiple of 2 KiB and lies from {first:#x} to {end - 1:#x}",
                       "option-rom", index, "address")  # fmt: skip
        return address, data

    def _apart(self, name: str, key: str, ranges: list[Optional[tuple[int, int]]]) -> None:
        """No two of the tables `name` may have an address in common; first and last address of each."""
        for index, here in enumerate(ranges):
            for other, there in enumerate(ranges[:index]):
                if here is not None and there is not None and here[0] <= there[1] and there[0] <= here[1]:
                    what = f"{key} {here[0]:#x} to {here[1]:#x} is taken" if key != "address" else "the place is taken"
                    self.wrong(f"{what}: by the {name} in line {self.line(name, other)}", name, index, key)

    def _block(self, table: dict[str, Any], index: int) -> tuple[int, Callable[[], Any]]:
        address = self._get(table, int, "block", index, "address")
        if address % PAGE_SIZE or not PCI_HOLE_START <= address < PCI_HOLE_END:
            self.wrong(f"a register block starts at a page from {PCI_HOLE_START:#x} on", "block", index, "address")
        make = self._model(table, "block", index, RegisterBlock)
        end = address + make().size
        if end > PCI_HOLE_END:
            self.wrong(f"its registers end at {end - 1:#x}, beyond the hole that RAM leaves", "block", index, "address")
        return address, make

    def summary(self) -> list[str]:
        """What ``nopage boards NAME`` shows of it."""
        layout = self.layout
        lines = [f"system ROM at 0xf0000: {self.data['rom']['system']}"]
        lines += [f"option ROM at {at:#x}: {len(rom) // 1024} KiB" for at, rom in layout.option_roms]
        for number, windows in enumerate(layout.windows):
            behind = f", behind the bridge {layout.bridges[number - 1] >> 3:02x}.0" if number else ""
            lines.append(f"PCI bus {number}{behind}")
            shown = zip(("memory", "prefetchable", "io"), windows, strict=True)
            lines += [f"  {kind:<12} {each[0]:08x}-{each[1]:08x}" for kind, each in shown if each is not None]
            lines += [f"  {card.devfn >> 3:02x}.{card.devfn & 7}         {_about(card)}" for card in layout.cards
                      if card.bus == number]  # fmt: skip
        lines += [f"registers at {at:#x}: {make().name}" for at, make in layout.blocks]
        return lines


def _about(card: Card) -> str:
    function = card.make()
    text = (type(function).__doc__ or type(function).__name__).splitlines()[0].rstrip(".")
    bars = ", ".join(f"BAR {n} {bar.size:#x}" for n, bar in function.bars.items())
    return f"{function.vendor:04x}:{function.device:04x} {text}" + (f" ({bars})" if bars else "")


def _execute(path: Path) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), namespace)
    return namespace
