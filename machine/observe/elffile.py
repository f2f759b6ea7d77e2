"""The parts of a guest's ELF file from which names are made, cut out with mistrust.

A program can map any file and die in it.  pyelftools believes what a header says: a section without bits is as many
zeros as it asks for, a compressed one whatever comes out, a name the two megabytes until the next zero byte.  So it
sees only what is cut out here, the call frames, through streams that count what is taken from them; the rest is read
by `symbols`, `units` and `lineprogram`.
"""

from __future__ import annotations

import io
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

NAME = 4096
"""Bytes of a name that are looked at."""
SECTIONS = 1 << 16
"""Sections that are looked at; a symbol has 16 bits for the number of its own."""
FRAMES_WORK, LINES_WORK = 1 << 19, 1 << 21
"""Steps for one file's call frames, and for its lines.  One of frames is a read by pyelftools, which takes some ten
microseconds and keeps 250 bytes (libc has 130,000, python 340,000); one of lines is a row, or the like, and takes one
microsecond."""
INFLATED_LEAST, INFLATED_TIMES, INFLATED_MOST = 16 << 20, 16, 1 << 30
"""Compressed sections may become so many bytes together: at least, times the file's size, at most.  Debugging
information is compressed to a third or a quarter."""

SHT_NULL, SHT_NOBITS = 0, 8
SHF_EXECINSTR, SHF_COMPRESSED = 0x4, 0x800
PF_X = 1
_ELFCOMPRESS_ZLIB = 1
_SHN_XINDEX = 0xFFFF
_SECTION_NAME = 64
_BEHIND = 1 << 65
"""Larger than an address where an area ends."""
_FRAMES = ("eh_frame", "debug_frame")
_UNUSED = ("debug_info", "debug_abbrev", "debug_aranges", "debug_str", "debug_line_str", "debug_str_offsets",
           "debug_addr", "debug_rnglists", "debug_loclists", "debug_loc", "debug_ranges", "debug_line",
           "debug_pubtypes", "debug_pubnames", "debug_sup", "gnu_debugaltlink", "debug_types")  # fmt: skip


class TooMuch(Exception):
    """A file asks for more work than it is worth."""


class Work:
    """Steps that are left for one purpose."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def charge(self, steps: int) -> None:
        """TooMuch."""
        self.left -= steps
        if self.left < 0:
            raise TooMuch


class _Metered(io.BytesIO):
    """A section's bytes for pyelftools, whose loops all take something from a stream."""

    def __init__(self, data: bytes, work: Work) -> None:
        super().__init__(data)
        self._work = work

    def read(self, size: Any = -1, /) -> bytes:
        data = super().read(size)
        self._work.charge(1 + (len(data) >> 6))
        return data


class Section(NamedTuple):
    """One section header; `name` is cut off."""

    name: bytes
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


class Segment(NamedTuple):
    """One PT_LOAD."""

    flags: int
    offset: int
    address: int
    size: int


