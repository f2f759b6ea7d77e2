"""``nopage core FILE``: what a core says without a debugger, and above all why the program died."""

from __future__ import annotations

import argparse
import os
import shlex
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from machine.errors import ConfigError
from machine.kernel.abi.signal import describe, layout_of
from machine.observe.corefile import NT_FILE, NT_NOPAGE, NT_PRPSINFO, NT_PRSTATUS, NT_SIGINFO, PSARGS_SIZE

_PR_PID = {64: 32, 32: 24}
"""Where `struct elf_prstatus` has the thread's number."""
_SI_ADDR = {64: (16, "<Q"), 32: (12, "<I")}
"""Where `siginfo` has the address of a fault."""
_PR_NAMES = {64: 40, 32: 28}
"""Where `struct elf_prpsinfo` has the program's name, 16 bytes, and its command line."""

MOST_NOTES = 16 << 20
"""Bytes of notes: more than the names of all files that a program can map, and no more than is quickly read."""
_PHDR_SIZE = 32
"""Of the smaller kind."""
_PYELFTOOLS = (MemoryError, OverflowError, AttributeError, KeyError, IndexError, TypeError, AssertionError)
"""What it raises besides for a file that is damaged in its header."""


class Core:
    """The notes of an ELF core.  OSError; ConfigError when the file is none."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.threads: list[int] = []
        self.name = self.command = self.signal = self.why = ""
        self.files: list[str] = []
        """What was mapped, in order of address; each once."""
        with open(path, "rb") as stream:
            try:
                elf = ELFFile(stream)
                self.bits: int = elf.elfclass
                if elf["e_type"] != "ET_CORE":
                    raise ConfigError(f"{path}: an ELF file, but no core: {elf['e_type']}")
                for data in _note_segments(elf, os.fstat(stream.fileno()).st_size):
                    self._read(_notes(data))
            except (ELFError, struct.error, ValueError, *_PYELFTOOLS) as error:
                why = str(error) or type(error).__name__
                raise ConfigError(f"{path}: no ELF core, or a damaged one ({why})") from None
        if not self.threads:
            raise ConfigError(f"{path}: a core without notes: it was cut off (RLIMIT_CORE, --max-output?)")

    def _read(self, notes: list[tuple[bytes, int, bytes]]) -> None:
        for owner, kind, data in notes:
            if owner == b"CORE" and kind == NT_PRSTATUS:
                self.threads.append(struct.unpack_from("<i", data, _PR_PID[self.bits])[0])
            elif owner == b"CORE" and kind == NT_PRPSINFO:
                at = _PR_NAMES[self.bits]
                self.name, self.command = _text(data[at : at + 16]), _text(data[at + 16 : at + 16 + PSARGS_SIZE])
            elif owner == b"CORE" and kind == NT_SIGINFO:
                self.signal = self._signal(data)
            elif owner == b"CORE" and kind == NT_FILE:
                self.files = list(dict.fromkeys(self._files(data)))
            elif owner == b"nopage" and kind == NT_NOPAGE:
                self.why = _text(data).removeprefix("nopage: ")

    def _signal(self, data: bytes) -> str:
        signo, _errno, code = struct.unpack_from("<iii", data)
        text = describe(signo, code)
        if layout_of(signo, code) == "fault":
            at, form = _SI_ADDR[self.bits]
            text += f" at {struct.unpack_from(form, data, at)[0]:#x}"
        return text

    def _files(self, data: bytes) -> list[str]:
        word = "Q" if self.bits == 64 else "I"
        (count,) = struct.unpack_from(f"<{word}", data)
        names = data[struct.calcsize(f"<{2 + 3 * count}{word}") :].split(b"\0")
        return [name.decode(errors="surrogateescape") for name in names[:count]]

    def lines(self) -> list[str]:
        """For people."""
        program = self.files[0] if self.files else self.name
        others = f", {len(self.threads)} threads: {', '.join(map(str, self.threads))}" if len(self.threads) > 1 else ""
        text = [
            f"{self.path}: {self.name} (pid {self.threads[0]}), {'x86-64' if self.bits == 64 else 'i386'}{others}",
            f"  command  {self.command}",
            f"  signal   {self.signal}",
        ]
        if self.why:
            text.append(f"  why      {self.why}")
        text += [f"  {'mapped' if not n else '      '}   {name}" for n, name in enumerate(self.files)]
        symbols = shlex.quote(program) if os.path.isfile(program) else "PROGRAM"
        return [*text, f"  gdb      gdb {symbols} {shlex.quote(self.path)}"]


def _note_segments(elf: ELFFile, size: int) -> Iterator[bytes]:
    """The notes in a file of `size` bytes; ValueError: what it says of itself can't be."""
    if elf.num_segments() > size // _PHDR_SIZE:
        raise ValueError("more program headers than the file has room for")
    total = 0
    for segment in elf.iter_segments("PT_NOTE"):
        total += segment["p_filesz"]
        if segment["p_offset"] + segment["p_filesz"] > size:
            raise ValueError("its notes end after the file")
        if total > MOST_NOTES:
            raise ValueError(f"more than {MOST_NOTES >> 20} MiB of notes")
        yield segment.data()


def _notes(data: bytes) -> list[tuple[bytes, int, bytes]]:
    """(owner, type, contents) of each; struct.error where they are cut off."""
    found, at = [], 0
    while at < len(data):
        owner_size, size, kind = struct.unpack_from("<III", data, at)
        owner_at = at + 12
        data_at = owner_at + (owner_size + 3 & ~3)
        at = data_at + (size + 3 & ~3)
        if data_at + size > len(data):
            raise struct.error("its notes end early")
        found.append((data[owner_at : owner_at + owner_size].rstrip(b"\0"), kind, data[data_at : data_at + size]))
    return found


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode(errors="surrogateescape")


def core_command(words: Sequence[str]) -> int:
    """``nopage core FILE...``.  ConfigError when one of them can't be read."""
    parser = argparse.ArgumentParser(
        prog="nopage core",
        description="Say what a core of nopage run --core holds: program, signal, threads, mapped files, and why the "
        "program died: the instruction and its line of C, the area, the byte of the device and the driver's reason.",
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="an ELF core; one of Linux has no reason in it")
    chosen: Any = parser.parse_args(list(words))
    for path in chosen.files:
        try:
            for line in Core(path).lines():
                print(os.fsencode(line).decode(errors="replace"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
    return 0
