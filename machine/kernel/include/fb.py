"""What a frame buffer driver and its programs say to each other (linux/fb.h): numbers and structures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from machine.kernel.fs.file import file, inode
from machine.kernel.include.ioctl import _IOR, _IOW
from machine.kernel.include.structs import char, elements, member, struct, u16, u32, ulong

FB_MAJOR = 29
FBIOGET_VSCREENINFO, FBIOPUT_VSCREENINFO, FBIOGET_FSCREENINFO = 0x4600, 0x4601, 0x4602
FBIOGETCMAP, FBIOPUTCMAP, FBIOPAN_DISPLAY, FBIOBLANK = 0x4604, 0x4605, 0x4606, 0x4611
FBIOGET_VBLANK = _IOR("F", 0x12, 32)
FBIO_WAITFORVSYNC = _IOW("F", 0x20, 4)
FB_TYPE_PACKED_PIXELS, FB_VISUAL_TRUECOLOR, FB_VISUAL_PSEUDOCOLOR = 0, 2, 3
FB_ACTIVATE_NOW, FB_ACTIVATE_TEST, FB_ACTIVATE_MASK = 0, 2, 15
FB_VBLANK_VBLANKING, FB_VBLANK_HAVE_VBLANK, FB_VBLANK_HAVE_COUNT = 1, 4, 16
FB_BLANK_UNBLANK = 0


class fb_bitfield(struct):
    offset = u32()
    length = u32()
    msb_right = u32()


class fb_var_screeninfo(struct):
    xres = u32()
    yres = u32()
    xres_virtual = u32()
    yres_virtual = u32()
    xoffset = u32()
    yoffset = u32()
    bits_per_pixel = u32()
    grayscale = u32()
    red = member(fb_bitfield)
    green = member(fb_bitfield)
    blue = member(fb_bitfield)
    transp = member(fb_bitfield)
    nonstd = u32()
    activate = u32()
    height = u32()
    width = u32()
    accel_flags = u32()
    pixclock = u32()
    left_margin = u32()
    right_margin = u32()
    upper_margin = u32()
    lower_margin = u32()
    hsync_len = u32()
    vsync_len = u32()
    sync = u32()
    vmode = u32()
    reserved = elements(u32(), 6)


class fb_fix_screeninfo(struct):
    id = char(16)
    smem_start = ulong()
    smem_len = u32()
    type = u32()
    type_aux = u32()
    visual = u32()
    xpanstep = u16()
    ypanstep = u16()
    ywrapstep = u16()
    line_length = u32()
    mmio_start = ulong()
    mmio_len = u32()
    accel = u32()
    reserved = elements(u16(), 3)


class fb_fix_screeninfo32(struct):
    """The same of a 32-bit program."""

    id = char(16)
    smem_start = u32()
    smem_len = u32()
    type = u32()
    type_aux = u32()
    visual = u32()
    xpanstep = u16()
    ypanstep = u16()
    ywrapstep = u16()
    line_length = u32()
    mmio_start = u32()
    mmio_len = u32()
    accel = u32()
    reserved = elements(u16(), 3)


class fb_cmap(struct):
    start = u32()
    len = u32()
    red = ulong()
    green = ulong()
    blue = ulong()
    transp = ulong()


class fb_cmap32(struct):
    start = u32()
    len = u32()
    red = u32()
    green = u32()
    blue = u32()
    transp = u32()


class fb_vblank(struct):
    flags = u32()
    count = u32()
    vcount = u32()
    hcount = u32()
    reserved = elements(u32(), 4)


class fb_ops:
    """`struct fb_ops`: the driver's methods; one that is None is not supported.  They return 0 or a negative errno."""

    owner: Any = None
    fb_check_var: Optional[Callable[[fb_var_screeninfo, fb_info], int]] = None
    """Round the mode to what can be shown, -EINVAL when that is not enough; the hardware is left alone."""
    fb_set_par: Optional[Callable[[fb_info], int]] = None
    """Show `info.var`."""
    fb_setcolreg: Optional[Callable[[int, int, int, int, int, fb_info], int]] = None
    """(regno, red, green, blue, transp, info): one colour of the palette, 16 bits each."""
    fb_pan_display: Optional[Callable[[fb_var_screeninfo, fb_info], int]] = None
    """Show the part that begins at xoffset, yoffset."""
    fb_blank: Optional[Callable[[int, fb_info], int]] = None
    fb_ioctl: Optional[Callable[[inode, file, int, int, fb_info], int]] = None
    """Commands that the core does not know."""

    def __init__(self, **methods: Any) -> None:
        for name, method in methods.items():
            if not hasattr(fb_ops, name):
                raise TypeError(f"struct fb_ops has no member '{name}'")
            setattr(self, name, method)


class fb_info:
    """`struct fb_info`: one frame buffer, made by its driver and registered with `register_framebuffer`."""

    def __init__(self) -> None:
        self.node = -1
        """N of /dev/fbN."""
        self.var = fb_var_screeninfo()
        self.fix = fb_fix_screeninfo()
        self.fbops = fb_ops()
        self.screen_base = 0
        """What ioremap gave of the memory, `fix.smem_len` bytes of it."""
        self.cmap = [(level * 0x101,) * 3 + (0,) for level in range(256)]
        """(red, green, blue, transparency) of 16 bits each."""
        self.par: Any = None
        """The driver's own."""


def register_framebuffer(fb_info: fb_info) -> int:
    """Make /dev/fbN and /sys/class/graphics/fbN of it: 0; -ENXIO when there are 32 already, or the errno of a node."""
    from machine.kernel.include.fbmem import register

    return register(fb_info)


def unregister_framebuffer(fb_info: fb_info) -> int:
    """Take them away again: 0, -EINVAL when it is not registered."""
    from machine.kernel.include.fbmem import unregister

    return unregister(fb_info)


__all__ = [
    "FBIOBLANK", "FBIOGETCMAP", "FBIOGET_FSCREENINFO", "FBIOGET_VBLANK", "FBIOGET_VSCREENINFO", "FBIOPAN_DISPLAY",
    "FBIOPUTCMAP", "FBIOPUT_VSCREENINFO", "FBIO_WAITFORVSYNC", "FB_ACTIVATE_MASK", "FB_ACTIVATE_NOW",
    "FB_ACTIVATE_TEST", "FB_BLANK_UNBLANK", "FB_TYPE_PACKED_PIXELS", "FB_VBLANK_HAVE_COUNT",
    "FB_VBLANK_HAVE_VBLANK", "FB_VBLANK_VBLANKING", "FB_VISUAL_PSEUDOCOLOR", "FB_VISUAL_TRUECOLOR", "fb_bitfield",
    "fb_cmap", "fb_cmap32", "fb_fix_screeninfo", "fb_fix_screeninfo32", "fb_var_screeninfo", "fb_vblank",
    "FB_MAJOR", "fb_info", "fb_ops", "register_framebuffer", "unregister_framebuffer",
]  # fmt: skip
