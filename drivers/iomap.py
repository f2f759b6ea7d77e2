"""iomap: I/O memory as files, by ioremap (Beginning Linux Programming ch. 21, "I/O memory").

/dev/iomap0 to /dev/iomap3 each show one range of physical addresses: the frame buffer of the graphics card (/proc/iomem
says where it is: 0xe8000000), or the registers of a device.

* ioctl IOMAP_SET puts a device at a range (struct iomap_area of guest/include/iomap.h: two 64-bit numbers, base and
  size in bytes), IOMAP_CLEAR takes it away, IOMAP_GET tells where it is (size 0: nowhere).  SET and CLEAR want root.
  SET gives EBUSY for a device that has a range, and for a range that a driver has claimed; EINVAL for ordinary RAM and
  for no bytes.  CLEAR gives EBUSY while the range is mapped.
* read, write and lseek work inside the range; without one they give ENXIO.  Writing at its end gives ENOSPC.
* mmap shows the range, uncached; EINVAL past its end, or when the base is not the start of a page.
* /dev/iomap0 can be set when the module is loaded: iomap_base=0xe8000000 iomap_size=0x100000.
"""

from __future__ import annotations

from typing import Any

from machine.kernel.linux import (  # isort: skip
    _IO, _IOR, _IOW, CAP_SYS_RAWIO, EAGAIN, EBUSY, EFAULT, EINVAL, ENOSPC, ENOTTY, ENXIO, EPERM, KERN_INFO,
    KERN_WARNING, MKDEV, MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC, NULL, PAGE_ALIGN,
    PAGE_SIZE, SEEK_CUR, SEEK_END, SEEK_SET, THIS_MODULE, Ptr, capable, copy_from_user, copy_to_user, devfs_mk_cdev,
    devfs_remove, file, file_operations, iminor, inode, io_remap_page_range, ioremap, iounmap, memcpy_fromio,
    memcpy_toio, module_exit, module_init, module_param, pgprot_noncached, printk, register_chrdev, release_mem_region,
    request_mem_region, sizeof, struct, u64, ulong, unregister_chrdev, vm_area_struct, vm_operations_struct,
)  # fmt: skip

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("I/O memory as files, by ioremap (Beginning Linux Programming ch. 21)")

iomap_major = 0
iomap_devs = 4
iomap_base = 0
iomap_size = 0
module_param("iomap_major", int, 0)
MODULE_PARM_DESC("iomap_major", "major number; 0 asks for a free one")
module_param("iomap_devs", int, 0)
MODULE_PARM_DESC("iomap_devs", "number of devices")
module_param("iomap_base", ulong, 0)
MODULE_PARM_DESC("iomap_base", "physical address of /dev/iomap0")
module_param("iomap_size", ulong, 0)
MODULE_PARM_DESC("iomap_size", "its size in bytes; 0 leaves it to an ioctl")

ISA_END = 0x100000


class iomap_area(struct):
    """What the ioctl commands take and give."""

    base = u64()
    size = u64()


IOMAP_GET = _IOR("x", 1, sizeof(iomap_area))
IOMAP_SET = _IOW("x", 2, sizeof(iomap_area))
IOMAP_CLEAR = _IO("x", 3)


class Iomap:
    """One device."""

    def __init__(self) -> None:
        self.base = 0
        """Physical address."""
        self.size = 0
        """Bytes; 0 while the device has no range."""
        self.ptr = NULL
        """What ioremap gave."""
        self.vmas = 0
        """Areas that map it now."""


iomap_dev: list[Iomap] = []


def iomap_setup(idev: Iomap, base: int, size: int) -> int:
    """Map the range for the kernel and claim it: 0, -EBUSY or -EINVAL."""
    if idev.size:
        return -EBUSY
    ptr = ioremap(base, size)
    if not ptr:
        return -EINVAL
    # Below 1 MiB the board itself has claimed what there is ("Video RAM area"); it is everybody's.
    if base + size > ISA_END and not request_mem_region(base, size, "iomap"):
        iounmap(ptr)
        return -EBUSY
    idev.base, idev.size, idev.ptr = base, size, ptr
    return 0


def iomap_remove(idev: Iomap) -> None:
    """Undo `iomap_setup`."""
    if not idev.size:
        return
    iounmap(idev.ptr)
    if idev.base + idev.size > ISA_END:
        release_mem_region(idev.base, idev.size)
    idev.base, idev.size, idev.ptr = 0, 0, NULL


# -- file operations ---------------------------------------------------------------------------------------


def iomap_open(inode: inode, filp: file) -> int:
    filp.private_data = iomap_dev[iminor(inode)]
    return 0


