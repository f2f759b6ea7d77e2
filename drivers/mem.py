"""The memory devices, major 1 (drivers/char/mem.c, drivers/char/random.c; LDD3 §15.2).

========= ===== ==========================================================================================
mem       1, 1  physical memory.  read and write reach RAM, the ISA hole included; at and above `high_memory`, and in
                the PCI hole of a large machine, they fail with EFAULT: mmap only.  lseek has no end (EINVAL).
kmem      1, 2  the same by kernel address: offset 0xffff888000000000 is physical 0.  read and write reach the vmalloc
                area too; between its areas are zeros, above the last one the end of the file
null      1, 3  end of file for the reader, a sink for the writer
zero      1, 5  zeros; a private mapping is anonymous memory, a shared one is memory shared with one's children
full      1, 7  zeros for the reader, ENOSPC for the writer
random    1, 8  random bytes; written bytes are accepted
urandom   1, 9  likewise
kmsg      1, 11 the kernel's log, a record a read; a line written is logged
========= ===== ==========================================================================================

mem and kmem want CAP_SYS_RAWIO.  What mmap shows is what `remap_pfn_range` maps: reserved pages and addresses above
RAM; an ordinary page of RAM reads as zeros (LDD3 §15.2.6).
"""

from __future__ import annotations

from machine.kernel.linux import (  # isort: skip
    CAP_SYS_RAWIO, EAGAIN, EFAULT, EINVAL, EIO, ENOSPC, ENXIO, EPERM, FMODE_UNSIGNED_OFFSET, KERN_ERR, MKDEV,
    MODULE_DESCRIPTION, MODULE_LICENSE, O_SYNC, PAGE_OFFSET, PAGE_SHIFT, PAGE_SIZE, SEEK_CUR, SEEK_SET, THIS_MODULE,
    VMALLOC_END, VMALLOC_START, VM_IO, VM_RESERVED, VM_SHARED, Ptr, __pa, __va, capable, clear_user, copy_from_user,
    copy_to_user, cpu_has_mtrr, devfs_mk_cdev, devfs_remove, file, file_operations, get_random_bytes, high_memory,
    iminor, inode, kmsg_fops, memcpy, module_exit, module_init, pfn_valid, pgprot_noncached, printk, put_user,
    register_chrdev, remap_pfn_range, shmem_zero_setup, unregister_chrdev, vm_area_struct, vread, vwrite,
)  # fmt: skip

MODULE_LICENSE("GPL")
MODULE_DESCRIPTION("mem, kmem, null, zero, full, random, urandom, kmsg: the memory devices (major 1)")

MEM_MAJOR = 1
PHYSICAL_BITS = 40
"""The processor's address lines (/proc/cpuinfo): nothing can be mapped beyond."""
LOFF_MASK = (1 << 64) - 1
RNDGETENTCNT = 0x80045200
ENTROPY_BITS = 256
"""What /dev/random says that its pool holds: it is always full."""


# -- /dev/mem ------------------------------------------------------------------------------------------


def uncached_access(filp: file, addr: int) -> bool:
    """Whether a mapping must bypass the cache: asked for by O_SYNC, or beyond RAM without MTRRs to say so."""
    if filp.f_flags & O_SYNC:
        return True
    return not cpu_has_mtrr() and addr >= __pa(high_memory)


def valid_phys_addr_range(addr: int, count: int) -> int:
    """How many of `count` bytes from physical `addr` are below the end of RAM and have a struct page."""
    end = min(addr + count, __pa(high_memory))
    valid = addr
    while valid < end and pfn_valid(valid >> PAGE_SHIFT):
        valid = (valid | PAGE_SIZE - 1) + 1
    return max(0, min(valid, end) - addr)


