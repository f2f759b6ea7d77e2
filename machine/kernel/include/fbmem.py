"""The frame buffer devices /dev/fbN above their drivers (drivers/video/fbmem.c of Linux 2.6.10).

The first `register_framebuffer` of a machine claims major 29, the class `graphics` and /proc/fb; the last
`unregister_framebuffer` gives them back.
"""

from __future__ import annotations

from typing import Optional

from machine.hardware.ram import PAGE_SHIFT
from machine.kernel.abi.errno import EAGAIN, EBUSY, EFAULT, EFBIG, EINVAL, ENOSPC, ENOTTY, ENXIO
from machine.kernel.current import current_kernel
from machine.kernel.fs.chrdev import cdev
from machine.kernel.fs.file import MKDEV, Ptr, file, file_operations, inode
from machine.kernel.include.class_device import (
    class_create,
    class_destroy,
    dev_get_drvdata,
    device,
    device_class,
    device_create,
    device_destroy,
    err_ptr,
)
from machine.kernel.include.device import create_proc_read_entry, remove_proc_entry
from machine.kernel.include.fb import (
    FB_ACTIVATE_MASK,
    FB_ACTIVATE_NOW,
    FB_ACTIVATE_TEST,
    FB_MAJOR,
    FBIOBLANK,
    FBIOGET_FSCREENINFO,
    FBIOGET_VSCREENINFO,
    FBIOGETCMAP,
    FBIOPAN_DISPLAY,
    FBIOPUT_VSCREENINFO,
    FBIOPUTCMAP,
    fb_cmap,
    fb_cmap32,
    fb_fix_screeninfo32,
    fb_info,
    fb_var_screeninfo,
)
from machine.kernel.include.io import memcpy_fromio, memcpy_toio
from machine.kernel.include.mman import pgprot_noncached
from machine.kernel.include.pages import PAGE_ALIGN
from machine.kernel.include.structs import sizeof, struct
from machine.kernel.include.sysfs import DEVICE_ATTR, device_attribute, device_create_file, sysfs_buf, sysfs_emit
from machine.kernel.include.uaccess import copy_from_user, copy_to_user, in_compat_syscall
from machine.kernel.mm.remap import remap_pfn_range
from machine.kernel.mm.vma import VM_IO, VM_RESERVED, vm_area_struct
from machine.kernel.module import calling_module

FB_MAX = 32


class _Core:
    """What one machine has registered."""

    def __init__(self, graphics: device_class) -> None:
        self.graphics = graphics
        self.registered: dict[int, tuple[fb_info, cdev]] = {}


# -- file operations ------------------------------------------------------------------------------------------


def fb_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    info: fb_info = filp.private_data
    count = max(0, min(count, info.fix.smem_len - f_pos[0]))
    data = bytearray(count)
    memcpy_fromio(data, info.screen_base + f_pos[0], count)
    if copy_to_user(buf, data, count):
        return -EFAULT
    f_pos[0] += count
    return count


def fb_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """What fits is written; EFBIG when more than all the memory was asked for, ENOSPC past its end."""
    info: fb_info = filp.private_data
    err, p = 0, f_pos[0]
    if p > info.fix.smem_len:
        return -EFBIG
    if count > info.fix.smem_len:
        err, count = -EFBIG, info.fix.smem_len
    if count + p > info.fix.smem_len:
        err, count = err or -ENOSPC, info.fix.smem_len - p
    data = bytearray(count)
    if copy_from_user(data, buf, count):
        return -EFAULT
    memcpy_toio(info.screen_base + p, data, count)
    f_pos[0] += count
    return count or err


def fb_mmap(filp: file, vma: vm_area_struct) -> int:
    """The memory, and after it, at offset smem_len, the registers."""
    info: fb_info = filp.private_data
    off = vma.vm_pgoff << PAGE_SHIFT
    start, size = info.fix.smem_start, PAGE_ALIGN(info.fix.smem_len)
    if off >= size:
        if info.var.accel_flags:
            return -EINVAL
        off -= size
        start, size = info.fix.mmio_start, PAGE_ALIGN(info.fix.mmio_len)
    if vma.vm_end - vma.vm_start + off > size:
        return -EINVAL
    vma.vm_pgoff = (start + off) >> PAGE_SHIFT
    vma.vm_flags |= VM_IO | VM_RESERVED
    vma.vm_page_prot = pgprot_noncached(vma.vm_page_prot)
    if remap_pfn_range(vma, vma.vm_start, vma.vm_pgoff, vma.vm_end - vma.vm_start, vma.vm_page_prot):
        return -EAGAIN
    return 0


