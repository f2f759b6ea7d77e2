"""draw on the frame buffer of the machine's display; what it drew is looked at as a picture."""

import shutil

import pytest
from PIL import Image

RED, BLUE = (255, 0, 0), (0, 0, 128)


@pytest.fixture
def draw(guest_cc):
    return guest_cc("draw.c", flags=["-O2", "-Wall"])


@pytest.fixture
def screen(machine, tmp_path):
    def look():
        machine.screenshot(tmp_path / "screen.png")
        return Image.open(tmp_path / "screen.png").convert("RGB")

    return look


def check(picture, width, height):
    assert picture.size == (width, height)
    assert picture.getpixel((width // 2, 0)) == RED == picture.getpixel((0, height // 2))
    assert picture.getpixel((0, 0)) == BLUE == picture.getpixel((width - 1, height - 1))
    colours = {colour: count for count, colour in picture.getcolors()}
    assert colours == {RED: 8 * width + 8 * height - 64, BLUE: width * height - (8 * width + 8 * height - 64)}


@pytest.mark.device("fb,fb_xres=640,fb_yres=480")
def test_a_cross(run, draw, screen):
    assert run(draw).stdout == b"640x480\n"
    check(screen(), 640, 480)


@pytest.mark.device("fb,fb_xres=640,fb_yres=480")
@pytest.mark.skipif(not shutil.which("fbset"), reason="Debian: apt install fbset")
def test_another_mode_set_by_fbset(run, draw, screen):
    """fbset is Debian's, as it comes."""
    run("fbset", "-g", "800", "600", "800", "600", "32", check=True)
    assert run(draw).stdout == b"800x600\n"
    check(screen(), 800, 600)


@pytest.mark.device("fb,fb_xres=640,fb_yres=480,fb_bpp=16")
def test_a_mode_that_it_can_not_do(run, draw):
    r = run(draw)
    assert (r.exit, r.stderr) == (1, b"draw: 16 bits a pixel, it can only do 32\n")


def test_no_frame_buffer(run, draw):
    r = run(draw)
    assert (r.exit, r.stderr) == (1, b"draw: /dev/fb0: No such file or directory\n")
