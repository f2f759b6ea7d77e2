"""simple: physical memory mapped one to one, in two ways (LDD3 §15.2.2 to §15.2.4).

========= == =====================================================================================================
simpler   0  by `remap_pfn_range`: all entries are built by mmap.  Reserved pages (the ISA hole) and addresses above
             RAM show their bytes, an ordinary page of RAM reads as zeros.  EAGAIN when there is no memory for tables.
simplen   1  by `nopage`: a page is mapped when it is first touched, ordinary RAM as well.  What has no `struct page`
             (the memory of a PCI card) is SIGBUS.
========= == =====================================================================================================

The offset of mmap is the physical address.  Each area's open and close are written to the log.
"""

from __future__ import annotations

from typing import Optional

from machine.kernel.linux import (  # isort: skip
    EAGAIN, KERN_NOTICE, KERN_WARNING, MAJOR, MKDEV, MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE,
    MODULE_PARM_DESC, NOPAGE_SIGBUS, O_SYNC, PAGE_SHIFT, THIS_MODULE, VM_FAULT_MINOR, VM_IO, VM_RESERVED, NopageResult,
    Ptr, __pa, alloc_chrdev_region, cdev, cdev_add, cdev_del, cdev_init, devfs_mk_cdev, devfs_remove, file,
    file_operations, get_page, high_memory, inode, module_exit, module_init, module_param, pfn_to_page, pfn_valid,
    printk, register_chrdev_region, remap_pfn_range, unregister_chrdev_region, vm_area_struct, vm_operations_struct,
)  # fmt: skip

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("physical memory mapped by remap_pfn_range and by nopage (LDD3 §15.2.2)")

simple_major = 0
module_param("simple_major", int, 0)
MODULE_PARM_DESC("simple_major", "major number; 0 asks for a free one")


def simple_open(inode: inode, filp: file) -> int:
    return 0


def simple_release(inode: inode, filp: file) -> int:
    return 0


# -- operations of an area ---------------------------------------------------------------------------------


def simple_vma_open(vma: vm_area_struct) -> None:
    printk(KERN_NOTICE + "Simple VMA open, virt %lx, phys %lx\n", vma.vm_start, vma.vm_pgoff << PAGE_SHIFT)


def simple_vma_close(vma: vm_area_struct) -> None:
    printk(KERN_NOTICE + "Simple VMA close.\n")


# -- by remap_pfn_range --------------------------------------------------------------------------------------


simple_remap_vm_ops = vm_operations_struct(
    open=simple_vma_open,
    close=simple_vma_close,
)


def simple_remap_mmap(filp: file, vma: vm_area_struct) -> int:
    if remap_pfn_range(vma, vma.vm_start, vma.vm_pgoff, vma.vm_end - vma.vm_start, vma.vm_page_prot):
        return -EAGAIN
    vma.vm_ops = simple_remap_vm_ops
    simple_vma_open(vma)  # the kernel does not call it for the first mapping
    return 0


# -- by nopage -------------------------------------------------------------------------------------------------


def simple_vma_nopage(vma: vm_area_struct, address: int, type: Optional[Ptr]) -> NopageResult:
    offset = vma.vm_pgoff << PAGE_SHIFT
    physaddr = address - vma.vm_start + offset
    pageframe = physaddr >> PAGE_SHIFT
    if not pfn_valid(pageframe):  # the offset is the process's to choose
        return NOPAGE_SIGBUS
    pageptr = pfn_to_page(pageframe)
    get_page(pageptr)
    if type:
        type[0] = VM_FAULT_MINOR
    return pageptr


simple_nopage_vm_ops = vm_operations_struct(
    open=simple_vma_open,
    close=simple_vma_close,
    nopage=simple_vma_nopage,
)


def simple_nopage_mmap(filp: file, vma: vm_area_struct) -> int:
    offset = vma.vm_pgoff << PAGE_SHIFT
    if offset >= __pa(high_memory) or filp.f_flags & O_SYNC:
        vma.vm_flags |= VM_IO
    vma.vm_flags |= VM_RESERVED
    vma.vm_ops = simple_nopage_vm_ops
    simple_vma_open(vma)
    return 0


# -- loading and unloading -------------------------------------------------------------------------------------


MAX_SIMPLE_DEV = 2
SimpleDevs = [cdev() for _ in range(MAX_SIMPLE_DEV)]

simple_remap_ops = file_operations(
    owner=THIS_MODULE,
    open=simple_open,
    release=simple_release,
    mmap=simple_remap_mmap,
)
simple_nopage_ops = file_operations(
    owner=THIS_MODULE,
    open=simple_open,
    release=simple_release,
    mmap=simple_nopage_mmap,
)


def simple_setup_cdev(dev: cdev, minor: int, fops: file_operations) -> None:
    devno = MKDEV(simple_major, minor)
    cdev_init(dev, fops)
    err = cdev_add(dev, devno, 1)
    if err:
        printk(KERN_NOTICE + "Error %d adding simple%d\n", err, minor)


def simple_init() -> int:
    global simple_major
    if simple_major:
        result = register_chrdev_region(MKDEV(simple_major, 0), MAX_SIMPLE_DEV, "simple")
    else:
        dev = [0]
        result = alloc_chrdev_region(dev, 0, MAX_SIMPLE_DEV, "simple")
        simple_major = MAJOR(dev[0])
    if result < 0:
        printk(KERN_WARNING + "simple: unable to get major %d\n", simple_major)
        return result
    simple_setup_cdev(SimpleDevs[0], 0, simple_remap_ops)
    simple_setup_cdev(SimpleDevs[1], 1, simple_nopage_ops)
    # A window on all of physical memory is not for everybody.
    devfs_mk_cdev(MKDEV(simple_major, 0), 0o660, "simpler")
    devfs_mk_cdev(MKDEV(simple_major, 1), 0o660, "simplen")
    return 0


def simple_cleanup() -> None:
    devfs_remove("simplen")
    devfs_remove("simpler")
    for dev in SimpleDevs:
        cdev_del(dev)
    unregister_chrdev_region(MKDEV(simple_major, 0), MAX_SIMPLE_DEV)


module_init(simple_init)
module_exit(simple_cleanup)
