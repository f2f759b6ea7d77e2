"""simple in the names of today: physical memory, mapped by remap_pfn_range and by fault (LDD3 §15.2.1, §15.2.3).

* /dev/simpler: mmap maps the physical memory from the mapping's offset on at once, by `remap_pfn_range`.  On today's
  kernels that shows ordinary RAM too (since 2.6.15), and the area can't grow (EFAULT).
* /dev/simplen: mmap maps nothing; `fault` finds each page when it is touched.  It works for what has a `struct page`:
  RAM, as far as somebody uses the page, and the ISA hole; the rest is SIGBUS.

There is no read and no write.  open and close of each area are logged, as in the book.
"""

from __future__ import annotations

from machine.kernel.linux import (  # isort: skip
    EAGAIN, KERN_NOTICE, KERN_WARNING, MAJOR, MKDEV, MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE, O_SYNC,
    PAGE_SHIFT, PTR_ERR, THIS_MODULE, VM_DONTDUMP, VM_FAULT_SIGBUS, VM_IO, __pa, alloc_chrdev_region, cdev, cdev_add,
    cdev_del, cdev_init, class_create, class_destroy, device_class, device_create, device_destroy, err_ptr, file,
    file_operations, get_page_unless_zero, high_memory, inode, module_exit, module_init, module_param, pfn_to_page,
    pfn_valid, printk, register_chrdev_region, remap_pfn_range, unregister_chrdev_region,
    vm_area_struct, vm_fault, vm_flags_set, vm_operations_struct,
)  # fmt: skip

KERNEL = (6, 1)

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("simple in the names of today: physical memory by remap_pfn_range and by fault (LDD3 §15.2)")

MAX_SIMPLE_DEV = 2

simple_major = 0
module_param("simple_major", int, 0)


def simple_open(inode: inode, filp: file) -> int:
    return 0


def simple_release(inode: inode, filp: file) -> int:
    return 0


# -- what both forms share ---------------------------------------------------------------------------------


def simple_vma_open(vma: vm_area_struct) -> None:
    printk(KERN_NOTICE + "Simple VMA open, virt %lx, phys %lx\n", vma.vm_start, vma.vm_pgoff << PAGE_SHIFT)


def simple_vma_close(vma: vm_area_struct) -> None:
    printk(KERN_NOTICE + "Simple VMA close.\n")


# -- /dev/simpler: all at once -------------------------------------------------------------------------------


simple_remap_vm_ops = vm_operations_struct(
    open=simple_vma_open,
    close=simple_vma_close,
)


def simple_remap_mmap(filp: file, vma: vm_area_struct) -> int:
    size = vma.vm_end - vma.vm_start
    # remap_pfn_range sets VM_IO, VM_PFNMAP, VM_DONTEXPAND and VM_DONTDUMP: there is no VM_RESERVED any more.
    if remap_pfn_range(vma, vma.vm_start, vma.vm_pgoff, size, vma.vm_page_prot):
        return -EAGAIN
    vma.vm_ops = simple_remap_vm_ops
    simple_vma_open(vma)
    return 0


# -- /dev/simplen: page by page --------------------------------------------------------------------------------


def simple_vma_fault(vmf: vm_fault) -> int:
    if not pfn_valid(vmf.pgoff):
        return VM_FAULT_SIGBUS
    page = pfn_to_page(vmf.pgoff)
    if not get_page_unless_zero(page):
        return VM_FAULT_SIGBUS  # a free page: it may be somebody else's in a moment
    vmf.page = page
    return 0


simple_fault_vm_ops = vm_operations_struct(
    open=simple_vma_open,
    close=simple_vma_close,
    fault=simple_vma_fault,
)


def simple_fault_mmap(filp: file, vma: vm_area_struct) -> int:
    offset = vma.vm_pgoff << PAGE_SHIFT
    if offset >= __pa(high_memory) or filp.f_flags & O_SYNC:
        vm_flags_set(vma, VM_IO)
    vm_flags_set(vma, VM_DONTDUMP)
    vma.vm_ops = simple_fault_vm_ops
    simple_vma_open(vma)
    return 0


# -- loading and unloading -------------------------------------------------------------------------------------


simple_fops = [
    ("simpler", file_operations(owner=THIS_MODULE, open=simple_open, release=simple_release, mmap=simple_remap_mmap)),
    ("simplen", file_operations(owner=THIS_MODULE, open=simple_open, release=simple_release, mmap=simple_fault_mmap)),
]
simple_devs = [cdev() for _ in range(MAX_SIMPLE_DEV)]
simple_class: device_class


def simple_setup_cdev(dev: cdev, minor: int) -> int:
    """The device and its node: 0 or a negative errno."""
    name, fops = simple_fops[minor]
    devno = MKDEV(simple_major, minor)
    cdev_init(dev, fops)
    err = cdev_add(dev, devno, 1)
    if err:
        printk(KERN_NOTICE + "Error %d adding %s\n", err, name)
        return err
    node = device_create(simple_class, None, devno, None, name)
    if isinstance(node, err_ptr):
        cdev_del(dev)
        return PTR_ERR(node)
    return 0


def simple_init() -> int:
    global simple_major, simple_class
    if simple_major:
        result = register_chrdev_region(MKDEV(simple_major, 0), MAX_SIMPLE_DEV, "simple")
    else:
        dev = [0]
        result = alloc_chrdev_region(dev, 0, MAX_SIMPLE_DEV, "simple")
        simple_major = MAJOR(dev[0])
    if result < 0:
        printk(KERN_WARNING + "simple: unable to get major %d\n", simple_major)
        return result
    made = class_create(THIS_MODULE, "simple")
    if isinstance(made, err_ptr):
        unregister_chrdev_region(MKDEV(simple_major, 0), MAX_SIMPLE_DEV)
        return PTR_ERR(made)
    simple_class = made
    for minor, each in enumerate(simple_devs):
        result = simple_setup_cdev(each, minor)
        if result:
            simple_undo(minor)
            return result
    return 0


def simple_undo(minors: int) -> None:
    """Take away the devices of the first `minors` minors, the class and the numbers."""
    for minor in range(minors):
        device_destroy(simple_class, MKDEV(simple_major, minor))
        cdev_del(simple_devs[minor])
    class_destroy(simple_class)
    unregister_chrdev_region(MKDEV(simple_major, 0), MAX_SIMPLE_DEV)


def simple_cleanup() -> None:
    simple_undo(MAX_SIMPLE_DEV)


module_init(simple_init)
module_exit(simple_cleanup)