class ElfFile:
    """Headers and contents of a little-endian ELF file.  ValueError, struct.error."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != b"\x7fELF" or data[4:6] not in (b"\1\1", b"\2\1"):
            raise ValueError("no ELF file that runs here")
        self.data = data
        self.bits = 32 * data[4]
        self.segments = list(self._read_segments())
        self.sections = self._read_sections()
        self._code: Optional[list[tuple[int, int]]] = None
        """(start, end), sorted and apart."""
        self._room = len(data)
        """Bytes that may still be cut out: sections do not lie on one another."""
        self._cut: dict[str, bytes] = {}
        self._inflate = min(INFLATED_MOST, max(INFLATED_LEAST, INFLATED_TIMES * len(data)))

    # -- headers ----------------------------------------------------------------------------------

    def _read_segments(self) -> Iterator[Segment]:
        if self.bits == 64:
            (start,), (size, count) = struct.unpack_from("<Q", self.data, 32), struct.unpack_from("<HH", self.data, 54)
            form = struct.Struct("<IIQQQQ")
        else:
            (start,), (size, count) = struct.unpack_from("<I", self.data, 28), struct.unpack_from("<HH", self.data, 42)
            form = struct.Struct("<IIIIIII")
        for at in range(start, min(start + size * count, len(self.data) - form.size + 1), max(size, form.size)):
            if self.bits == 64:
                kind, flags, offset, address, _, filesz = form.unpack_from(self.data, at)
            else:
                kind, offset, address, _, filesz, _, flags = form.unpack_from(self.data, at)
            if kind == 1:  # PT_LOAD
                yield Segment(flags, offset, address, filesz)

    def _read_sections(self) -> list[Section]:
        if self.bits == 64:
            (start,), (size, count, names) = (
                struct.unpack_from("<Q", self.data, 40),
                struct.unpack_from("<HHH", self.data, 58),
            )
            form = struct.Struct("<IIQQQQI")
        else:
            (start,), (size, count, names) = (
                struct.unpack_from("<I", self.data, 32),
                struct.unpack_from("<HHH", self.data, 46),
            )
            form = struct.Struct("<IIIIIII")
        if not start or size < form.size:
            return []
        first = form.unpack_from(self.data, start)  # has the numbers that 16 bits can't hold (gABI, e_shnum)
        count, names = min(count or first[5], SECTIONS), first[6] if names == _SHN_XINDEX else names
        end = min(start + size * count, len(self.data) - form.size + 1)
        headers = [form.unpack_from(self.data, at) for at in range(start, end, size)]
        texts = headers[names][4] if names < len(headers) else len(self.data)
        names_of = (text_at(self.data, texts + header[0], _SECTION_NAME) for header in headers)
        return [Section(name, *header[1:]) for name, header in zip(names_of, headers, strict=True)]

    def is_code(self, address: int) -> bool:
        """Whether the file has code at a link address: by its sections, or by its segments where no section is code."""
        if self._code is None:
            areas = [(each.address, each.size) for each in self.sections if each.flags & SHF_EXECINSTR]
            areas = areas or [(each.address, each.size) for each in self.segments if each.flags & PF_X]
            self._code = _merged(sorted((start, start + size) for start, size in areas if size))
        index = bisect_right(self._code, (address, _BEHIND)) - 1
        return not self._code or (index >= 0 and address < self._code[index][1])

    # -- contents ---------------------------------------------------------------------------------

    def section(self, name: str) -> Optional[Section]:
        """The first of a name that has bytes in the file: `objcopy --only-keep-debug` leaves others without (NOBITS),
        and one that goes on behind the end is a lie."""
        wanted = name.encode()
        return next((each for each in self.sections if each.name == wanted and self.has_bytes(each)), None)

    def has_bytes(self, section: Section) -> bool:
        """Whether it lies in the file."""
        return section.kind not in (SHT_NULL, SHT_NOBITS) and section.offset + section.size <= len(self.data)

    def contents(self, section: Optional[Section]) -> bytes:
        """b"" of what is not there, and of a compressed one that is damaged or would become too large."""
        if section is None or section.size > self._room or not self.has_bytes(section):
            return b""
        self._room -= section.size
        raw = self.data[section.offset : section.offset + section.size]
        if not section.flags & SHF_COMPRESSED:
            return raw
        form = struct.Struct("<I4xQQ" if self.bits == 64 else "<III")
        if len(raw) < form.size:
            return b""
        kind, size, _ = form.unpack_from(raw)
        return self._inflated(raw[form.size :], size) if kind == _ELFCOMPRESS_ZLIB else b""

    def _inflated(self, raw: bytes, size: int) -> bytes:
        if not 0 < size <= self._inflate:
            return b""
        self._inflate -= size
        try:
            data = zlib.decompressobj().decompress(raw, size)
        except zlib.error:
            return b""
        return data if len(data) == size else b""

    def named(self, name: str) -> bytes:
        """The contents of ``.debug_line``, or of ``.zdebug_line`` as it was compressed before there was a flag."""
        if name not in self._cut:
            self._cut[name] = self.contents(self.section(f".{name}")) or self._zdebug(name)
        return self._cut[name]

    def _zdebug(self, name: str) -> bytes:
        raw = self.contents(self.section(f".z{name}"))
        return self._inflated(raw[12:], int.from_bytes(raw[4:12], "big")) if raw.startswith(b"ZLIB") else b""

    def held(self) -> int:
        """Bytes of the file and of what has been cut out of it until now, which may be a thousand times the file."""
        return len(self.data) + sum(len(each) for each in self._cut.values())

    # -- debugging information ----------------------------------------------------------------------

    def frames(self, work: Work) -> Any:
        """pyelftools' DWARFInfo with the call frames alone."""
        from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo

        found: dict[str, Any] = {f"{name}_sec": None for name in (*_FRAMES, *_UNUSED)}
        for name in _FRAMES:
            data, section = self.named(name), self.section(f".{name}")
            if data:
                address = section.address if section is not None else 0
                found[f"{name}_sec"] = DebugSectionDescriptor(_Metered(data, work), f".{name}", 0, len(data), address)
        arch = "x64" if self.bits == 64 else "x86"
        return DWARFInfo(DwarfConfig(True, arch, self.bits // 8), **found)


def _merged(areas: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted areas, those that touch as one."""
    merged: list[tuple[int, int]] = []
    for start, end in areas:
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def text_at(strings: bytes, at: int, most: int = NAME) -> bytes:
    """The name at a place of a section of strings, as far as anybody looks at it."""
    end = strings.find(b"\0", at, at + most)
    return strings[at : end if end >= 0 else at + most]
