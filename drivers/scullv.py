"""scullv: the devices of scullp over vmalloc; their memory can be mapped (LDD3 §15.2.7).

/dev/scullv0 to /dev/scullv3 keep what is written to them in memory that is contiguous for the kernel only; /dev/scullv
is the first one.

* Memory comes in quanta of PAGE_SIZE << order bytes, `qset` of them to a quantum set, sets in a list.  Only what is
  written gets memory: lseek and write leave a hole, which reads as the end of what is there (0 bytes).
* open for writing only empties the device, unless somebody has it mapped: then the data stays, and open succeeds.
* mmap works for any order: vmalloc gets its pages one by one, so each has a count of its own.  A page that was never
  written, in a hole or past the end, is SIGBUS.
* ioctl reads and sets order and qset of the devices emptied from now on; setting wants root.
* /proc/scullvmem shows what is allocated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from machine.kernel.linux import (  # isort: skip
    _IO, _IOR, _IOW, _IOWR, CAP_SYS_ADMIN, EBUSY, EFAULT, EINVAL, ENOMEM, ENOTTY, EPERM, ERESTARTSYS, KERN_NOTICE,
    KERN_WARNING, MAJOR, MKDEV, MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC, NOPAGE_SIGBUS,
    O_ACCMODE, O_WRONLY, PAGE_SHIFT, PAGE_SIZE, SEEK_CUR, SEEK_END, SEEK_SET, THIS_MODULE, VM_FAULT_MINOR, VM_RESERVED,
    NopageResult, Ptr, alloc_chrdev_region, capable, cdev, cdev_add, cdev_del, cdev_init, copy_from_user, copy_to_user,
    create_proc_read_entry, devfs_mk_cdev, devfs_mk_symlink, devfs_remove, down, down_interruptible, file,
    file_operations, get_page, get_user, iminor, inode, kernel_memory, memcpy, memset, module_exit, module_init,
    module_param, printk, put_user, register_chrdev_region, remove_proc_entry, semaphore, unregister_chrdev_region, up,
    vfree, vm_area_struct, vm_operations_struct, vmalloc, vmalloc_to_page,
)  # fmt: skip

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("char devices over vmalloc with mmap by nopage (LDD3 §15.2.7)")

SCULLV_ORDER = 4
SCULLV_QSET = 500
SCULLV_MAX_ORDER = 10
SCULLV_MAX_QSET = 65536
SCULLV_MAX_ITEMS = 65536

scullv_major = 0
scullv_devs = 4
scullv_order = SCULLV_ORDER
scullv_qset = SCULLV_QSET
module_param("scullv_major", int, 0)
MODULE_PARM_DESC("scullv_major", "major number; 0 asks for a free one")
module_param("scullv_devs", int, 0)
MODULE_PARM_DESC("scullv_devs", "number of devices")
module_param("scullv_order", int, 0)
MODULE_PARM_DESC("scullv_order", "a quantum is 2**order pages")
module_param("scullv_qset", int, 0)
MODULE_PARM_DESC("scullv_qset", "quanta in a quantum set")

# ioctl: S = Set through a pointer, T = Tell by value, G = Get through a pointer, Q = Query by return value,
# X = eXchange (set and get), H = sHift (tell and query).
SCULLV_IOC_MAGIC = "K"
SCULLV_IOCRESET = _IO(SCULLV_IOC_MAGIC, 0)
SCULLV_IOCSORDER = _IOW(SCULLV_IOC_MAGIC, 1, 4)
SCULLV_IOCTORDER = _IO(SCULLV_IOC_MAGIC, 2)
SCULLV_IOCGORDER = _IOR(SCULLV_IOC_MAGIC, 3, 4)
SCULLV_IOCQORDER = _IO(SCULLV_IOC_MAGIC, 4)
SCULLV_IOCXORDER = _IOWR(SCULLV_IOC_MAGIC, 5, 4)
SCULLV_IOCHORDER = _IO(SCULLV_IOC_MAGIC, 6)
SCULLV_IOCSQSET = _IOW(SCULLV_IOC_MAGIC, 7, 4)
SCULLV_IOCTQSET = _IO(SCULLV_IOC_MAGIC, 8)
SCULLV_IOCGQSET = _IOR(SCULLV_IOC_MAGIC, 9, 4)
SCULLV_IOCQQSET = _IO(SCULLV_IOC_MAGIC, 10)
SCULLV_IOCXQSET = _IOWR(SCULLV_IOC_MAGIC, 11, 4)
SCULLV_IOCHQSET = _IO(SCULLV_IOC_MAGIC, 12)


class scullv_dev:
    """One item of a device's list.  The first is the device itself: only there do the fields after `data` count."""

    def __init__(self) -> None:
        self.next: Optional[scullv_dev] = None
        self.data: Optional[list[int]] = None
        """One quantum set: vmalloc addresses of its quanta, 0 for a hole."""
        self.vmas = 0
        """Areas that map this device now; while there are any, its pages stay."""
        self.order = scullv_order
        self.qset = scullv_qset
        self.size = 0
        """Bytes up to the last one written."""
        self.sem = semaphore()
        self.cdev = cdev()


