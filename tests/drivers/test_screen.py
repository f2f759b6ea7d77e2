"""The screen as files: --screen, SIGUSR1, --screen-every, Machine.screenshot (issue 5, line 7; MECHANISMS C8, F4)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import firmware
from machine import Machine
from machine.errors import ConfigError
from machine.screen.text import text_lines
from tests.conftest import build

HERE = Path(__file__).parent
WIDTH, HEIGHT = 60, 40


def painting(target: str) -> str:
    return str(build(HERE / "painting.c", target=target, flags=[f"-I{HERE}", "-Wno-unused-function"]))


def drawn(step: int, bits: int) -> bytes:
    """What painting.c puts on the screen, as red, green and blue."""
    result = bytearray()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            value = x + y * WIDTH
            if bits == 16:
                parts = ((value >> 11 & 31, 31), (value >> 5 & 63, 63), (value & 31, 31))
                result += bytes(round(part * 255 / most) for part, most in parts)
            else:
                result += bytes((step, y, x))
    return bytes(result)


def nopage(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "machine", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **options)


@pytest.mark.parametrize("bits", [32, 16])
def test_the_guests_pixels_are_the_files(
    machine_clean: Callable[..., Machine], target: str, bits: int, tmp_path: Path
) -> None:
    """Stores through mmap equal the pixels of the PNG, one by one.  # C8, F4"""
    m = machine_clean(deterministic=True, devices=["fb"])
    result = m.run([painting(target), str(WIDTH), str(HEIGHT), str(bits), "1", "0"], timeout=120)
    assert result.exit == 0, result.stdout
    m.screenshot(tmp_path / "s.png")
    with Image.open(tmp_path / "s.png") as image:
        assert (image.format, image.size, image.tobytes()) == ("PNG", (WIDTH, HEIGHT), drawn(0, bits))
    assert m.picture() == (WIDTH, HEIGHT, drawn(0, bits))
    with pytest.raises(ConfigError, match=r"'s.bmp' is not FILE.png or FILE.gif"):
        m.screenshot("s.bmp")
    m.screenshot(tmp_path / "s.gif")
    with Image.open(tmp_path / "s.gif") as image:
        assert (image.format, image.size) == ("GIF", (WIDTH, HEIGHT))


@pytest.mark.skipif(not shutil.which("fbcat"), reason="Debian's fbcat is not installed")
def test_fbcat(machine_clean: Callable[..., Machine]) -> None:
    """The unmodified program sees the demo's picture in /dev/fb0, the picture that we see.  # C8"""
    m = machine_clean(deterministic=True, devices=["fb,fb_xres=640,fb_yres=480"])
    assert m.run(["xdraw"], timeout=120).exit == 0
    shot = m.run(["fbcat"], timeout=120)
    picture = m.picture()
    assert picture is not None and picture[:2] == (640, 480) and len(set(picture.pixels)) > 100
    assert shot.stdout == b"P6 640 480 255\n" + picture.pixels, shot.stderr


def test_the_text_screen(machine_clean: Callable[..., Machine], tmp_path: Path) -> None:
    """Without a mode it is what the firmware left, and what programs write to 0xb8000; `bare` has no screen.  # A1"""
    m = machine_clean(deterministic=True)
    cells = bytes(m.kernel.ram.view[0xB8000 : 0xB8000 + 4000])
    assert text_lines(cells)[-1] == "Ready."
    m.screenshot(tmp_path / "a.png")
    m.run(["sh", "-c", r"printf 'X\036' | dd of=/dev/mem bs=1 seek=$((0xb8000)) 2>/dev/null"])
    m.screenshot(tmp_path / "b.png")
    glyph = (firmware.HERE / "font8x13.bin").read_bytes()[ord("X") * 13 :][:13]
    with Image.open(tmp_path / "a.png") as before, Image.open(tmp_path / "b.png") as after:
        assert before.size == after.size == (640, 400)
        assert before.crop((8, 0, 640, 400)).tobytes() == after.crop((8, 0, 640, 400)).tobytes()
        cell = after.crop((0, 0, 8, 16))
        yellow_on_blue = [cell.getpixel((x, y)) for y in range(16) for x in range(8)]
    rows = [0, *glyph, 0, 0]
    bits = [row >> (7 - x) & 1 for row in rows for x in range(8)]
    assert yellow_on_blue == [(255, 255, 85) if bit else (0, 0, 170) for bit in bits]
    bare = machine_clean(board="bare")
    assert bare.picture() is None
    with pytest.raises(ConfigError, match="the board has no display"):
        bare.screenshot(tmp_path / "c.png")


