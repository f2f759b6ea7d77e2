"""schar: one page of RAM that can be read, written and mapped (Beginning Linux Programming ch. 21), for Linux 2.2.

* read and write copy from and to the page, lseek moves in it.  At its end read gives 0 bytes, write ENOSPC.
* mmap maps exactly that page: EINVAL for an offset other than 0 and for any other size; the log says what was asked.
  EAGAIN when there is no memory for tables.
* So a mapping sees what is written, and read sees what is stored in a shared mapping.
"""

from __future__ import annotations

from machine.kernel.linux import (  # isort: skip
    EAGAIN, EFAULT, EINVAL, ENOMEM, ENOSPC, GFP_KERNEL, KERN_DEBUG, KERN_ERR, MAP_NR, MKDEV, MODULE_AUTHOR,
    MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC, PAGE_SIZE, THIS_MODULE, Ptr, __pa, copy_from_user,
    copy_to_user, devfs_mk_cdev, devfs_remove, file, file_operations, free_page, get_free_page, inode,
    mem_map_reserve, mem_map_unreserve, module_exit, module_init, module_param, printk, register_chrdev,
    remap_page_range, unregister_chrdev, vm_area_struct,
)  # fmt: skip

KERNEL = (2, 2)

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("one reserved page read, written and mapped (Beginning Linux Programming ch. 21)")

schar_major = 0
module_param("schar_major", int, 0)
MODULE_PARM_DESC("schar_major", "major number; 0 asks for a free one")

schar_buffer = 0
"""Kernel address of the page."""


def MSG(string: str, *args: object) -> None:
    printk(KERN_DEBUG + "schar: " + string, *args)


def schar_read(file: file, buf: int, count: int, offset: Ptr) -> int:
    count = max(0, min(count, PAGE_SIZE - offset[0]))
    if copy_to_user(buf, schar_buffer + offset[0], count):
        return -EFAULT
    offset[0] += count
    return count


def schar_write(file: file, buf: int, count: int, offset: Ptr) -> int:
    if count and offset[0] >= PAGE_SIZE:
        return -ENOSPC
    count = max(0, min(count, PAGE_SIZE - offset[0]))
    if copy_from_user(schar_buffer + offset[0], buf, count):
        return -EFAULT
    offset[0] += count
    return count


def schar_mmap(file: file, vma: vm_area_struct) -> int:
    # The buffer is one page: there is nothing at any offset into it that could be mapped.
    if vma.vm_offset != 0:
        MSG("mmap: the offset must be 0, not %lu\n", vma.vm_offset)
        return -EINVAL
    size = vma.vm_end - vma.vm_start
    if size != PAGE_SIZE:
        MSG("mmap: wanted %lu, but PAGE_SIZE is %lu\n", size, PAGE_SIZE)
        return -EINVAL
    if remap_page_range(vma.vm_start, __pa(schar_buffer), size, vma.vm_page_prot):
        return -EAGAIN
    return 0


def schar_open(inode: inode, file: file) -> int:
    return 0


def schar_release(inode: inode, file: file) -> int:
    return 0


schar_fops = file_operations(
    owner=THIS_MODULE,
    read=schar_read,
    write=schar_write,
    mmap=schar_mmap,
    open=schar_open,
    release=schar_release,
)


def init_module() -> int:
    global schar_major, schar_buffer
    schar_buffer = get_free_page(GFP_KERNEL)
    if not schar_buffer:
        return -ENOMEM
    # Only a reserved page is mapped by remap_page_range; of any other a process would see zeros in its place.
    mem_map_reserve(MAP_NR(schar_buffer))
    result = register_chrdev(schar_major, "schar", schar_fops)
    if result < 0:
        printk(KERN_ERR + "schar: can't get major %d\n", schar_major)
        free_buffer()
        return result
    schar_major = schar_major or result
    devfs_mk_cdev(MKDEV(schar_major, 0), 0o666, "schar")
    return 0


def free_buffer() -> None:
    # In this order: free_page leaves a reserved page alone.
    mem_map_unreserve(MAP_NR(schar_buffer))
    free_page(schar_buffer)


def cleanup_module() -> None:
    devfs_remove("schar")
    unregister_chrdev(schar_major, "schar")
    free_buffer()


module_init(init_module)
module_exit(cleanup_module)