scullv_devices: list[scullv_dev] = []


def scullv_trim(dev: scullv_dev) -> int:
    """Free all of the device's memory: 0, or -EBUSY while it is mapped.  The caller holds the semaphore."""
    if dev.vmas:
        return -EBUSY
    dptr: Optional[scullv_dev] = dev
    while dptr is not None:
        for quantum in dptr.data or ():
            vfree(quantum)  # 0, a hole, is allowed
        dptr.data = None
        dptr = dptr.next
    dev.next = None
    dev.size = 0
    dev.order = scullv_order
    dev.qset = scullv_qset
    return 0


def scullv_follow(dev: scullv_dev, n: int) -> Optional[scullv_dev]:
    """Item `n` of the device's list, made where absent; None beyond what a kernel has memory for."""
    if n > SCULLV_MAX_ITEMS:
        return None
    for _ in range(n):
        if dev.next is None:
            dev.next = scullv_dev()
        dev = dev.next
    return dev


def scullv_find(dev: scullv_dev, number: int) -> int:
    """vmalloc address of quantum `number` of the device; 0 for a hole.  Makes nothing."""
    ptr: Optional[scullv_dev] = dev
    while ptr is not None and number >= dev.qset:
        ptr = ptr.next
        number -= dev.qset
    return 0 if ptr is None or ptr.data is None else ptr.data[number]


