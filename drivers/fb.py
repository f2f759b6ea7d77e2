"""fb: /dev/fb0 on the PCI display controller, below the core of drivers/video/fbmem.c (register_framebuffer).

* The mode is set when the driver is loaded, fb_xres x fb_yres with fb_bpp bits a pixel, and by FBIOPUT_VSCREENINFO.
  It takes 8 (palette), 16, 24 and 32 bits a pixel and rounds others up; EINVAL for what does not fit the memory.
* FBIOGET_VSCREENINFO, FBIOGET_FSCREENINFO, FBIOPAN_DISPLAY, FBIOGETCMAP, FBIOPUTCMAP, FBIOBLANK, FBIOGET_VBLANK and
  FBIO_WAITFORVSYNC (ETIMEDOUT when none comes within 100 ms) for programs of 64 and 32 bits.
* read, write and lseek see the whole frame buffer memory.  Writing past its end: what fits, then ENOSPC or EFBIG.
* mmap shows the frame buffer from offset 0 on, uncached, and from the end of its memory (smem_len) on the registers;
  those give EINVAL while accel_flags says that the driver itself uses the 2D engine.
* /proc/fb; /sys/class/graphics/fb0/{name,bits_per_pixel,virtual_size,stride,pan}.
"""

from __future__ import annotations

from typing import Any

from machine.kernel.linux import (  # isort: skip
    DECLARE_WAIT_QUEUE_HEAD, EFAULT, EINVAL, ENODEV, ENOMEM, ENOTTY, ETIMEDOUT, FB_BLANK_UNBLANK,
    FB_TYPE_PACKED_PIXELS, FB_VBLANK_HAVE_COUNT, FB_VBLANK_HAVE_VBLANK, FB_VBLANK_VBLANKING, FB_VISUAL_PSEUDOCOLOR,
    FB_VISUAL_TRUECOLOR, FBIO_WAITFORVSYNC, FBIOGET_VBLANK, HZ, IRQ_HANDLED, IRQ_NONE, KERN_ERR, KERN_INFO,
    MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC, NULL, PCI_DEVICE, SA_SHIRQ, THIS_MODULE,
    copy_to_user, fb_fix_screeninfo, fb_info, fb_ops, fb_var_screeninfo, fb_vblank, file, free_irq, get_user,
    inode, ioremap, iounmap, module_exit, module_init, module_param, pci_dev, pci_device_id, pci_disable_device,
    pci_driver, pci_enable_device, pci_get_drvdata, pci_register_driver, pci_release_regions, pci_request_regions,
    pci_resource_len, pci_resource_start, pci_set_drvdata, pci_unregister_driver, printk, readl,
    register_framebuffer, request_irq, sizeof, unregister_framebuffer, wait_event_interruptible_timeout,
    waitqueue_active, wake_up_interruptible, writel,
)  # fmt: skip

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("/dev/fb0 on the PCI display controller: mode, pan, palette, mmap of memory and registers")

fb_xres = 1024
fb_yres = 768
fb_bpp = 32
module_param("fb_xres", int, 0)
MODULE_PARM_DESC("fb_xres", "pixels a line of the first mode")
module_param("fb_yres", int, 0)
MODULE_PARM_DESC("fb_yres", "lines of the first mode")
module_param("fb_bpp", int, 0)
MODULE_PARM_DESC("fb_bpp", "its bits a pixel")

FB_ID = b"nopage display"

# The controller's registers (machine/hardware/cards/display_regs.py).
MEMORY, CONTROL, WIDTH, HEIGHT, DEPTH, STRIDE, START, REFRESH = 0x08, 0x10, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x28
STATUS, IRQ_ENABLE, IRQ_STATUS, FRAME, PALETTE = 0x30, 0x34, 0x38, 0x3C, 0x400
CONTROL_ON, CONTROL_BLANK = 1, 2
STATUS_VBLANK, IRQ_VBLANK = 2, 1
REFRESH_MIN, REFRESH_MAX = 1_000, 1_000_000
"""Pictures in 1,000 seconds."""


class display_par:
    """What the driver keeps of one controller."""

    def __init__(self, dev: pci_dev) -> None:
        self.dev = dev
        self.regs = NULL
        """What ioremap gave of the registers."""
        self.vsync = DECLARE_WAIT_QUEUE_HEAD()
        self.vsyncs = 0


displays: list[fb_info] = []


# -- the controller ------------------------------------------------------------------------------------------

LAYOUTS = {
    8: ((0, 8), (0, 8), (0, 8), (0, 0)),
    16: ((11, 5), (5, 6), (0, 5), (0, 0)),
    24: ((16, 8), (8, 8), (0, 8), (0, 0)),
    32: ((16, 8), (8, 8), (0, 8), (24, 8)),
}
"""(lowest bit, bits) of red, green, blue and transparency, by bits a pixel."""