# -- ioctl ----------------------------------------------------------------------------------------------------


def fb_set_var(info: fb_info, var: fb_var_screeninfo) -> int:
    """Have the driver round the mode, and unless it is only a test show it (fb_set_var)."""
    activate = var.activate & FB_ACTIVATE_MASK
    if activate not in (FB_ACTIVATE_NOW, FB_ACTIVATE_TEST):
        return -EINVAL
    if info.fbops.fb_check_var is None:
        return -EINVAL
    result = info.fbops.fb_check_var(var, info)
    if result or activate == FB_ACTIVATE_TEST:
        return result
    before, info.var = info.var, fb_var_screeninfo(bytearray(bytes(var)))
    result = 0 if info.fbops.fb_set_par is None else info.fbops.fb_set_par(info)
    if result:
        info.var = before
    return result


def fb_pan_display(info: fb_info, var: fb_var_screeninfo) -> int:
    """Only the offsets count (fb_pan_display)."""
    now, fix = info.var, info.fix
    for offset, step in ((var.xoffset, fix.xpanstep), (var.yoffset, fix.ypanstep)):
        if offset and (not step or offset % step):
            return -EINVAL
    if var.xoffset + now.xres > now.xres_virtual or var.yoffset + now.yres > now.yres_virtual:
        return -EINVAL
    if info.fbops.fb_pan_display is None:
        return -EINVAL
    result = info.fbops.fb_pan_display(var, info)
    if result == 0:
        now.xoffset, now.yoffset = var.xoffset, var.yoffset
    return result


def fb_ioctl_cmap(info: fb_info, cmd: int, arg: int) -> int:
    """Arrays of 16-bit numbers, one a colour; transparency may be missing."""
    cmap = fb_cmap32() if in_compat_syscall() else fb_cmap()
    if copy_from_user(cmap, arg, sizeof(cmap)):
        return -EFAULT
    if cmap.start + cmap.len > 256 or not cmap.len:
        return -EINVAL
    size = 2 * cmap.len
    colours = [list(each) for each in info.cmap[cmap.start : cmap.start + cmap.len]]
    for part, address in enumerate((cmap.red, cmap.green, cmap.blue, cmap.transp)):
        if part == 3 and not address:
            break
        data = bytearray(size)
        if cmd == FBIOGETCMAP:
            data[:] = b"".join(each[part].to_bytes(2, "little") for each in colours)
            if copy_to_user(address, data, size):
                return -EFAULT
            continue
        if copy_from_user(data, address, size):
            return -EFAULT
        for i, each in enumerate(colours):
            each[part] = int.from_bytes(data[2 * i : 2 * i + 2], "little")
    return 0 if cmd == FBIOGETCMAP else set_cmap(info, cmap.start, colours)


def set_cmap(info: fb_info, start: int, colours: list[list[int]]) -> int:
    """Until the driver refuses one."""
    for regno, (red, green, blue, transp) in enumerate(colours, start):
        method = info.fbops.fb_setcolreg
        result = 0 if method is None else method(regno, red, green, blue, transp, info)
        if result:
            return result
        info.cmap[regno] = (red, green, blue, transp)
    return 0


def fb_ioctl_var(info: fb_info, cmd: int, arg: int) -> int:
    """Set the mode or pan, and tell what became of it."""
    var = fb_var_screeninfo()
    if copy_from_user(var, arg, sizeof(var)):
        return -EFAULT
    result = fb_set_var(info, var) if cmd == FBIOPUT_VSCREENINFO else fb_pan_display(info, var)
    if result == 0 and copy_to_user(arg, var, sizeof(var)):
        return -EFAULT
    return result


def fb_ioctl_fix(info: fb_info, arg: int) -> int:
    """In the layout of who asks."""
    fix: struct = info.fix
    if in_compat_syscall():
        fix = fb_fix_screeninfo32(**{name: getattr(info.fix, name) for name in fb_fix_screeninfo32._fields})
    return -EFAULT if copy_to_user(arg, fix, sizeof(fix)) else 0