def scullv_make(dev: scullv_dev, number: int) -> int:
    """vmalloc address of quantum `number`, allocated and zeroed where there was a hole; 0 without memory."""
    dptr = scullv_follow(dev, number // dev.qset)
    if dptr is None:
        return 0
    if dptr.data is None:
        dptr.data = [0] * dev.qset
    s_pos = number % dev.qset
    if not dptr.data[s_pos]:
        quantum = vmalloc(PAGE_SIZE << dev.order)
        if not quantum:
            return 0
        # A mapping shows whole pages, and a process must not see what was in them before.
        memset(quantum, 0, PAGE_SIZE << dev.order)
        dptr.data[s_pos] = quantum
    return dptr.data[s_pos]


# -- file operations ---------------------------------------------------------------------------------------


def scullv_open(inode: inode, filp: file) -> int:
    dev = scullv_devices[iminor(inode)]
    filp.private_data = dev
    if filp.f_flags & O_ACCMODE == O_WRONLY:
        if down_interruptible(dev.sem):
            return -ERESTARTSYS
        # A mapped device refuses (EBUSY); it can be opened all the same, and its data stays.
        scullv_trim(dev)
        up(dev.sem)
    return 0


def scullv_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Up to the end of one quantum; 0 at the end of the device and in a hole."""
    dev: scullv_dev = filp.private_data
    if down_interruptible(dev.sem):
        return -ERESTARTSYS
    quantum = PAGE_SIZE << dev.order
    number, q_pos = divmod(f_pos[0], quantum)
    count = min(count, dev.size - f_pos[0], quantum - q_pos)
    address = scullv_find(dev, number) if count > 0 else 0
    data = bytes(kernel_memory(address + q_pos, count)) if address else b""
    up(dev.sem)
    # The copy comes after up(): when `buf` lies in a mapping of this very device, its nopage takes the semaphore.
    if copy_to_user(buf, data, len(data)):
        return -EFAULT
    f_pos[0] += len(data)
    return len(data)


def scullv_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Up to the end of one quantum; -ENOMEM when there is no memory for it."""
    dev: scullv_dev = filp.private_data
    # The copy comes before down(), for the reason given in scullv_read.
    quantum = PAGE_SIZE << dev.order
    data = bytearray(min(count, quantum - f_pos[0] % quantum))
    if copy_from_user(data, buf, len(data)):
        return -EFAULT
    if down_interruptible(dev.sem):
        return -ERESTARTSYS
    quantum = PAGE_SIZE << dev.order  # somebody may have emptied the device meanwhile, and changed its order
    number, q_pos = divmod(f_pos[0], quantum)
    count = min(len(data), quantum - q_pos)
    address = scullv_make(dev, number) if count else 0
    if address:
        memcpy(address + q_pos, data, count)
        f_pos[0] += count
        dev.size = max(dev.size, f_pos[0])
    up(dev.sem)
    return count if address or not count else -ENOMEM


def scullv_llseek(filp: file, off: int, whence: int) -> int:
    dev: scullv_dev = filp.private_data
    if whence == SEEK_SET:
        newpos = off
    elif whence == SEEK_CUR:
        newpos = filp.f_pos + off
    elif whence == SEEK_END:
        newpos = dev.size + off
    else:
        return -EINVAL
    if newpos < 0:
        return -EINVAL
    filp.f_pos = newpos
    return newpos


# -- ioctl -----------------------------------------------------------------------------------------------------


def scullv_ioctl(inode: inode, filp: file, cmd: int, arg: int) -> int:
    """-ENOTTY for a command of another device, -EPERM to set without CAP_SYS_ADMIN, -EFAULT, -EINVAL."""
    if cmd == SCULLV_IOCRESET:
        return set_order(SCULLV_ORDER) or set_qset(SCULLV_QSET)
    if cmd in (SCULLV_IOCSORDER, SCULLV_IOCTORDER, SCULLV_IOCXORDER, SCULLV_IOCHORDER):
        return scullv_set(cmd, arg, scullv_order, set_order)
    if cmd in (SCULLV_IOCSQSET, SCULLV_IOCTQSET, SCULLV_IOCXQSET, SCULLV_IOCHQSET):
        return scullv_set(cmd, arg, scullv_qset, set_qset)
    if cmd == SCULLV_IOCGORDER:
        return put_user(scullv_order, arg)
    if cmd == SCULLV_IOCQORDER:
        return scullv_order
    if cmd == SCULLV_IOCGQSET:
        return put_user(scullv_qset, arg)
    if cmd == SCULLV_IOCQQSET:
        return scullv_qset
    return -ENOTTY


def scullv_set(cmd: int, arg: int, old: int, setter: Callable[[int], int]) -> int:
    """Change a value: S and X read it from user memory, T and H are given it; X and H tell the old one."""
    if not capable(CAP_SYS_ADMIN):
        return -EPERM
    by_pointer = cmd in (SCULLV_IOCSORDER, SCULLV_IOCXORDER, SCULLV_IOCSQSET, SCULLV_IOCXQSET)
    value = [arg]
    if by_pointer and get_user(value, arg):
        return -EFAULT
    result = setter(value[0])
    if result:
        return result
    if cmd in (SCULLV_IOCXORDER, SCULLV_IOCXQSET):
        return put_user(old, arg)
    return old if cmd in (SCULLV_IOCHORDER, SCULLV_IOCHQSET) else 0


def set_order(value: int) -> int:
    """The order of the devices that are emptied from now on: 0, or -EINVAL beyond 10."""
    global scullv_order
    if not 0 <= value <= SCULLV_MAX_ORDER:
        return -EINVAL
    scullv_order = value
    return 0


def set_qset(value: int) -> int:
    """The same for the number of quanta in a set: 1 to 65536."""
    global scullv_qset
    if not 1 <= value <= SCULLV_MAX_QSET:
        return -EINVAL
    scullv_qset = value
    return 0


# -- mmap --------------------------------------------------------------------------------------------------------


def scullv_vma_open(vma: vm_area_struct) -> None:
    dev: scullv_dev = vma.vm_private_data
    dev.vmas += 1


def scullv_vma_close(vma: vm_area_struct) -> None:
    dev: scullv_dev = vma.vm_private_data
    dev.vmas -= 1


def scullv_vma_nopage(vma: vm_area_struct, address: int, type: Optional[Ptr]) -> NopageResult:
    """The page behind `address`, its count raised for the entry that will map it.

    The book's code takes the number of the page as the number of the quantum.  That is right for order 0 only;
    here the quantum is found first, then the page inside it.
    """
    dev: scullv_dev = vma.vm_private_data
    page: NopageResult = NOPAGE_SIGBUS
    down(dev.sem)
    offset = (address - vma.vm_start) + (vma.vm_pgoff << PAGE_SHIFT)
    if offset < dev.size:
        number, inside = divmod(offset, PAGE_SIZE << dev.order)
        pageptr = scullv_find(dev, number)
        if pageptr:  # else a hole
            # virt_to_page knows addresses of the direct map only.
            page = vmalloc_to_page(pageptr + inside)
            get_page(page)
            if type:
                type[0] = VM_FAULT_MINOR
    up(dev.sem)
    return page


scullv_vm_ops = vm_operations_struct(
    open=scullv_vma_open,
    close=scullv_vma_close,
    nopage=scullv_vma_nopage,
)


def scullv_mmap(filp: file, vma: vm_area_struct) -> int:
    # Nothing is mapped here: "nopage" fills the holes.  Any order will do.
    vma.vm_ops = scullv_vm_ops
    vma.vm_flags |= VM_RESERVED
    vma.vm_private_data = filp.private_data
    scullv_vma_open(vma)
    return 0


scullv_fops = file_operations(
    owner=THIS_MODULE,
    llseek=scullv_llseek,
    read=scullv_read,
    write=scullv_write,
    ioctl=scullv_ioctl,
    mmap=scullv_mmap,
    open=scullv_open,
)


# -- /proc/scullvmem -----------------------------------------------------------------------------------------------


def scullv_read_mem(data: object) -> str:
    """A line a device, below it one an item of its list; the quanta of the last item a line each."""
    text = ""
    for i, dev in enumerate(scullv_devices):
        if down_interruptible(dev.sem):
            return text
        text += f"\nDevice {i}: qset {dev.qset}, order {dev.order}, sz {dev.size}, vmas {dev.vmas}\n"
        item: Optional[scullv_dev] = dev
        number = 0
        while item is not None:
            quanta = sum(1 for each in item.data or () if each)
            text += f"  item {number}: {quanta} quanta\n"
            if item.next is None:
                text += "".join(f"    {j:4d}: {each:016x}\n" for j, each in enumerate(item.data or ()) if each)
            item = item.next
            number += 1
        up(dev.sem)
    return text


# -- loading and unloading ---------------------------------------------------------------------------------------


def scullv_init() -> int:
    global scullv_major
    if not 1 <= scullv_devs <= 256 or set_order(scullv_order) or set_qset(scullv_qset):
        return -EINVAL
    if scullv_major:
        result = register_chrdev_region(MKDEV(scullv_major, 0), scullv_devs, "scullv")
    else:
        dev = [0]
        result = alloc_chrdev_region(dev, 0, scullv_devs, "scullv")
        scullv_major = MAJOR(dev[0])
    if result < 0:
        printk(KERN_WARNING + "scullv: can't get major %d\n", scullv_major)
        return result
    for i in range(scullv_devs):
        device = scullv_dev()
        scullv_devices.append(device)
        cdev_init(device.cdev, scullv_fops)
        if cdev_add(device.cdev, MKDEV(scullv_major, i), 1):
            printk(KERN_NOTICE + "scullv: can't add scullv%d\n", i)
        devfs_mk_cdev(MKDEV(scullv_major, i), 0o666, "scullv%d", i)
    devfs_mk_symlink("scullv", "scullv0")
    create_proc_read_entry("scullvmem", 0, None, scullv_read_mem, None)
    return 0


def scullv_cleanup() -> None:
    remove_proc_entry("scullvmem", None)
    devfs_remove("scullv")
    for i, dev in enumerate(scullv_devices):
        devfs_remove("scullv%d", i)
        cdev_del(dev.cdev)
        scullv_trim(dev)
    unregister_chrdev_region(MKDEV(scullv_major, 0), scullv_devs)


module_init(scullv_init)
module_exit(scullv_cleanup)
