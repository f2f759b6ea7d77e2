"""DWARF's line programs, versions 2 to 5 (DWARF 5 §6.2): which address belongs to which line of which file.

Of our own, since a header may say that 2^60 files of no bytes follow, and since pyelftools keeps half a kilobyte for
each step.
"""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Callable, Iterator
from typing import Union

from machine.observe.elffile import NAME, Work

Row = tuple[int, int, str]
"""(address, line, path of the file); line 0 ends a sequence."""
Value = Union[int, bytes]

_DW_LNS_COPY, _DW_LNS_ADVANCE_PC, _DW_LNS_ADVANCE_LINE, _DW_LNS_SET_FILE = 1, 2, 3, 4
_DW_LNS_CONST_ADD_PC, _DW_LNS_FIXED_ADVANCE_PC = 8, 9
_DW_LNE_END_SEQUENCE, _DW_LNE_SET_ADDRESS, _DW_LNE_DEFINE_FILE = 1, 2, 3
_DW_LNCT_PATH, _DW_LNCT_DIRECTORY_INDEX = 1, 2
_FIXED = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}
"""DW_FORM_data1 and its like: bytes."""
DW_FORM_STRP, DW_FORM_LINE_STRP, _DW_FORM_BLOCK, _DW_FORM_STRING, _DW_FORM_UDATA = 0x0E, 0x1F, 0x09, 0x08, 0x0F
_BYTES_A_STEP = 8
"""Of a program; its rows come on top.  Not opcodes, which may have 255 operands each."""
_TEXT_A_STEP = 64
_MOST_ADDRESS = (1 << 64) - 1


