"""What a board has in its ROMs, and the boards.

`system.S`, `video.S` and `adapter.S` are kept built in `images/` (``python -m firmware.build``); `boards/NAME.toml`
describes a board; `font8x13.bin` is how its text screen looks on a picture (see `build.py`).
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent
IMAGES = HERE / "images"
BOARDS = HERE / "boards"
