"""``python -m firmware.build``: assemble the ROMs of this directory into `images/`, with ziglang's compiler.

`images/SOURCES.json` holds the hash of each source and of its image, and the compiler's version.

The font of the text screen, `font8x13.bin`, is "8x13" of the X Window System's misc-fixed fonts, which says of itself
"Public domain font.  Share and enjoy." (Debian: xfonts-base, 8x13-ISO8859-1.pcf.gz): 256 glyphs of 13 bytes, a
byte a line, the leftmost pixel highest.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from firmware import HERE, IMAGES

SOURCES = ("system", "video", "adapter")
RECORD = IMAGES / "SOURCES.json"
_ZIG = (sys.executable, "-m", "ziglang")


def assemble(name: str) -> bytes:
    """The image of ``NAME.S``; an option ROM's bytes add up to 0.  CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="nopage-rom-") as work:
        thing, image = Path(work) / "rom.o", Path(work) / "rom.bin"
        cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": work, "ZIG_LOCAL_CACHE_DIR": work, "XDG_CACHE_HOME": cache}
        source = str(HERE / f"{name}.S")
        _run([*_ZIG, "cc", "-c", "-target", "x86-freestanding-none", source, "-o", str(thing)], environment)
        link = ["-m", "elf_i386", "--oformat=binary", "--image-base=0", "-Ttext=0", "-e", "0", str(thing)]
        _run([*_ZIG, "ld.lld", *link, "-o", str(image)], environment)
        data = bytearray(image.read_bytes())
    if data[:2] == b"\x55\xaa":
        data[-1] = -sum(data[:-1]) & 0xFF
    return bytes(data)


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, check=True, env=environment, capture_output=True, text=True)


def digest(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def record() -> dict[str, Any]:
    """What SOURCES.json says."""
    kept: dict[str, Any] = json.loads(RECORD.read_text())
    return kept


def main() -> int:
    """Rebuild everything."""
    roms = {}
    for name in SOURCES:
        try:
            data = assemble(name)
        except subprocess.CalledProcessError as error:
            print(error.stderr, file=sys.stderr)
            return 1
        (IMAGES / f"{name}.bin").write_bytes(data)
        roms[name] = {"source": digest((HERE / f"{name}.S").read_bytes()), "image": digest(data)}
        print(f"images/{name}.bin: {len(data)} bytes")
    RECORD.write_text(json.dumps({"ziglang": importlib.metadata.version("ziglang"), "roms": roms}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
