"""Board files with mistakes: an error that names the file, or a machine that starts."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
import traceback
from pathlib import Path
from unittest import mock

from machine import Machine
from machine.boardfile import BoardFile
from machine.errors import NopageError
from tests.fuzz.findings import Findings
from tests.steps import Steps

BOARDS = Path(__file__).parents[2] / "firmware" / "boards"
VALUES = (
    "0", "-1", "1", "0x1000", "0xfff", "0xc0000", "0xfd000001", "0xffffffff", "0x100000000", "1e9", "nan", "true", '""',
    '"00:04.0"', '"00:1f.7"', '"99:99.9"', '"01:00.0"', '"edu"', '"display"', '"timer_gpio"', '"nothing"', '"../x"',
    '"system.bin"', '"video.bin"', '"/dev/null"', "[]", "[0, 0]", "[5, 1]", "[0xf8000000, 0xfbffffff]", "[[1]]",
    "{a = 1}", "1979-05-27", "18446744073709551616", "[0xc000, 0xcfff]", "[1, 2, 3, 4]", "[11, 10, 9, 5, 7]",
)  # fmt: skip
START_EVERY = 12
"""One file in so many is started too: the power-on test takes a tenth of a second."""


def mutate(rng: random.Random, text: str) -> str:
    """Lines dropped, doubled, moved, given other values, or a character changed."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        at, what = rng.randrange(len(lines)), rng.random()
        if what < 0.45 and "=" in lines[at]:
            lines[at] = f"{lines[at].partition('=')[0]}= {rng.choice(VALUES)}"
        elif what < 0.6 and len(lines) > 2:
            del lines[at]
        elif what < 0.75:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif what < 0.9 and lines[at]:
            where = rng.randrange(len(lines[at]))
            lines[at] = (
                lines[at][:where] + chr(rng.choice((0, 10, 34, 61, 91, 93, 0x20AC, 120))) + lines[at][where + 1 :]
            )
        else:
            lines.insert(at, rng.choice(("[[card]]", "[[block]]", "[pci]", "[[bridge]]", "[[option-rom]]", "[rom]")))
    return "\n".join(lines) + "\n"


def fuzz_boards(seed: int, count: int = 60) -> Findings:
    """`count` files."""
    rng = random.Random(seed)
    found = Findings(cases=count)
    problems = found.problems
    originals = [path.read_text() for path in sorted(BOARDS.glob("*.toml"))]
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="nopage-"))
        directory = Path(name)
        stack.enter_context(mock.patch.dict(os.environ, XDG_CACHE_HOME=name))  # tested states of these boards go too
        for rom in (*BOARDS.glob("*.bin"), *BOARDS.parent.rglob("*.bin")):
            if not (directory / rom.name).exists():
                shutil.copy(rom, directory)
        for number in range(count):
            path = directory / "board.toml"
            text = mutate(rng, rng.choice(originals))
            path.write_text(text)
            try:
                BoardFile(path)
                if number % START_EVERY == 0:
                    with Machine(ram=32 << 20, board=str(path)) as machine:
                        if machine.run(["hello"], timeout=60).exit:
                            problems.append(f"file {number}: hello fails\n{text}")
                        problems += Steps(machine).look(f"file {number}")
                        problems += [f"file {number}: {each}" for each in machine.check_clean()]
            except NopageError as error:
                if not str(error).strip():
                    problems.append(f"file {number}: an error without words\n{text}")
            except Exception:
                problems.append(f"file {number}: {traceback.format_exc()}\n{text}")
    return found