def line_length(var: fb_var_screeninfo) -> int:
    """Bytes, whole words of 4."""
    return (var.xres_virtual * var.bits_per_pixel // 8 + 3) & ~3


def refresh_rate(var: fb_var_screeninfo) -> int:
    """Pictures in 1,000 seconds; without timings 60,000."""
    htotal = var.xres + var.left_margin + var.right_margin + var.hsync_len
    vtotal = var.yres + var.upper_margin + var.lower_margin + var.vsync_len
    return 10**15 // (var.pixclock * htotal * vtotal) if var.pixclock else 60_000


def display_check_var(var: fb_var_screeninfo, info: fb_info) -> int:
    """Round to what the controller can do; -EINVAL when that is not enough."""
    if not 1 <= var.bits_per_pixel <= 32 or not var.xres or not var.yres:
        return -EINVAL
    var.bits_per_pixel = (var.bits_per_pixel + 7) & ~7
    var.xres_virtual = max(var.xres, var.xres_virtual)
    var.yres_virtual = max(var.yres, var.yres_virtual)
    if line_length(var) * var.yres_virtual > info.fix.smem_len:
        return -EINVAL
    var.xoffset = min(var.xoffset, var.xres_virtual - var.xres)
    var.yoffset = min(var.yoffset, var.yres_virtual - var.yres)
    if not REFRESH_MIN <= refresh_rate(var) <= REFRESH_MAX:
        return -EINVAL
    fields = (var.red, var.green, var.blue, var.transp)
    for bitfield, (offset, length) in zip(fields, LAYOUTS[var.bits_per_pixel], strict=True):
        bitfield.offset, bitfield.length, bitfield.msb_right = offset, length, 0
    var.grayscale = var.nonstd = var.vmode = 0
    var.width = var.height = 0xFFFFFFFF  # millimetres: nobody knows
    return 0


def start_of(var: fb_var_screeninfo, line: int) -> int:
    """The byte of memory where the picture begins."""
    return var.yoffset * line + var.xoffset * var.bits_per_pixel // 8


def display_set_par(info: fb_info) -> int:
    """Have the controller show `info.var`."""
    var, fix, regs = info.var, info.fix, info.par.regs
    fix.line_length = line_length(var)
    fix.visual = FB_VISUAL_PSEUDOCOLOR if var.bits_per_pixel == 8 else FB_VISUAL_TRUECOLOR
    for register, value in (
        (WIDTH, var.xres), (HEIGHT, var.yres), (DEPTH, var.bits_per_pixel), (STRIDE, fix.line_length),
        (START, start_of(var, fix.line_length)), (REFRESH, refresh_rate(var)), (CONTROL, CONTROL_ON),
    ):  # fmt: skip
        writel(value, regs + register)
    return 0


def display_setcolreg(regno: int, red: int, green: int, blue: int, transp: int, info: fb_info) -> int:
    writel((red >> 8) << 16 | (green >> 8) << 8 | blue >> 8, info.par.regs + PALETTE + 4 * regno)
    return 0


def display_pan(var: fb_var_screeninfo, info: fb_info) -> int:
    """`var` has the offsets, the rest is as it was."""
    start = var.yoffset * info.fix.line_length + var.xoffset * info.var.bits_per_pixel // 8
    writel(start, info.par.regs + START)
    return 0


def display_blank(blank: int, info: fb_info) -> int:
    writel(CONTROL_ON if blank == FB_BLANK_UNBLANK else CONTROL_ON | CONTROL_BLANK, info.par.regs + CONTROL)
    return 0


# -- the vertical blank ----------------------------------------------------------------------------------------


def display_interrupt(irq: int, dev_id: display_par, regs: Any) -> int:
    """The line is shared, and other bits of the status belong to who asked for them."""
    pending = readl(dev_id.regs + IRQ_STATUS) & readl(dev_id.regs + IRQ_ENABLE) & IRQ_VBLANK
    if not pending:
        return IRQ_NONE
    writel(pending, dev_id.regs + IRQ_STATUS)
    dev_id.vsyncs += 1
    wake_up_interruptible(dev_id.vsync)
    return IRQ_HANDLED


def wait_for_vsync(par: display_par) -> int:
    """The interrupt is on only while somebody waits."""
    before = par.vsyncs
    writel(IRQ_VBLANK, par.regs + IRQ_STATUS)
    writel(readl(par.regs + IRQ_ENABLE) | IRQ_VBLANK, par.regs + IRQ_ENABLE)
    left = wait_event_interruptible_timeout(par.vsync, lambda: par.vsyncs != before, HZ // 10)
    if not waitqueue_active(par.vsync):
        writel(readl(par.regs + IRQ_ENABLE) & ~IRQ_VBLANK, par.regs + IRQ_ENABLE)
    return left if left < 0 else 0 if left else -ETIMEDOUT


def display_ioctl(inode: inode, filp: file, cmd: int, arg: int, info: fb_info) -> int:
    par: display_par = info.par
    if cmd == FBIO_WAITFORVSYNC:
        crtc = [0]
        if get_user(crtc, arg, 4):
            return -EFAULT
        return -ENODEV if crtc[0] else wait_for_vsync(par)
    if cmd != FBIOGET_VBLANK:
        return -ENOTTY
    vblank = fb_vblank(flags=FB_VBLANK_HAVE_VBLANK | FB_VBLANK_HAVE_COUNT, count=readl(par.regs + FRAME))
    if readl(par.regs + STATUS) & STATUS_VBLANK:
        vblank.flags |= FB_VBLANK_VBLANKING
    return -EFAULT if copy_to_user(arg, vblank, sizeof(vblank)) else 0


display_ops = fb_ops(
    owner=THIS_MODULE,
    fb_check_var=display_check_var,
    fb_set_par=display_set_par,
    fb_setcolreg=display_setcolreg,
    fb_pan_display=display_pan,
    fb_blank=display_blank,
    fb_ioctl=display_ioctl,
)


# -- the card comes and goes -------------------------------------------------------------------------------------

FIRST_MODE = {
    "pixclock": 15384, "left_margin": 160, "right_margin": 24, "upper_margin": 29, "lower_margin": 3, "hsync_len": 136,
    "vsync_len": 6,
}  # fmt: skip
"""Timings of 1024x768-60 (VESA DMT); other sizes get the same margins, and another clock for 60 pictures a second."""


def first_mode(info: fb_info) -> int:
    """What the parameters ask for, and the palette's grey steps; 0 or -EINVAL."""
    var = fb_var_screeninfo(xres=fb_xres, yres=fb_yres, bits_per_pixel=fb_bpp, **FIRST_MODE)
    if (fb_xres, fb_yres) != (1024, 768):
        var.pixclock = 10**12 // (60 * (fb_xres + 320) * (fb_yres + 38))
    result = display_check_var(var, info)
    if result:
        printk(KERN_ERR + "fb: %dx%d with %d bits a pixel can't be shown\n", fb_xres, fb_yres, fb_bpp)
        return result
    info.var = var
    for regno, (red, green, blue, transp) in enumerate(info.cmap):
        display_setcolreg(regno, red, green, blue, transp, info)
    return display_set_par(info)


def display_start(info: fb_info, par: display_par) -> int:
    """Mappings for the kernel, the interrupt, the first mode, the node."""
    fix = info.fix
    par.regs = ioremap(fix.mmio_start, fix.mmio_len)
    if not par.regs:
        return -ENOMEM
    fix.smem_len = readl(par.regs + MEMORY)
    info.screen_base = ioremap(fix.smem_start, fix.smem_len)
    if not info.screen_base:
        return -ENOMEM
    result = first_mode(info) or request_irq(par.dev.irq, display_interrupt, SA_SHIRQ, "fb", par)
    if result:
        return result
    result = register_framebuffer(info)
    if result:
        free_irq(par.dev.irq, par)
    return result


def display_stop(info: fb_info) -> None:
    """Undo what there is of `display_start` but the interrupt and the node, and what `display_probe` claimed."""
    par: display_par = info.par
    if info.screen_base:
        iounmap(info.screen_base)
    if par.regs:
        writel(0, par.regs + CONTROL)
        iounmap(par.regs)
    pci_release_regions(par.dev)
    pci_disable_device(par.dev)


def display_probe(dev: pci_dev, id: pci_device_id) -> int:
    result = pci_enable_device(dev)
    if result:
        return result
    result = pci_request_regions(dev, "fb")
    if result:
        pci_disable_device(dev)
        return result
    info = fb_info()
    info.fbops = display_ops
    info.fix = fb_fix_screeninfo(
        id=FB_ID, smem_start=pci_resource_start(dev, 0), type=FB_TYPE_PACKED_PIXELS, xpanstep=1, ypanstep=1,
        mmio_start=pci_resource_start(dev, 1), mmio_len=pci_resource_len(dev, 1),
    )  # fmt: skip
    info.par = display_par(dev)
    result = display_start(info, info.par)
    if result:
        display_stop(info)
        return result
    pci_set_drvdata(dev, info)
    displays.append(info)
    printk(KERN_INFO + "fb%d: %dx%d, %d bits a pixel, %d MiB at 0x%lx\n", info.node, info.var.xres, info.var.yres,
           info.var.bits_per_pixel, info.fix.smem_len >> 20, info.fix.smem_start)  # fmt: skip
    return 0


def display_remove(dev: pci_dev) -> None:
    info: fb_info = pci_get_drvdata(dev)
    unregister_framebuffer(info)
    displays.remove(info)
    writel(0, info.par.regs + IRQ_ENABLE)
    free_irq(dev.irq, info.par)
    display_stop(info)


display_driver = pci_driver(
    name="fb", id_table=[PCI_DEVICE(0x1234, 0x1111)], probe=display_probe, remove=display_remove
)


def display_init() -> int:
    """-ENODEV when there is no controller that could be had."""
    result = pci_register_driver(display_driver)
    if result == 0 and not displays:
        pci_unregister_driver(display_driver)
        result = -ENODEV
    return result


def display_exit() -> None:
    pci_unregister_driver(display_driver)


module_init(display_init)
module_exit(display_exit)