def read_mem(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    p = f_pos[0]
    size = valid_phys_addr_range(p, count)
    if count and not size:
        return -EFAULT
    if copy_to_user(buf, __va(p), size):
        return -EFAULT
    f_pos[0] += size
    return size


def write_mem(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    p = f_pos[0]
    size = valid_phys_addr_range(p, count)
    if count and not size:
        return -EFAULT
    return do_write_mem(__va(p), buf, size, f_pos)


def do_write_mem(p: int, buf: int, count: int, f_pos: Ptr) -> int:
    """Copy to kernel address `p`: what could be copied counts, -EFAULT when that is nothing.

    The bytes come through a buffer: a copy that fails must not clear the rest of its target.
    """
    data = bytearray(count)
    copied = count - copy_from_user(data, buf, count)
    if count and not copied:
        return -EFAULT
    memcpy(p, data, copied)
    f_pos[0] += copied
    return copied


def mmap_mem(filp: file, vma: vm_area_struct) -> int:
    if (vma.vm_pgoff << PAGE_SHIFT) + vma.vm_end - vma.vm_start > 1 << PHYSICAL_BITS:
        return -EINVAL
    uncached = uncached_access(filp, vma.vm_pgoff << PAGE_SHIFT)
    if uncached:
        vma.vm_page_prot = pgprot_noncached(vma.vm_page_prot)
        # Memory of a device does not belong into a core file.
        vma.vm_flags |= VM_IO
    vma.vm_flags |= VM_RESERVED
    if remap_pfn_range(vma, vma.vm_start, vma.vm_pgoff, vma.vm_end - vma.vm_start, vma.vm_page_prot):
        return -EAGAIN
    return 0


def memory_lseek(filp: file, offset: int, whence: int) -> int:
    """SEEK_SET and SEEK_CUR; memory has no end to seek from.  Offsets are unsigned: kernel addresses are large."""
    if whence == SEEK_SET:
        filp.f_pos = offset & LOFF_MASK
    elif whence == SEEK_CUR:
        filp.f_pos = (filp.f_pos + offset) & LOFF_MASK
    else:
        return -EINVAL
    return filp.f_pos


def open_port(inode: inode, filp: file) -> int:
    filp.f_mode |= FMODE_UNSIGNED_OFFSET  # a kernel address is a position
    return 0 if capable(CAP_SYS_RAWIO) else -EPERM


# -- /dev/kmem --------------------------------------------------------------------------------------------


def read_kmem(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """0, the end of the file, where no RAM is mapped."""
    p = f_pos[0] & LOFF_MASK
    if VMALLOC_START <= p < VMALLOC_END:
        return read_vmalloc(p, buf, count, f_pos)
    size = valid_phys_addr_range(__pa(p), count) if p >= PAGE_OFFSET else 0
    if not size:
        return 0
    if copy_to_user(buf, p, size):
        return -EFAULT
    f_pos[0] += size
    return size


def read_vmalloc(p: int, buf: int, count: int, f_pos: Ptr) -> int:
    """A page at a time, through a buffer: what is there may be freed while the process's pages are faulted in."""
    virtr = 0
    kbuf = bytearray(PAGE_SIZE)
    while virtr < count:
        size = vread(kbuf, p + virtr, min(count - virtr, PAGE_SIZE))
        if not size:
            break
        if copy_to_user(buf + virtr, kbuf, size):
            return -EFAULT
        virtr += size
    f_pos[0] += virtr
    return virtr


def write_vmalloc(p: int, buf: int, count: int, f_pos: Ptr) -> int:
    """What could be copied counts, -EFAULT when that is nothing; 0 above the last area."""
    virtr = 0
    kbuf = bytearray(PAGE_SIZE)
    while virtr < count:
        size = min(count - virtr, PAGE_SIZE)
        size -= copy_from_user(kbuf, buf + virtr, size)
        if not size:
            return virtr if virtr else -EFAULT
        size = vwrite(kbuf, p + virtr, size)
        if not size:
            break
        virtr += size
        f_pos[0] += size
    return virtr


def write_kmem(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    p = f_pos[0] & LOFF_MASK
    if VMALLOC_START <= p < VMALLOC_END:
        return write_vmalloc(p, buf, count, f_pos)
    size = valid_phys_addr_range(__pa(p), count) if p >= PAGE_OFFSET else 0
    return do_write_mem(p, buf, size, f_pos)


def mmap_kmem(filp: file, vma: vm_area_struct) -> int:
    """The offset is a kernel address of the direct map; -EIO for any other."""
    pfn = __pa((vma.vm_pgoff << PAGE_SHIFT) & LOFF_MASK) >> PAGE_SHIFT
    if not pfn_valid(pfn):
        return -EIO
    vma.vm_pgoff = pfn
    return mmap_mem(filp, vma)


# -- /dev/null, /dev/zero, /dev/full ------------------------------------------------------------------------


def read_null(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    return 0


def write_null(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    return count


def null_lseek(filp: file, offset: int, whence: int) -> int:
    filp.f_pos = 0
    return 0


def read_zero(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    done = count - clear_user(buf, count)
    return done if done or not count else -EFAULT


def mmap_zero(filp: file, vma: vm_area_struct) -> int:
    """Shared: an object of its own.  Private: without operations, the area is anonymous memory."""
    if vma.vm_flags & VM_SHARED:
        return shmem_zero_setup(vma)
    return 0


def write_full(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    return -ENOSPC


# -- /dev/random, /dev/urandom ------------------------------------------------------------------------------


def random_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """All that was asked for, up to the first page that can't be written."""
    done = 0
    while done < count:
        size = min(count - done, PAGE_SIZE)
        left = copy_to_user(buf + done, get_random_bytes(size), size)
        done += size - left
        if left:
            break
    return done if done or not count else -EFAULT


def random_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Accepted as entropy: it is read, and makes no difference to what comes out."""
    done = 0
    while done < count:
        size = min(count - done, PAGE_SIZE)
        left = copy_from_user(bytearray(size), buf + done, size)
        done += size - left
        if left:
            break
    return done if done or not count else -EFAULT


def random_ioctl(inode: inode, filp: file, cmd: int, arg: int) -> int:
    if cmd == RNDGETENTCNT:
        return put_user(ENTROPY_BITS, arg)
    return -EINVAL


# -- the table ------------------------------------------------------------------------------------------------

mem_fops = file_operations(
    owner=THIS_MODULE, llseek=memory_lseek, read=read_mem, write=write_mem, mmap=mmap_mem, open=open_port
)
kmem_fops = file_operations(
    owner=THIS_MODULE, llseek=memory_lseek, read=read_kmem, write=write_kmem, mmap=mmap_kmem, open=open_port
)
null_fops = file_operations(owner=THIS_MODULE, llseek=null_lseek, read=read_null, write=write_null)
zero_fops = file_operations(owner=THIS_MODULE, llseek=null_lseek, read=read_zero, write=write_null, mmap=mmap_zero)
full_fops = file_operations(owner=THIS_MODULE, llseek=null_lseek, read=read_zero, write=write_full)
random_fops = file_operations(
    owner=THIS_MODULE, llseek=null_lseek, read=random_read, write=random_write, ioctl=random_ioctl
)

devlist = {
    1: ("mem", 0o640, mem_fops),
    2: ("kmem", 0o640, kmem_fops),
    3: ("null", 0o666, null_fops),
    5: ("zero", 0o666, zero_fops),
    7: ("full", 0o666, full_fops),
    8: ("random", 0o666, random_fops),
    9: ("urandom", 0o666, random_fops),
    11: ("kmsg", 0o644, kmsg_fops),
}


def memory_open(inode: inode, filp: file) -> int:
    """The minor number chooses the operations."""
    if iminor(inode) not in devlist:
        return -ENXIO
    filp.f_op = devlist[iminor(inode)][2]
    return filp.f_op.open(inode, filp) if filp.f_op.open is not None else 0


memory_fops = file_operations(owner=THIS_MODULE, open=memory_open)


def chr_dev_init() -> int:
    if register_chrdev(MEM_MAJOR, "mem", memory_fops):
        printk(KERN_ERR + "unable to get major %d for memory devs\n", MEM_MAJOR)
        return -EIO
    for minor, (name, mode, _fops) in devlist.items():
        devfs_mk_cdev(MKDEV(MEM_MAJOR, minor), mode, name)
    return 0


def chr_dev_exit() -> None:
    for name, _mode, _fops in devlist.values():
        devfs_remove(name)
    unregister_chrdev(MEM_MAJOR, "mem")


module_init(chr_dev_init)
module_exit(chr_dev_exit)
