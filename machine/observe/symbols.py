"""Names for addresses: ``symbol+offset`` from an ELF file's symbol tables, ``file:line`` from its DWARF line table.

A file is read once, when its first address is asked for.  What a file does not have is left out: no symbols, no
debugging information, or none that can be read.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple, Optional

from machine.observe.elffile import LINES_WORK, PF_X, SHF_EXECINSTR, ElfFile, Section, TooMuch, Work, text_at
from machine.observe.lineprogram import DW_FORM_LINE_STRP, LineProgram, Row
from machine.observe.output import shortened
from machine.observe.units import SENSELESS, Unit, Units

ReadFile = Callable[[str], bytes]
Mapping = tuple[str, int, int]
"""(path of the mapped file, start of the area, the area's offset in the file)."""

STT_NOTYPE, STT_FUNC, STT_GNU_IFUNC = 0, 2, 10
_CODE_TYPES = (STT_NOTYPE, STT_FUNC, STT_GNU_IFUNC)
MOST_SYMBOLS = 1 << 20
"""Code symbols of one file that are kept, some 150 bytes each; the rest has no names."""
MOST_NAMES = 64 << 20
_COMPARED = 256
"""Bytes of two names for one address that are looked at to choose one."""
KEPT = 1 << 30
"""Bytes of all files that are remembered."""
_NOT_READ = ("/dev/", "/proc/", "/sys/")
"""Code that runs from a device has no names, and looking at it must not read the device."""


class Location(NamedTuple):
    """What is known of a code address; "" and 0 for what is not."""

    function: str = ""
    offset: int = 0
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """``main+0x41 mapper.c:38``, "" when nothing is known."""
        parts = []
        if self.function:
            function = shortened(self.function)
            parts.append(f"{function}+{self.offset:#x}" if self.offset else function)
        if self.file:
            parts.append(f"{shortened(self.file)}:{self.line}")
        return " ".join(parts)


NOWHERE = Location()


class _Lines:
    """A line table as sorted arrays; a row whose line is 0 ends a sequence."""

    def __init__(self, rows: list[Row]) -> None:
        # At one address the end of a sequence comes before the beginning of the next.
        rows.sort(key=lambda row: (row[0], row[1] != 0))
        self.starts = [row[0] for row in rows]
        self.rows = rows

    def at(self, address: int) -> tuple[str, int]:
        index = bisect_right(self.starts, address) - 1
        if index < 0:
            return "", 0
        _, line, name = self.rows[index]
        return (name, line) if line else ("", 0)


class ElfSymbols:
    """The names of one ELF file, by the addresses that it was linked for."""

    def __init__(self, data: bytes) -> None:
        self.file = ElfFile(data)
        self.data = data
        # Two segments can share a page of the file; an address that runs is in an executable one.
        segments = sorted(self.file.segments, key=lambda s: not s.flags & PF_X)
        self.segments = [(s.offset, s.address, s.size) for s in segments]
        self._strings = b""
        self._symbols = self._read_symbols()
        self._starts = [symbol[0] for symbol in self._symbols]
        self._work = Work(LINES_WORK)
        self._info: Optional[Units] = None
        self._lines_known = True
        self._tables: dict[int, _Lines] = {}
        """Line tables by the offset of their unit; -1 for one of the whole file."""

    # -- symbols ------------------------------------------------------------------------------

    def _read_symbols(self) -> list[tuple[int, int, int]]:
        """(address, size, where the name is), sorted, one name an address."""
        best: dict[int, tuple[int, int, int]] = {}
        code = {index for index, section in enumerate(self.file.sections) if section.flags & SHF_EXECINSTR}
        for section_name in (".symtab", ".dynsym"):
            section = self.file.section(section_name)
            if section is None or section.link >= len(self.file.sections):
                continue
            self._strings = self.file.contents(self.file.sections[section.link])
            for name_at, value, size, info, shndx in islice(self._raw_symbols(section), 2 * MOST_SYMBOLS):
                if info & 15 not in _CODE_TYPES or shndx not in code or not name_at:
                    continue
                found = best.get(value)
                if found is None and len(best) >= MOST_SYMBOLS:
                    break
                if found is None or self._rank(info & 15, name_at) < self._rank(found[2], found[1]):
                    best[value] = (size, name_at, info & 15)
            if best:
                break
        return [(value, size, name_at) for value, (size, name_at, _) in sorted(best.items())]

    def _rank(self, kind: int, name_at: int) -> tuple[bool, int, int, bytes]:
        """Aliases: a function rather than a label, then `read` rather than `__libc_read`."""
        name = text_at(self._strings, name_at, _COMPARED)
        return kind == STT_NOTYPE, len(name) - len(name.lstrip(b"_")), len(name), name

    def _name(self, at: int) -> str:
        return text_at(self._strings, at).decode(errors="replace")

    def _raw_symbols(self, section: Section) -> Iterator[tuple[int, int, int, int, int]]:
        data = self.file.contents(section)
        if self.file.bits == 64:
            rows = struct.iter_unpack("<IBBHQQ", data[: len(data) // 24 * 24])
            return ((name, value, size, info, shndx) for name, info, _, shndx, value, size in rows)
        rows = struct.iter_unpack("<IIIBBH", data[: len(data) // 16 * 16])
        return ((name, value, size, info, shndx) for name, value, size, info, _, shndx in rows)

    def symbol(self, address: int) -> tuple[str, int]:
        """(name, offset into it) of a link address; ("", 0) outside every symbol."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return "", 0
        value, size, name_at = self._symbols[index]
        if size and address >= value + size:
            return "", 0
        return self._name(name_at), address - value

    # -- lines -----------------------------------------------------------------------------------

    def line(self, address: int) -> tuple[str, int]:
        """(path of the source file, line) of a link address; ("", 0) when unknown."""
        info = self._units()
        if info is None:
            return "", 0
        unit = info.at(address)
        return self._table(info, -1 if unit is None else unit).at(address)

    def _units(self) -> Optional[Units]:
        """None without debugging information."""
        if self._info is None and self._lines_known:
            self._lines_known = False
            info, abbrev, aranges = (self.file.named(f"debug_{name}") for name in ("info", "abbrev", "aranges"))
            if info and self.file.named("debug_line"):
                self._info = Units(info, abbrev, aranges, self._work, self.file.is_code)
        return self._info

    def _table(self, info: Units, unit: int) -> _Lines:
        """The rows of one unit, or of all that make sense; of a file that has too many, those of its first units."""
        table = self._tables.get(unit)
        if table is None:
            rows: list[Row] = []
            seen: set[int] = set()
            with suppress(TooMuch):
                for at in info.offsets() if unit < 0 else (unit,):
                    with suppress(*SENSELESS):
                        self._add_rows(info, info.unit(at), rows, seen)
            table = self._tables[unit] = _Lines(rows)
        return table

    def _add_rows(self, info: Units, unit: Unit, rows: list[Row], seen: set[int]) -> None:
        """Each program once, whatever number of units say that it is theirs."""
        if unit.program is None or unit.program in seen:
            return
        seen.add(unit.program)
        form, place = info.place_of(unit, self.file.named("debug_str_offsets"))
        place = self._string(form, place) if isinstance(place, int) else place
        comp_dir = place.decode(errors="replace")
        program = LineProgram(self.file.named("debug_line"), unit.program, comp_dir, self._string, self._work)
        program.run(rows, self.file.is_code)

    def _string(self, form: int, at: int) -> bytes:
        return text_at(self.file.named("debug_line_str" if form == DW_FORM_LINE_STRP else "debug_str"), at)

    def all_lines(self) -> list[tuple[int, int, str]]:
        """(address, line, path of the source) of the whole file, by address; line 0 ends a sequence."""
        info = self._units()
        return [] if info is None else self._table(info, -1).rows

    def functions(self) -> Iterator[tuple[int, str]]:
        """(address, name) of what has a size and is code, up to `MOST_NAMES` bytes of names."""
        left = MOST_NAMES
        for value, size, name_at in self._symbols:
            name = self._name(name_at) if size else ""
            left -= len(name)
            if name and left >= 0:
                yield value, name

    def weight(self) -> int:
        """Some number of bytes that it keeps; it grows when somebody asks for lines or call frames."""
        steps = len(self._symbols) + LINES_WORK - self._work.left
        return self.file.held() + len(self._strings) + 150 * steps

    # -- where it is loaded ----------------------------------------------------------------------------

    def bias(self, start: int, offset: int) -> int:
        """What was added to link addresses where file offset `offset` is mapped at `start`; 0 for a fixed program."""
        for p_offset, p_vaddr, p_filesz in self.segments:
            if p_offset & ~0xFFF <= offset < p_offset + p_filesz:
                return start - (p_vaddr + offset - p_offset)
        return 0


class Symbols:
    """Names for the addresses of a machine's processes; `read_file` gets a guest file's bytes."""

    def __init__(self, read_file: ReadFile) -> None:
        self._read_file = read_file
        self._files: dict[str, Optional[ElfSymbols]] = {}

    def _file(self, path: str) -> Optional[ElfSymbols]:
        if path not in self._files:
            try:
                found = ElfSymbols(self._read_file(path))
            except Exception:  # not there any more, no ELF file, or a damaged one: no names then
                found = None
            while self._files and sum(each.weight() for each in self._files.values() if each is not None) > KEPT:
                del self._files[next(iter(self._files))]  # the oldest; it is read again when somebody asks
            self._files[path] = found
        return self._files[path]

    def elf(self, mapping: Optional[Mapping]) -> Optional[ElfSymbols]:
        """The file that is mapped there; None for a device and for what is no ELF file."""
        return None if mapping is None or mapping[0].startswith(_NOT_READ) else self._file(mapping[0])

    def locate(self, address: int, mapping: Optional[Mapping]) -> Location:
        """What is known of a code address in an area that maps a file."""
        location = self.locate_source(address, mapping)
        return location._replace(file=location.file.rsplit("/", 1)[-1])

    def locate_source(self, address: int, mapping: Optional[Mapping]) -> Location:
        """The same, with the whole path of the source file where the debugging information has it."""
        if mapping is None:
            return NOWHERE
        path, start, offset = mapping
        elf = self.elf(mapping)
        if elf is None:
            return NOWHERE
        link = address - elf.bias(start, offset)
        function, distance = elf.symbol(link)
        if not function:
            function, distance = path.rsplit("/", 1)[-1], link
        try:
            file, line = elf.line(link)
        except Exception:  # debugging information of a kind that `units` can't read
            file, line = "", 0
        return Location(function, distance, file, line)
