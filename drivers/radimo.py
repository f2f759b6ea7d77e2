"""radimo: a RAM disk in vmalloc memory, as a char device (Beginning Linux Programming ch. 21, "vmalloc").

/dev/radimo has a fixed size, and is zeros until somebody writes to it.

* read and write work on any bytes; at the end read gives 0 and write ENOSPC.  lseek knows the end (SEEK_END).
* mmap shows the very pages, got one by one with vmalloc_to_page at the first touch; past the end it is SIGBUS.
* ioctl, as block devices have it: BLKGETSIZE (sectors of 512 bytes, a long), BLKGETSIZE64 (bytes, 8 of them), BLKSSZGET
  (512, an int), BLKFLSBUF (empties the disk; EACCES unless root, EBUSY while it is mapped).
* The second text makes it a block device; this kernel has char devices only, and no file system could be mounted on it.
"""

from __future__ import annotations

from typing import Optional

from machine.kernel.linux import (  # isort: skip
    _IO, _IOR, CAP_SYS_ADMIN, EACCES, EBUSY, EFAULT, EINVAL, ENOMEM, ENOSPC, ENOTTY, KERN_INFO, KERN_WARNING, MKDEV,
    MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC, NOPAGE_SIGBUS, NULL, PAGE_ALIGN, PAGE_SHIFT,
    SEEK_CUR, SEEK_END, SEEK_SET, THIS_MODULE, VM_FAULT_MINOR, VM_RESERVED, NopageResult, Ptr, capable, copy_from_user,
    copy_to_user, devfs_mk_cdev, devfs_remove, file, file_operations, get_page, in_compat_syscall, inode, memcpy,
    memset, module_exit, module_init, module_param, printk, put_user, register_chrdev, unregister_chrdev, vfree,
    vm_area_struct, vm_operations_struct, vmalloc, vmalloc_to_page,
)  # fmt: skip

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("a RAM disk in vmalloc memory (Beginning Linux Programming ch. 21)")

RADIMO_SECTOR = 512
RADIMO_MAX_KIB = 1 << 20

radimo_major = 0
radimo_size = 2048
module_param("radimo_major", int, 0)
MODULE_PARM_DESC("radimo_major", "major number; 0 asks for a free one")
module_param("radimo_size", int, 0)
MODULE_PARM_DESC("radimo_size", "size of the disk in KiB")

BLKGETSIZE = _IO(0x12, 96)
BLKFLSBUF = _IO(0x12, 97)
BLKSSZGET = _IO(0x12, 104)
# These numbers hold the size of a size_t, which differs between the two kinds of program; what is written is 8 bytes.
BLKGETSIZE64 = _IOR(0x12, 114, 8)
BLKGETSIZE64_32 = _IOR(0x12, 114, 4)

radimo_storage = NULL
"""vmalloc address of the disk."""
radimo_vmas = 0
"""Areas that map it now."""


def radimo_length() -> int:
    """Bytes of the disk."""
    return radimo_size * 1024


# -- file operations ---------------------------------------------------------------------------------------


def radimo_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    count = max(0, min(count, radimo_length() - f_pos[0]))
    if count and copy_to_user(buf, radimo_storage + f_pos[0], count):
        return -EFAULT
    f_pos[0] += count
    return count


def radimo_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    if count and f_pos[0] >= radimo_length():
        return -ENOSPC
    count = max(0, min(count, radimo_length() - f_pos[0]))
    # Through a buffer: a copy that fails clears the rest of its target, which is the disk.
    data = bytearray(count)
    if copy_from_user(data, buf, count):
        return -EFAULT
    memcpy(radimo_storage + f_pos[0], data, count)
    f_pos[0] += count
    return count


def radimo_llseek(filp: file, off: int, whence: int) -> int:
    bases = {SEEK_SET: 0, SEEK_CUR: filp.f_pos, SEEK_END: radimo_length()}
    if whence not in bases or bases[whence] + off < 0:
        return -EINVAL
    filp.f_pos = bases[whence] + off
    return filp.f_pos


def radimo_ioctl(inode: inode, filp: file, cmd: int, arg: int) -> int:
    if cmd == BLKGETSIZE:
        return put_user(radimo_length() // RADIMO_SECTOR, arg, 4 if in_compat_syscall() else 8)
    if cmd in (BLKGETSIZE64, BLKGETSIZE64_32):
        return put_user(radimo_length(), arg, 8)
    if cmd == BLKSSZGET:
        return put_user(RADIMO_SECTOR, arg)
    if cmd == BLKFLSBUF:
        return radimo_flush()
    return -ENOTTY


def radimo_flush() -> int:
    """Empty the disk: 0; -EBUSY while somebody maps it, who would see his data go."""
    if not capable(CAP_SYS_ADMIN):
        return -EACCES
    if radimo_vmas:
        return -EBUSY
    memset(radimo_storage, 0, PAGE_ALIGN(radimo_length()))
    return 0


# -- mmap --------------------------------------------------------------------------------------------------------


def radimo_vma_open(vma: vm_area_struct) -> None:
    global radimo_vmas
    radimo_vmas += 1


def radimo_vma_close(vma: vm_area_struct) -> None:
    global radimo_vmas
    radimo_vmas -= 1


def radimo_vma_nopage(vma: vm_area_struct, address: int, type: Optional[Ptr]) -> NopageResult:
    offset = (address - vma.vm_start) + (vma.vm_pgoff << PAGE_SHIFT)
    if offset >= radimo_length():
        return NOPAGE_SIGBUS
    page = vmalloc_to_page(radimo_storage + offset)
    get_page(page)
    if type:
        type[0] = VM_FAULT_MINOR
    return page


radimo_vm_ops = vm_operations_struct(open=radimo_vma_open, close=radimo_vma_close, nopage=radimo_vma_nopage)


def radimo_mmap(filp: file, vma: vm_area_struct) -> int:
    vma.vm_ops = radimo_vm_ops
    vma.vm_flags |= VM_RESERVED
    radimo_vma_open(vma)
    return 0


radimo_fops = file_operations(
    owner=THIS_MODULE,
    llseek=radimo_llseek,
    read=radimo_read,
    write=radimo_write,
    ioctl=radimo_ioctl,
    mmap=radimo_mmap,
)


# -- loading and unloading ---------------------------------------------------------------------------------------


def radimo_init() -> int:
    global radimo_major, radimo_storage
    if not 1 <= radimo_size <= RADIMO_MAX_KIB:
        return -EINVAL
    radimo_storage = vmalloc(radimo_length())
    if not radimo_storage:
        printk(KERN_WARNING + "radimo: no memory for %d KiB\n", radimo_size)
        return -ENOMEM
    memset(radimo_storage, 0, PAGE_ALIGN(radimo_length()))
    result = register_chrdev(radimo_major, "radimo", radimo_fops)
    if result < 0:
        printk(KERN_WARNING + "radimo: can't get major %d\n", radimo_major)
        vfree(radimo_storage)
        return result
    radimo_major = radimo_major or result
    devfs_mk_cdev(MKDEV(radimo_major, 0), 0o666, "radimo")
    printk(KERN_INFO + "radimo: %d KiB\n", radimo_size)
    return 0


def radimo_cleanup() -> None:
    devfs_remove("radimo")
    unregister_chrdev(radimo_major, "radimo")
    vfree(radimo_storage)


module_init(radimo_init)
module_exit(radimo_cleanup)