class Cursor:
    """A place in bytes that may end anywhere.  IndexError, ValueError; TooMuch."""

    def __init__(self, data: bytes, at: int, work: Work) -> None:
        self.data = data
        self.at = at
        self._work = work

    def number(self, size: int) -> int:
        value = self.data[self.at : self.at + size]
        if len(value) < size:
            raise IndexError(self.at)
        self.at += size
        return int.from_bytes(value, "little")

    def skip(self, size: int) -> None:
        """Go on behind so many bytes.  No ``at += number(1)``: that takes `at` as it was before the number."""
        self.at += size

    def length(self) -> tuple[int, int]:
        """A unit's length, and the size of its offsets (DWARF 5 §7.4)."""
        length = self.number(4)
        return (self.number(8), 8) if length == 0xFFFFFFFF else (length, 4)

    def uleb(self) -> int:
        """Unsigned LEB128; longer than ten bytes is no number."""
        value = self.data[self.at]
        self.at += 1
        if value < 0x80:  # nearly all are short
            return value
        value &= 0x7F
        for shift in range(7, 70, 7):
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise IndexError(self.at)

    def sleb(self) -> int:
        start = self.at
        value = self.uleb()
        bits = 7 * (self.at - start)
        return value - (1 << bits) if value >> bits - 1 else value

    def string(self) -> bytes:
        """The first `NAME` bytes of it; the rest is charged too, since its end has to be found."""
        start = self.at
        end = self.data.index(b"\0", start)
        self._work.charge((end - start) // _TEXT_A_STEP)
        self.at = end + 1
        return self.data[start : min(end, start + NAME)]


class LineProgram:
    """One unit's program, at `offset` of .debug_line.

    `string` gets a name from the section of strings that a form says, at an offset.
    """

    def __init__(
        self, data: bytes, offset: int, comp_dir: str, string: Callable[[int, int], bytes], work: Work
    ) -> None:
        self._cursor, self._string, self._work = Cursor(data, offset, work), string, work
        cursor = self._cursor
        length, self._word = cursor.length()
        self._end = min(cursor.at + length, len(data))
        self.version = cursor.number(2)
        if not 2 <= self.version <= 5:
            raise ValueError("a line program of another version")
        if self.version == 5:
            cursor.number(2)  # sizes of addresses and of segment selectors
        length = cursor.number(self._word)
        start = cursor.at + length
        self._least_length = cursor.number(1)
        if self.version >= 4:
            cursor.number(1)  # operations per instruction: 1 but for VLIW
        cursor.number(1)
        (self._line_base,) = struct.unpack("<b", cursor.number(1).to_bytes(1, "little"))
        self._line_range, self._opcode_base = cursor.number(1), cursor.number(1)
        work.charge(1 + self._opcode_base // _BYTES_A_STEP)  # programs may lie in one another: bytes are no bound
        self._lengths = [0, *(cursor.number(1) for _ in range(self._opcode_base - 1))]
        self._directories: list[str] = []
        self.paths = self._files_5(comp_dir) if self.version == 5 else self._files(comp_dir)
        self._first = 0 if self.version == 5 else 1
        self._comp_dir = comp_dir
        cursor.at = start

    # -- files ------------------------------------------------------------------------------------

    def _path(self, comp_dir: str, directory: str, name: bytes) -> str:
        """Where a source file is, as far as the program says it."""
        self._work.charge(1 + (len(comp_dir) + len(directory) + len(name)) // _TEXT_A_STEP)  # "a/../a/../" is long
        return posixpath.normpath(posixpath.join(comp_dir, directory, name.decode(errors="replace")))[-NAME:]

    def _files(self, comp_dir: str) -> list[str]:
        directories = [comp_dir]  # directory 0 is the compiler's own
        while name := self._cursor.string():
            self._work.charge(1)
            directories.append(name.decode(errors="replace"))
        self._directories = directories
        paths = []
        while name := self._cursor.string():
            paths.append(self._file(comp_dir, name))
        return paths

    def _file(self, comp_dir: str, name: bytes) -> str:
        """The rest of a file's entry."""
        index, _, _ = self._cursor.uleb(), self._cursor.uleb(), self._cursor.uleb()
        return self._path(comp_dir, self._directory(index), name)

    def _directory(self, index: Value) -> str:
        return self._directories[index] if isinstance(index, int) and index < len(self._directories) else ""

    def _files_5(self, comp_dir: str) -> list[str]:
        for entry in self._entries():
            name = entry.get(_DW_LNCT_PATH, b"")
            self._directories.append(name.decode(errors="replace") if isinstance(name, bytes) else "")
        paths = []
        for entry in self._entries():
            name, index = entry.get(_DW_LNCT_PATH, b""), entry.get(_DW_LNCT_DIRECTORY_INDEX, 0)
            paths.append(self._path(comp_dir, self._directory(index), name) if isinstance(name, bytes) else "?")
        return paths

    def _entries(self) -> Iterator[dict[int, Value]]:
        """The entries of one table; each costs a step, for it may be empty."""
        cursor = self._cursor
        form = [(cursor.uleb(), cursor.uleb()) for _ in range(cursor.number(1))]
        self._work.charge(len(form))
        for _ in range(cursor.uleb()):
            entry = {content: self._value(kind) for content, kind in form}
            text = sum(len(value) for value in entry.values() if isinstance(value, bytes))
            self._work.charge(1 + len(form) + text // _TEXT_A_STEP)
            yield entry

    def _value(self, form: int) -> Value:
        cursor = self._cursor
        if form in _FIXED:
            return cursor.number(_FIXED[form])
        if form == _DW_FORM_UDATA:
            return cursor.uleb()
        if form == _DW_FORM_STRING:
            return cursor.string()
        if form in (DW_FORM_STRP, DW_FORM_LINE_STRP):
            return self._string(form, cursor.number(self._word))
        if form == _DW_FORM_BLOCK:
            cursor.skip(cursor.uleb())
            return b""
        raise ValueError(f"a form {form:#x} in a line program")

    # -- the program --------------------------------------------------------------------------------

    def run(self, rows: list[Row], is_code: Callable[[int], bool] = lambda address: True) -> None:
        """Append what it says of code.  The rows before TooMuch, and before what makes no sense, hold; of the last one
        only its first byte is known."""
        self._is_code, self._begun = is_code, len(rows)
        try:
            self._run(rows)
        finally:
            if rows and rows[-1][1]:
                rows.append((rows[-1][0] + 1 & _MOST_ADDRESS, 0, rows[-1][2]))
            self._end_sequence(rows)

    def _end_sequence(self, rows: list[Row]) -> None:
        """Drop the rows of code that the linker has removed (--gc-sections, a second copy of a C++ template): it makes
        their addresses begin at 0, and in a position-independent program they would lie on those of real code."""
        if self._begun < len(rows) and not self._is_code(rows[self._begun][0]):
            del rows[self._begun :]
        self._begun = len(rows)

    def _run(self, rows: list[Row]) -> None:
        cursor, data, work = self._cursor, self._cursor.data, self._work
        base, least, line_base, line_range = self._opcode_base, self._least_length, self._line_base, self._line_range
        address, line, name = 0, 1, self._name(1)
        paid = cursor.at
        while cursor.at < self._end:
            if cursor.at >= paid:
                work.charge(1 + (cursor.at - paid) // _BYTES_A_STEP)
                paid = cursor.at + _BYTES_A_STEP
            opcode = data[cursor.at]
            cursor.at += 1
            if opcode >= base or opcode == _DW_LNS_COPY:
                if opcode >= base:
                    advance, more = divmod(opcode - base, line_range)
                    address += advance * least
                    line += line_base + more
                work.charge(1)
                rows.append((address & _MOST_ADDRESS, line & 0xFFFFFFFF, name))
            elif opcode == _DW_LNS_ADVANCE_PC:
                address += cursor.uleb() * least
            elif opcode == _DW_LNS_ADVANCE_LINE:
                line += cursor.sleb()
            elif opcode == _DW_LNS_SET_FILE:
                name = self._name(cursor.uleb())
            elif opcode == _DW_LNS_CONST_ADD_PC:
                address += (255 - base) // line_range * least
            elif opcode == _DW_LNS_FIXED_ADVANCE_PC:
                address += cursor.number(2)
            elif opcode:
                for _ in range(self._lengths[opcode]):  # unknown, or not for us: so many numbers follow
                    cursor.uleb()
            else:
                end = cursor.uleb()
                end += cursor.at
                kind = cursor.number(1)
                if kind == _DW_LNE_END_SEQUENCE:
                    work.charge(1)
                    rows.append((address & _MOST_ADDRESS, 0, name))
                    self._end_sequence(rows)
                    address, line, name = 0, 1, self._name(1)
                elif kind == _DW_LNE_SET_ADDRESS:
                    address = cursor.number(min(8, max(0, end - cursor.at)))
                elif kind == _DW_LNE_DEFINE_FILE:
                    self.paths.append(self._file(self._comp_dir, cursor.string()))
                cursor.at = paid = end  # what lies between costs nothing, and the next one costs a step

    def _name(self, file: int) -> str:
        index = file - self._first
        return self.paths[index] if 0 <= index < len(self.paths) else "?"