def iomap_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Up to the end of the range, 0 there."""
    idev: Iomap = filp.private_data
    if not idev.size:
        return -ENXIO
    count = max(0, min(count, idev.size - f_pos[0]))
    # Device memory is no memory to copy_to_user: it goes through a buffer.
    data = bytearray(count)
    memcpy_fromio(data, idev.ptr + f_pos[0], count)
    if copy_to_user(buf, data, count):
        return -EFAULT
    f_pos[0] += count
    return count


def iomap_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Up to the end of the range; -ENOSPC there."""
    idev: Iomap = filp.private_data
    if not idev.size:
        return -ENXIO
    if count and f_pos[0] >= idev.size:
        return -ENOSPC
    count = max(0, min(count, idev.size - f_pos[0]))
    data = bytearray(count)
    if copy_from_user(data, buf, count):
        return -EFAULT
    if f_pos[0] + count > idev.size:
        return -ENXIO  # the copy slept, and the range is another one now
    memcpy_toio(idev.ptr + f_pos[0], data, count)
    f_pos[0] += count
    return count


def iomap_llseek(filp: file, off: int, whence: int) -> int:
    idev: Iomap = filp.private_data
    bases = {SEEK_SET: 0, SEEK_CUR: filp.f_pos, SEEK_END: idev.size}
    if not idev.size:
        return -ENXIO
    if whence not in bases or bases[whence] + off < 0:
        return -EINVAL
    filp.f_pos = bases[whence] + off
    return filp.f_pos


def iomap_ioctl(inode: inode, filp: file, cmd: int, arg: int) -> int:
    """-ENOTTY for a command of another device, -EPERM without CAP_SYS_RAWIO, -EFAULT; others at the top."""
    idev: Iomap = filp.private_data
    if cmd == IOMAP_GET:
        area = iomap_area(base=idev.base, size=idev.size)
        return -EFAULT if copy_to_user(arg, area, sizeof(area)) else 0
    if cmd not in (IOMAP_SET, IOMAP_CLEAR):
        return -ENOTTY
    if not capable(CAP_SYS_RAWIO):
        return -EPERM
    if cmd == IOMAP_CLEAR:
        if idev.vmas:
            return -EBUSY
        iomap_remove(idev)
        return 0
    area = iomap_area()
    if copy_from_user(area, arg, sizeof(area)):
        return -EFAULT
    return iomap_setup(idev, area.base, area.size)


# -- mmap --------------------------------------------------------------------------------------------------------


def iomap_vma_open(vma: vm_area_struct) -> None:
    vma.vm_private_data.vmas += 1


def iomap_vma_close(vma: vm_area_struct) -> None:
    vma.vm_private_data.vmas -= 1


iomap_vm_ops = vm_operations_struct(open=iomap_vma_open, close=iomap_vma_close)


def iomap_mmap(filp: file, vma: vm_area_struct) -> int:
    """The address that ioremap gave is for the kernel only: a process gets the physical range (LDD3 §15.2.7)."""
    idev: Iomap = filp.private_data
    size = vma.vm_end - vma.vm_start
    if not idev.size:
        return -ENXIO
    if idev.base % PAGE_SIZE or vma.vm_offset + size > PAGE_ALIGN(idev.size):
        return -EINVAL
    vma.vm_page_prot = pgprot_noncached(vma.vm_page_prot)
    if io_remap_page_range(vma, vma.vm_start, idev.base + vma.vm_offset, size, vma.vm_page_prot):
        return -EAGAIN
    vma.vm_ops = iomap_vm_ops
    vma.vm_private_data = idev
    iomap_vma_open(vma)
    return 0


iomap_fops = file_operations(
    owner=THIS_MODULE,
    llseek=iomap_llseek,
    read=iomap_read,
    write=iomap_write,
    ioctl=iomap_ioctl,
    mmap=iomap_mmap,
    open=iomap_open,
)


# -- loading and unloading ---------------------------------------------------------------------------------------


def iomap_init() -> int:
    global iomap_major
    if not 1 <= iomap_devs <= 256:
        return -EINVAL
    result: Any = register_chrdev(iomap_major, "iomap", iomap_fops)
    if result < 0:
        printk(KERN_WARNING + "iomap: can't get major %d\n", iomap_major)
        return int(result)
    iomap_major = iomap_major or result
    iomap_dev.extend(Iomap() for _ in range(iomap_devs))
    if iomap_size:
        result = iomap_setup(iomap_dev[0], iomap_base, iomap_size)
        if result:
            printk(KERN_WARNING + "iomap: can't map 0x%lx bytes at 0x%lx\n", iomap_size, iomap_base)
            unregister_chrdev(iomap_major, "iomap")
            return int(result)
        printk(KERN_INFO + "iomap: 0x%lx bytes at 0x%lx\n", iomap_size, iomap_base)
    for i in range(iomap_devs):
        devfs_mk_cdev(MKDEV(iomap_major, i), 0o660, "iomap%d", i)
    return 0


def iomap_cleanup() -> None:
    for i, idev in enumerate(iomap_dev):
        devfs_remove("iomap%d", i)
        iomap_remove(idev)
    unregister_chrdev(iomap_major, "iomap")


module_init(iomap_init)
module_exit(iomap_cleanup)
