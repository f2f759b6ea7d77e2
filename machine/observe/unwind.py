"""Who called whom: a process's stack by .eh_frame and .debug_frame, read by pyelftools, else by frame pointers.

Code without either (a system call's stub in a small libc) is taken for a function that has not touched the stack, where
the word on top of it follows a call instruction.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Optional

from machine.observe.elffile import FRAMES_WORK, ElfFile, Work
from machine.observe.symbols import Location, Mapping, Symbols

MAX_FRAMES = 64
_DWARF64 = ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip")
_DWARF32 = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip")
"""DWARF's numbers of the registers (psABI of x86-64 figure 3.36, of i386 table 2.14)."""
_LONGEST_CALL = 7
MOST_RULES, MOST_COPIES = 1 << 14, 1 << 21
"""Instructions of one function's call frame information, and these times the numbers in them."""


class Frame(NamedTuple):
    """One function that is running; `pc` is where it goes on."""

    number: int
    pc: int
    location: Location


class Unwinder:
    """Stacks of the processes of one machine."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._tables: dict[str, _Table] = {}

    def frames(
        self,
        registers: dict[str, int],
        bits: int,
        read: Callable[[int, int], bytes],
        mapping_at: Callable[[int], Optional[Mapping]],
    ) -> Iterator[Frame]:
        """From the innermost out.  `read(address, count)` gives what can be read, `mapping_at(address)` the file that
        is mapped executable there."""
        names = _DWARF64 if bits == 64 else _DWARF32
        values: dict[int, int] = {number: registers[name] for number, name in enumerate(names)}
        pc_number, sp_number, bp_number = (
            len(names) - 1,
            names.index(names[7 if bits == 64 else 4]),
            6 if bits == 64 else 5,
        )
        word = bits // 8

        def load(address: int) -> Optional[int]:
            data = read(address & ((1 << bits) - 1), word)
            return int.from_bytes(data, "little") if len(data) == word else None

        for number in range(MAX_FRAMES):
            pc = values[pc_number]
            inside = pc if number == 0 else pc - 1  # a call may be the last instruction of its function
            yield Frame(number, pc, self._symbols.locate(inside, mapping_at(inside)))
            row = self._row(inside, mapping_at(inside))
            if row is None:
                caller = _by_guess(values, pc_number, sp_number, bp_number, word, number == 0, load, read, mapping_at)
            else:
                caller = _by_table(row, values, pc_number, sp_number, load)
            if caller is None or not caller[pc_number] or mapping_at(caller[pc_number] - 1) is None:
                return
            if caller[sp_number] <= values[sp_number]:
                return
            values = caller

    def _row(self, address: int, mapping: Optional[Mapping]) -> Optional[_Row]:
        elf = self._symbols.elf(mapping)
        if elf is None or mapping is None:
            return None
        table = self._tables.get(mapping[0])
        if table is None:
            table = self._tables[mapping[0]] = _Table(elf.file)
        return table.row(address - elf.bias(mapping[1], mapping[2]))


class _Row(NamedTuple):
    """The rules at one instruction; `return_register` is DWARF's number of the column with the return address."""

    rules: dict[Any, Any]
    return_register: int


class _Table:
    """The call frame information of one file."""

    def __init__(self, elf: ElfFile) -> None:
        self._entries: list[tuple[int, int, Any]] = []
        try:
            dwarf = elf.frames(Work(FRAMES_WORK))
            entries = [
                *(dwarf.EH_CFI_entries() if dwarf.has_EH_CFI() else ()),
                *(dwarf.CFI_entries() if dwarf.has_CFI() else ()),
            ]
        except Exception:  # of a kind that pyelftools can't read, or too much: by guess then
            entries = []
        for entry in entries:
            if type(entry).__name__ == "FDE" and entry.header.address_range:
                start = entry.header.initial_location
                self._entries.append((start, start + entry.header.address_range, entry))
        self._entries.sort(key=lambda each: each[0])
        self._starts = [each[0] for each in self._entries]

    def row(self, address: int) -> Optional[_Row]:
        index = bisect_right(self._starts, address) - 1
        if index < 0 or address >= self._entries[index][1]:
            return None
        try:
            return self._rules(self._entries[index][2], address)
        except Exception:  # rules that make no sense: by guess then
            return None

    def _rules(self, entry: Any, address: int) -> Optional[_Row]:
        rules: Optional[dict[Any, Any]] = None
        if not _is_reasonable(entry):
            return None
        for each in entry.get_decoded().table:
            if each["pc"] > address:
                break
            rules = each
        return None if rules is None else _Row(rules, entry.cie.header.return_address_register)


def _is_reasonable(entry: Any) -> bool:
    """Whether its table may be made: each advance copies the rules of all registers."""
    rules = [*entry.cie.instructions, *entry.instructions]
    registers = {each.args[0] for each in rules if each.args and isinstance(each.args[0], int)}
    return len(rules) <= MOST_RULES and len(registers) * len(rules) <= MOST_COPIES


def _by_table(
    row: _Row, values: dict[int, int], pc: int, sp: int, load: Callable[[int], Optional[int]]
) -> Optional[dict[int, int]]:
    rule = row.rules["cfa"]
    if rule.reg is None or rule.reg not in values:  # an expression: signal frames, and the PLT
        return None
    cfa = values[rule.reg] + rule.offset
    caller = dict(values)
    caller[sp] = cfa
    for number, saved in row.rules.items():
        if isinstance(number, int) and (number in values or number == row.return_register):
            found = _saved(saved, number, cfa, values, load)
            if found is None and number == row.return_register:
                return None
            if found is not None:
                caller[pc if number == row.return_register else number] = found
    return caller if row.return_register in row.rules else None


def _saved(
    rule: Any, number: int, cfa: int, values: dict[int, int], load: Callable[[int], Optional[int]]
) -> Optional[int]:
    if rule.type == "OFFSET":
        return load(cfa + rule.arg)
    if rule.type == "VAL_OFFSET":
        return int(cfa + rule.arg)
    if rule.type == "REGISTER":
        return values.get(rule.arg)
    return values.get(number) if rule.type == "SAME_VALUE" else None


def _by_guess(
    values: dict[int, int], pc: int, sp: int, bp: int, word: int, innermost: bool,
    load: Callable[[int], Optional[int]], read: Callable[[int, int], bytes],
    mapping_at: Callable[[int], Optional[Mapping]],
) -> Optional[dict[int, int]]:  # fmt: skip
    top = load(values[sp])
    if innermost and top is not None and _follows_call(top, read, mapping_at):
        return values | {pc: top, sp: values[sp] + word}
    frame = values[bp]
    saved, back = load(frame), load(frame + word)
    if saved is None or back is None or frame < values[sp] or not _follows_call(back, read, mapping_at):
        return None
    return values | {pc: back, sp: frame + 2 * word, bp: saved}


def _follows_call(
    address: int, read: Callable[[int, int], bytes], mapping_at: Callable[[int], Optional[Mapping]]
) -> bool:
    if mapping_at(address) is None:
        return False
    before = read(address - _LONGEST_CALL, _LONGEST_CALL)
    if len(before) < _LONGEST_CALL:
        return False
    if before[2] == 0xE8:
        return True
    return any(before[-n] == 0xFF and before[-n + 1] >> 3 & 7 == 2 for n in range(2, _LONGEST_CALL + 1))
