"""Names for addresses: ``symbol+offset`` from an ELF file's symbol tables, ``file:line`` from its DWARF line table.

A file is read once, when its first address is asked for.  What a file does not have is left out: no symbols, no
debugging information, or none that can be read.
"""

from __future__ import annotations

import io
import posixpath
import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, NamedTuple, Optional

ReadFile = Callable[[str], bytes]
Mapping = tuple[str, int, int]
"""(path of the mapped file, start of the area, the area's offset in the file)."""

STT_NOTYPE, STT_FUNC, STT_GNU_IFUNC = 0, 2, 10
_CODE_TYPES = (STT_NOTYPE, STT_FUNC, STT_GNU_IFUNC)
_SHF_EXECINSTR = 4
_NOT_READ = ("/dev/", "/proc/", "/sys/")
"""Code that runs from a device has no names, and looking at it must not read the device."""
_PF_X = 1


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
            parts.append(f"{self.function}+{self.offset:#x}" if self.offset else self.function)
        if self.file:
            parts.append(f"{self.file}:{self.line}")
        return " ".join(parts)


NOWHERE = Location()


class _Lines:
    """A line table as sorted arrays; a row whose line is 0 ends a sequence."""

    def __init__(self, rows: list[tuple[int, int, str]]) -> None:
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


def _paths(header: Any, comp_dir: str) -> list[str]:
    """The source files of a line program, as far as it says where they are (DWARF 5 §6.2.4)."""
    directories = [entry.decode(errors="replace") for entry in header["include_directory"]]
    if header["version"] < 5:
        directories.insert(0, comp_dir)  # directory 0 is the compiler's own
    paths = []
    for entry in header["file_entry"]:
        index = entry.dir_index
        directory = directories[index] if index < len(directories) else ""
        paths.append(posixpath.normpath(posixpath.join(comp_dir, directory, entry.name.decode(errors="replace"))))
    return paths


def _rows(program: Any, comp_dir: str) -> list[tuple[int, int, str]]:
    """(address, line, path of the file) of one unit's line program."""
    header = program.header
    first = 0 if header["version"] >= 5 else 1
    names = _paths(header, comp_dir)
    found = []
    for entry in program.get_entries():
        state = entry.state
        if state is None:
            continue
        index = state.file - first
        name = names[index] if 0 <= index < len(names) else "?"
        found.append((state.address, 0 if state.end_sequence else state.line, name))
    return found


class ElfSymbols:
    """The names of one ELF file, by the addresses that it was linked for."""

    def __init__(self, data: bytes) -> None:
        from elftools.elf.elffile import ELFFile

        self.elf = ELFFile(io.BytesIO(data))
        self.data = data
        segments = [s for s in self.elf.iter_segments() if s["p_type"] == "PT_LOAD"]
        # Two segments can share a page of the file; an address that runs is in an executable one.
        segments.sort(key=lambda s: not s["p_flags"] & _PF_X)
        self.segments = [(s["p_offset"], s["p_vaddr"], s["p_filesz"]) for s in segments]
        self._symbols = self._read_symbols()
        self._starts = [symbol[0] for symbol in self._symbols]
        self._dwarf: Any = None
        self._aranges: Any = None
        self._units: dict[int, _Lines] = {}
        """Line tables by the offset of their unit; -1 for one of the whole file."""

    # -- symbols ------------------------------------------------------------------------------

    def _read_symbols(self) -> list[tuple[int, int, str]]:
        """(address, size, name), sorted, one name an address."""
        best: dict[int, tuple[tuple[Any, ...], int, str]] = {}
        code = {index for index, section in enumerate(self.elf.iter_sections()) if section["sh_flags"] & _SHF_EXECINSTR}
        for section_name in (".symtab", ".dynsym"):
            section: Any = self.elf.get_section_by_name(section_name)
            if section is None:
                continue
            strings = section.stringtable.data()
            for name_at, value, size, info, shndx in self._raw_symbols(section):
                if info & 15 not in _CODE_TYPES or shndx not in code or not name_at:
                    continue
                name = strings[name_at : strings.index(b"\0", name_at)].decode(errors="replace")
                # Aliases: a function rather than a label, then `read` rather than `__libc_read`.
                rank = (info & 15 == STT_NOTYPE, len(name) - len(name.lstrip("_")), len(name), name)
                if value not in best or rank < best[value][0]:
                    best[value] = (rank, size, name)
            if best:
                break
        return [(value, size, name) for value, (_, size, name) in sorted(best.items())]

    def _raw_symbols(self, section: Any) -> list[tuple[int, int, int, int, int]]:
        data = section.data()
        if self.elf.elfclass == 64:
            rows = struct.iter_unpack("<IBBHQQ", data[: len(data) // 24 * 24])
            return [(name, value, size, info, shndx) for name, info, _, shndx, value, size in rows]
        rows = struct.iter_unpack("<IIIBBH", data[: len(data) // 16 * 16])
        return [(name, value, size, info, shndx) for name, value, size, info, _, shndx in rows]

    def symbol(self, address: int) -> tuple[str, int]:
        """(name, offset into it) of a link address; ("", 0) outside every symbol."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return "", 0
        value, size, name = self._symbols[index]
        if size and address >= value + size:
            return "", 0
        return name, address - value

    # -- lines -----------------------------------------------------------------------------------

    def line(self, address: int) -> tuple[str, int]:
        """(path of the source file, line) of a link address; ("", 0) when unknown."""
        if self._dwarf is None:
            self._dwarf = self.elf.get_dwarf_info(follow_links=False) if self.elf.has_dwarf_info() else False
            self._aranges = self._dwarf.get_aranges() if self._dwarf else None
        if not self._dwarf:
            return "", 0
        unit = self._aranges.cu_offset_at_addr(address) if self._aranges is not None else None
        if unit is not None:
            return self._table(unit).at(address)
        return self._table(-1).at(address)

    def _table(self, unit: int) -> _Lines:
        table = self._units.get(unit)
        if table is None:
            units = self._dwarf.iter_CUs() if unit < 0 else [self._dwarf.get_CU_at(unit)]
            rows = []
            for each in units:
                program = self._dwarf.line_program_for_CU(each)
                if program is not None:
                    comp_dir = each.get_top_DIE().attributes.get("DW_AT_comp_dir")
                    rows += _rows(program, "" if comp_dir is None else comp_dir.value.decode(errors="replace"))
            table = self._units[unit] = _Lines(rows)
        return table

    def all_lines(self) -> list[tuple[int, int, str]]:
        """(address, line, path of the source) of the whole file, by address; line 0 ends a sequence."""
        self.line(0)
        return self._table(-1).rows if self._dwarf else []

    def functions(self) -> list[tuple[int, str]]:
        """(address, name) of what has a size and is code."""
        return [(value, name) for value, size, name in self._symbols if size]

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
                self._files[path] = ElfSymbols(self._read_file(path))
            except Exception:  # not there any more, no ELF file, or a damaged one: no names then
                self._files[path] = None
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
        except Exception:  # debugging information of a kind that pyelftools can't read
            file, line = "", 0
        return Location(function, distance, file, line)
