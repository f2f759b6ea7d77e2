"""``python -m guest.build``: rebuild the demo programs of `guest/bin` and note what they were made of.

`guest/bin/SOURCES.json` holds, per program, the hash of its source with the headers it may include, and the hash of
each binary; also the version of the compiler, without which the bytes cannot be compared.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from typing import Any

from guest import BIN, INCLUDE, PROGRAMS, TARGETS, bin_directory, program_names
from guest.toolchain import compile, zig_version

RECORD = BIN / "SOURCES.json"
FLAGS = ("-gline-tables-only", "-Wall", "-Wextra", "-Werror")


def source_hash(name: str) -> str:
    """SHA-256 of ``programs/NAME.c`` and of the headers of `guest/include` that it includes."""
    source = (PROGRAMS / f"{name}.c").read_bytes()
    digest = hashlib.sha256(source)
    for header in sorted(re.findall(rb'^#include "(.+)"$', source, re.MULTILINE)):
        digest.update((INCLUDE / header.decode()).read_bytes())
    return digest.hexdigest()


def build(name: str, target: str, *, again: bool = False) -> bytes:
    """The bytes of program `name` for `target`, as ziglang builds it; `again`: even where they are remembered."""
    return compile(PROGRAMS / f"{name}.c", target=target, flags=FLAGS, cc="zig", again=again).read_bytes()


def record() -> dict[str, Any]:
    """What SOURCES.json says."""
    kept: dict[str, Any] = json.loads(RECORD.read_text())
    return kept


def main() -> int:
    """Rebuild everything; files of programs that are gone are removed."""
    programs: dict[str, Any] = {}
    for target in TARGETS:
        shutil.rmtree(bin_directory(target), ignore_errors=True)
        bin_directory(target).mkdir(parents=True)
    for name in program_names():
        programs[name] = {"source": source_hash(name)}
        for target in TARGETS:
            data = build(name, target)
            path = bin_directory(target) / name
            path.write_bytes(data)
            path.chmod(0o755)
            programs[name][target] = hashlib.sha256(data).hexdigest()
            print(f"{path.relative_to(BIN.parent)}: {len(data)} bytes")
    RECORD.write_text(json.dumps({"ziglang": zig_version(), "programs": programs}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