def test_the_option_at_exit(target: str, tmp_path: Path) -> None:
    """Taken before the driver goes, also when the program dies of a signal or of --timeout."""
    words = [painting(target), str(WIDTH), str(HEIGHT), "32", "2", "0"]
    done = nopage("run", "--device", "fb", "--screen", "s.png", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "s.png") as image:
        assert image.tobytes() == drawn(1, 32) and getattr(image, "n_frames", 1) == 1
    words[-1] = "60000"
    done = nopage("run", "--device", "fb", "--timeout", "3", "--screen", "t.png", *words, cwd=tmp_path)
    assert done.returncode == 124
    with Image.open(tmp_path / "t.png") as image:
        assert image.tobytes() == drawn(0, 32)


@pytest.mark.parametrize(("target", "suffix"), [("x86_64", "png"), ("i386", "gif")])
def test_a_recording(target: str, suffix: str, tmp_path: Path) -> None:
    """The text screen, then three pictures; only what changed is kept, with how long it was there.  # F4"""
    name = f"r.{suffix}"
    words = ["--deterministic", "--device", "fb,fb_xres=640,fb_yres=400", "--screen", name, "--screen-every", "20ms"]
    program = [painting(target), "640", "400", "32", "3", "300"]
    done = nopage("run", *words, *program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = (tmp_path / name).read_bytes()
    with Image.open(tmp_path / name) as image:
        assert image.is_animated and image.size == (640, 400) and image.info["loop"] == 0
        durations, colours = [], []
        for number in range(image.n_frames):
            image.seek(number)
            durations.append(image.info["duration"])
            colours.append(image.convert("RGB").getpixel((7, 5)))
    lasting = [number for number, duration in enumerate(durations) if duration >= 260]
    assert len(lasting) == 3 and all(duration <= 340 for duration in durations), durations
    assert [colours[n][0] for n in lasting] == [0, 1, 2] or suffix == "gif"
    if suffix == "png":
        assert {colours[n][1:] for n in lasting} == {(5, 7)}
    if suffix == "png":
        assert nopage("run", *words, *program, cwd=tmp_path).returncode == 0
    assert (tmp_path / name).read_bytes() == first  # on the virtual clock every run gives the same file


def test_a_recording_does_not_keep_the_machine_up(tmp_path: Path) -> None:
    """Everybody sleeps for ever: said as without it.  A recording of nothing is one picture."""
    words = ["run", "--deterministic", "--screen", "r.png", "--screen-every", "10"]
    done = nopage(*words, "sh", "-c", "kill -STOP $$", cwd=tmp_path)
    assert "all tasks sleep and nothing can wake them; killed" in done.stderr
    with Image.open(tmp_path / "r.png") as image:
        assert getattr(image, "n_frames", 1) == 1 and image.size == (640, 400)


def test_on_demand(tmp_path: Path) -> None:
    """SIGUSR1 while the program goes on: FILE-1.png, FILE-2.png."""
    words = [painting("x86_64"), str(WIDTH), str(HEIGHT), "32", "2", "60000"]
    command = [sys.executable, "-m", "machine", "run", "--device", "fb", "--screen", "s.png", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path, env={**os.environ}) as process:
        assert process.stdout is not None and b"step 0\n" in iter(process.stdout.readline, b"")
        deadline = time.monotonic() + 100
        for name in ("s-1.png", "s-2.png"):
            process.send_signal(signal.SIGUSR1)
            while not ((tmp_path / name).exists() and (tmp_path / name).read_bytes()[-8:-4] == b"IEND"):
                assert time.monotonic() < deadline
                time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
    with Image.open(tmp_path / "s-1.png") as shot, Image.open(tmp_path / "s.png") as last:
        assert shot.tobytes() == last.tobytes() == drawn(0, 32)


def test_mistakes(tmp_path: Path) -> None:
    for words, why in (
        (("--screen", "s.jpg"), "'s.jpg' is not FILE.png or FILE.gif"),
        (("--screen-every", "40"), "where to is --screen FILE.png"),
        (("--screen", "s.png", "--screen-every", "0"), "'0' is not a time from 1ms to 3600s"),
        (("--screen", "none/s.png"), "--screen none/s.png: No such file or directory"),
        (("--board", "bare", "--screen", "s.png"), "--screen s.png: the board has no display"),
    ):
        done = nopage("run", *words, "hello", cwd=tmp_path)
        assert done.returncode in (2, 125) and why in done.stderr and done.stdout == ""
