"""simple_region: a part of physical memory, such as one device's I/O region, and nothing beyond (LDD3 §15.2.5).

==================== == ==========================================================================================
simple_region        0  `remap_pfn_range` alone.  A mapping that mremap makes longer reads zeros past its old end.
simple_region_sigbus 1  with a `nopage` that always answers SIGBUS: mremap succeeds, the first touch past the end is
                        SIGBUS.
==================== == ==========================================================================================

Offset 0 is physical address simple_region_start.  mmap gives EINVAL when the request runs past simple_region_size bytes
or begins beyond them, EAGAIN when there is no memory for tables.  The module is not loaded (EINVAL) unless the start is
that of a page and the size is not 0.  By default the region is the PC's video ROM.
"""

from __future__ import annotations

from typing import Optional

from machine.kernel.linux import (  # isort: skip
    EAGAIN, EINVAL, KERN_NOTICE, KERN_WARNING, MAJOR, MKDEV, MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE,
    MODULE_PARM_DESC, NOPAGE_SIGBUS, PAGE_MASK, PAGE_SHIFT, THIS_MODULE, NopageResult, Ptr, alloc_chrdev_region, cdev,
    cdev_add, cdev_del, cdev_init, devfs_mk_cdev, devfs_remove, file, file_operations, module_exit, module_init,
    module_param, printk, register_chrdev_region, remap_pfn_range, ulong, unregister_chrdev_region, vm_area_struct,
    vm_operations_struct,
)  # fmt: skip

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("a part of physical memory mapped, and what mremap makes of it (LDD3 §15.2.5)")

simple_region_major = 0
simple_region_start = 0xC0000
simple_region_size = 0xD000
module_param("simple_region_major", int, 0)
MODULE_PARM_DESC("simple_region_major", "major number; 0 asks for a free one")
module_param("simple_region_start", ulong, 0)
MODULE_PARM_DESC("simple_region_start", "physical address of the region, a multiple of the page size")
module_param("simple_region_size", ulong, 0)
MODULE_PARM_DESC("simple_region_size", "its size in bytes")


def simple_region_mmap(filp: file, vma: vm_area_struct) -> int:
    off = vma.vm_pgoff << PAGE_SHIFT
    physical = simple_region_start + off
    vsize = vma.vm_end - vma.vm_start
    # Below 0 for an offset beyond the region.  The book's is unsigned: there it wraps to a huge size, and any such
    # request passes.
    psize = simple_region_size - off
    if vsize > psize:
        return -EINVAL  # spans too high
    # The book's call passes `physical` itself, which is bytes where the function wants the number of a frame.
    if remap_pfn_range(vma, vma.vm_start, physical >> PAGE_SHIFT, vsize, vma.vm_page_prot):
        return -EAGAIN
    return 0


def simple_nopage(vma: vm_area_struct, address: int, type: Optional[Ptr]) -> NopageResult:
    """It is asked only for pages that mmap did not map: those past the end of the region."""
    return NOPAGE_SIGBUS


simple_sigbus_vm_ops = vm_operations_struct(nopage=simple_nopage)


def simple_region_sigbus_mmap(filp: file, vma: vm_area_struct) -> int:
    result = simple_region_mmap(filp, vma)
    if result == 0:
        vma.vm_ops = simple_sigbus_vm_ops
    return result


# -- loading and unloading -------------------------------------------------------------------------------------


simple_region_ops = file_operations(owner=THIS_MODULE, mmap=simple_region_mmap)
simple_sigbus_ops = file_operations(owner=THIS_MODULE, mmap=simple_region_sigbus_mmap)

MAX_REGION_DEV = 2
RegionDevs = [cdev() for _ in range(MAX_REGION_DEV)]


def simple_region_setup_cdev(dev: cdev, minor: int, fops: file_operations) -> None:
    cdev_init(dev, fops)
    err = cdev_add(dev, MKDEV(simple_region_major, minor), 1)
    if err:
        printk(KERN_NOTICE + "Error %d adding simple_region%d\n", err, minor)


def simple_region_init() -> int:
    global simple_region_major
    if simple_region_start & ~PAGE_MASK or simple_region_size == 0:
        printk(KERN_WARNING + "simple_region: 0x%lx bytes at 0x%lx can't be mapped\n", simple_region_size,
               simple_region_start)  # fmt: skip
        return -EINVAL
    if simple_region_major:
        result = register_chrdev_region(MKDEV(simple_region_major, 0), MAX_REGION_DEV, "simple_region")
    else:
        dev = [0]
        result = alloc_chrdev_region(dev, 0, MAX_REGION_DEV, "simple_region")
        simple_region_major = MAJOR(dev[0])
    if result < 0:
        printk(KERN_WARNING + "simple_region: unable to get major %d\n", simple_region_major)
        return result
    simple_region_setup_cdev(RegionDevs[0], 0, simple_region_ops)
    simple_region_setup_cdev(RegionDevs[1], 1, simple_sigbus_ops)
    devfs_mk_cdev(MKDEV(simple_region_major, 0), 0o660, "simple_region")
    devfs_mk_cdev(MKDEV(simple_region_major, 1), 0o660, "simple_region_sigbus")
    return 0


def simple_region_cleanup() -> None:
    devfs_remove("simple_region_sigbus")
    devfs_remove("simple_region")
    for dev in RegionDevs:
        cdev_del(dev)
    unregister_chrdev_region(MKDEV(simple_region_major, 0), MAX_REGION_DEV)


module_init(simple_region_init)
module_exit(simple_region_cleanup)