def fb_ioctl(inode: inode, filp: file, cmd: int, arg: int) -> int:
    info: fb_info = filp.private_data
    if cmd == FBIOGET_VSCREENINFO:
        return -EFAULT if copy_to_user(arg, info.var, sizeof(info.var)) else 0
    if cmd in (FBIOPUT_VSCREENINFO, FBIOPAN_DISPLAY):
        return fb_ioctl_var(info, cmd, arg)
    if cmd == FBIOGET_FSCREENINFO:
        return fb_ioctl_fix(info, arg)
    if cmd in (FBIOGETCMAP, FBIOPUTCMAP):
        return fb_ioctl_cmap(info, cmd, arg)
    if cmd == FBIOBLANK:
        return -EINVAL if info.fbops.fb_blank is None else info.fbops.fb_blank(arg, info)
    return -ENOTTY if info.fbops.fb_ioctl is None else info.fbops.fb_ioctl(inode, filp, cmd, arg, info)


# -- coming and going --------------------------------------------------------------------------------------------


def fb_read_proc(core: _Core) -> str:
    """The text of /proc/fb."""
    return "".join(f"{node} {info.fix.id.decode()}\n" for node, (info, _) in sorted(core.registered.items()))


def fb_show(dev: device, attr: device_attribute, buf: sysfs_buf) -> int:
    """The files of /sys/class/graphics/fbN."""
    info: fb_info = dev_get_drvdata(dev)
    var, fix = info.var, info.fix
    if attr.name == "name":
        return sysfs_emit(buf, "%s\n", fix.id.decode())
    if attr.name == "virtual_size":
        return sysfs_emit(buf, "%d,%d\n", var.xres_virtual, var.yres_virtual)
    if attr.name == "pan":
        return sysfs_emit(buf, "%d,%d\n", var.xoffset, var.yoffset)
    return sysfs_emit(buf, "%d\n", fix.line_length if attr.name == "stride" else var.bits_per_pixel)


def fb_devnode(dev: device, mode: Optional[Ptr]) -> Optional[str]:
    """Root and its group may open it."""
    if mode is not None:
        mode[0] = 0o660
    return None


def _core() -> Optional[_Core]:
    core: Optional[_Core] = getattr(current_kernel(), "framebuffers", None)
    return core


def _start_core() -> int:
    kernel = current_kernel()
    if kernel.chrdevs.register_region(MKDEV(FB_MAJOR, 0), FB_MAX, "fb", calling_module(2)) < 0:
        return -EBUSY
    graphics = class_create(None, "graphics")
    if isinstance(graphics, err_ptr):
        kernel.chrdevs.unregister_region(MKDEV(FB_MAJOR, 0), FB_MAX)
        return graphics.errno
    graphics.devnode = fb_devnode
    kernel.framebuffers = core = _Core(graphics)
    create_proc_read_entry("fb", 0, None, fb_read_proc, core)
    return 0


def _stop_core(core: _Core) -> None:
    kernel = current_kernel()
    remove_proc_entry("fb", None)
    class_destroy(core.graphics)
    kernel.chrdevs.unregister_region(MKDEV(FB_MAJOR, 0), FB_MAX)
    kernel.framebuffers = None


def register(info: fb_info) -> int:
    """See `register_framebuffer`."""
    core = _core()
    if core is None:
        result = _start_core()
        if result:
            return result
        core = _core()
        assert core is not None
    node = next((node for node in range(FB_MAX) if node not in core.registered), -1)
    if node < 0:
        return -ENXIO
    result = _add(core, info, node)
    if result and not core.registered:
        _stop_core(core)
    return result


def _add(core: _Core, info: fb_info, node: int) -> int:
    dev = MKDEV(FB_MAJOR, node)
    made = device_create(core.graphics, None, dev, info, "fb%d", node)
    if isinstance(made, err_ptr):
        return made.errno
    for name in ("name", "bits_per_pixel", "virtual_size", "stride", "pan"):
        device_create_file(made, DEVICE_ATTR(name, 0o444, fb_show))

    def fb_open(_: inode, filp: file) -> int:
        filp.private_data = info
        return 0

    owner = calling_module(2)
    operations = file_operations(owner=owner, open=fb_open, read=fb_read, write=fb_write, ioctl=fb_ioctl, mmap=fb_mmap)
    info.node = node
    core.registered[node] = info, cdev(operations, owner)
    current_kernel().chrdevs.add(core.registered[node][1], dev, 1)
    return 0


def unregister(info: fb_info) -> int:
    """See `unregister_framebuffer`."""
    core = _core()
    if core is None or core.registered.get(info.node, (None,))[0] is not info:
        return -EINVAL
    current_kernel().chrdevs.remove(core.registered.pop(info.node)[1])
    device_destroy(core.graphics, MKDEV(FB_MAJOR, info.node))
    if not core.registered:
        _stop_core(core)
    return 0
