"""scullp in the names of today: page-oriented char devices whose memory can be mapped (LDD3 §8.3.1, §15.2.6.1).

The same devices as `scullp` makes, from a driver for Linux 6.1; load one of the two.  docs/two-dialects.md shows them
side by side.  What a program can notice: the link /dev/scullp is missing (making links is udev's work), and a mapping
can't grow (EFAULT).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from machine.kernel.linux import (  # isort: skip
    _IO, _IOR, _IOW, _IOWR, CAP_SYS_ADMIN, EBUSY, EFAULT, EINVAL, ENODEV, ENOMEM, ENOTTY, EPERM, ERESTARTSYS,
    GFP_KERNEL, KERN_WARNING, MAJOR, MKDEV, MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC,
    O_ACCMODE, O_WRONLY, PAGE_SHIFT, PAGE_SIZE, PTR_ERR, SEEK_CUR, SEEK_END, SEEK_SET, THIS_MODULE, VM_DONTDUMP,
    VM_DONTEXPAND, VM_FAULT_SIGBUS, Ptr, __get_free_pages, alloc_chrdev_region, capable, cdev, cdev_add, cdev_del,
    cdev_init, class_create, class_destroy, compat_ptr_ioctl, copy_from_user, copy_to_user, device, device_class,
    device_create, device_destroy, err_ptr, file, file_inode, file_operations, free_pages, get_page, get_user, iminor,
    inode, kernel_memory, memcpy, memset, module_exit, module_init, module_param, mutex, mutex_lock,
    mutex_lock_interruptible, mutex_unlock, printk, proc_create_single, put_user, register_chrdev_region,
    remove_proc_entry, seq_file, seq_printf, unregister_chrdev_region, virt_to_page, vm_area_struct, vm_fault,
    vm_flags_set, vm_operations_struct,
)  # fmt: skip

KERNEL = (6, 1)

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("scullp in the names of today: mmap by fault (LDD3 §15.2.6.1)")

SCULLP_ORDER = 0
SCULLP_QSET = 500
SCULLP_MAX_ORDER = 10
SCULLP_MAX_QSET = 65536
SCULLP_MAX_ITEMS = 65536

scullp_major = 0
scullp_devs = 4
scullp_order = SCULLP_ORDER
scullp_qset = SCULLP_QSET
module_param("scullp_major", int, 0)
MODULE_PARM_DESC("scullp_major", "major number; 0 asks for a free one")
module_param("scullp_devs", int, 0)
MODULE_PARM_DESC("scullp_devs", "number of devices")
module_param("scullp_order", int, 0)
MODULE_PARM_DESC("scullp_order", "a quantum is 2**order pages; only order 0 can be mapped")
module_param("scullp_qset", int, 0)
MODULE_PARM_DESC("scullp_qset", "quanta in a quantum set")

SCULLP_IOC_MAGIC = "K"
SCULLP_IOCRESET = _IO(SCULLP_IOC_MAGIC, 0)
SCULLP_IOCSORDER = _IOW(SCULLP_IOC_MAGIC, 1, 4)
SCULLP_IOCTORDER = _IO(SCULLP_IOC_MAGIC, 2)
SCULLP_IOCGORDER = _IOR(SCULLP_IOC_MAGIC, 3, 4)
SCULLP_IOCQORDER = _IO(SCULLP_IOC_MAGIC, 4)
SCULLP_IOCXORDER = _IOWR(SCULLP_IOC_MAGIC, 5, 4)
SCULLP_IOCHORDER = _IO(SCULLP_IOC_MAGIC, 6)
SCULLP_IOCSQSET = _IOW(SCULLP_IOC_MAGIC, 7, 4)
SCULLP_IOCTQSET = _IO(SCULLP_IOC_MAGIC, 8)
SCULLP_IOCGQSET = _IOR(SCULLP_IOC_MAGIC, 9, 4)
SCULLP_IOCQQSET = _IO(SCULLP_IOC_MAGIC, 10)
SCULLP_IOCXQSET = _IOWR(SCULLP_IOC_MAGIC, 11, 4)
SCULLP_IOCHQSET = _IO(SCULLP_IOC_MAGIC, 12)


class scullp_dev:
    """One item of a device's list.  The first is the device itself: only there do the fields after `data` count."""

    def __init__(self) -> None:
        self.next: Optional[scullp_dev] = None
        self.data: Optional[list[int]] = None
        """One quantum set: kernel addresses of its quanta, 0 for a hole."""
        self.vmas = 0
        """Areas that map this device now; while there are any, its pages stay."""
        self.order = scullp_order
        self.qset = scullp_qset
        self.size = 0
        """Bytes up to the last one written."""
        self.lock = mutex()
        self.cdev = cdev()


scullp_devices: list[scullp_dev] = []


def scullp_trim(dev: scullp_dev) -> int:
    """Free all of the device's memory: 0, or -EBUSY while it is mapped.  The caller holds the mutex."""
    if dev.vmas:
        return -EBUSY
    dptr: Optional[scullp_dev] = dev
    while dptr is not None:
        for quantum in dptr.data or ():
            if quantum:
                free_pages(quantum, dev.order)
        dptr.data = None
        dptr = dptr.next
    dev.next = None
    dev.size = 0
    dev.order = scullp_order
    dev.qset = scullp_qset
    return 0


def scullp_follow(dev: scullp_dev, n: int) -> Optional[scullp_dev]:
    """Item `n` of the device's list, made where absent; None beyond what a kernel has memory for."""
    if n > SCULLP_MAX_ITEMS:
        return None
    for _ in range(n):
        if dev.next is None:
            dev.next = scullp_dev()
        dev = dev.next
    return dev


def scullp_find(dev: scullp_dev, number: int) -> int:
    """Kernel address of quantum `number` of the device; 0 for a hole.  Makes nothing."""
    ptr: Optional[scullp_dev] = dev
    while ptr is not None and number >= dev.qset:
        ptr = ptr.next
        number -= dev.qset
    return 0 if ptr is None or ptr.data is None else ptr.data[number]


def scullp_make(dev: scullp_dev, number: int) -> int:
    """Kernel address of quantum `number`, allocated and zeroed where there was a hole; 0 without memory."""
    dptr = scullp_follow(dev, number // dev.qset)
    if dptr is None:
        return 0
    if dptr.data is None:
        dptr.data = [0] * dev.qset
    s_pos = number % dev.qset
    if not dptr.data[s_pos]:
        quantum = __get_free_pages(GFP_KERNEL, dev.order)
        if not quantum:
            return 0
        # A mapping shows the whole page, and a process must not see what was in it before.
        memset(quantum, 0, PAGE_SIZE << dev.order)
        dptr.data[s_pos] = quantum
    return dptr.data[s_pos]


def scullp_open(inode: inode, filp: file) -> int:
    dev = scullp_devices[iminor(inode)]
    filp.private_data = dev
    if filp.f_flags & O_ACCMODE == O_WRONLY:
        if mutex_lock_interruptible(dev.lock):
            return -ERESTARTSYS
        # A mapped device refuses (EBUSY); it can be opened all the same, and its data stays.
        scullp_trim(dev)
        mutex_unlock(dev.lock)
    return 0


def scullp_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Up to the end of one quantum; 0 at the end of the device and in a hole."""
    dev: scullp_dev = filp.private_data
    if mutex_lock_interruptible(dev.lock):
        return -ERESTARTSYS
    quantum = PAGE_SIZE << dev.order
    number, q_pos = divmod(f_pos[0], quantum)
    count = min(count, dev.size - f_pos[0], quantum - q_pos)
    address = scullp_find(dev, number) if count > 0 else 0
    data = bytes(kernel_memory(address + q_pos, count)) if address else b""
    mutex_unlock(dev.lock)
    # The copy comes after the unlock: when `buf` lies in a mapping of this very device, its fault takes the mutex.
    if copy_to_user(buf, data, len(data)):
        return -EFAULT
    f_pos[0] += len(data)
    return len(data)


def scullp_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Up to the end of one quantum; -ENOMEM when there is no page for it."""
    dev: scullp_dev = filp.private_data
    # The copy comes before the lock, for the reason given in scullp_read.
    quantum = PAGE_SIZE << dev.order
    data = bytearray(min(count, quantum - f_pos[0] % quantum))
    if copy_from_user(data, buf, len(data)):
        return -EFAULT
    if mutex_lock_interruptible(dev.lock):
        return -ERESTARTSYS
    quantum = PAGE_SIZE << dev.order  # somebody may have emptied the device meanwhile, and changed its order
    number, q_pos = divmod(f_pos[0], quantum)
    count = min(len(data), quantum - q_pos)
    address = scullp_make(dev, number) if count else 0
    if address:
        memcpy(address + q_pos, data, count)
        f_pos[0] += count
        dev.size = max(dev.size, f_pos[0])
    mutex_unlock(dev.lock)
    return count if address or not count else -ENOMEM


def scullp_llseek(filp: file, off: int, whence: int) -> int:
    dev: scullp_dev = filp.private_data
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


def scullp_ioctl(filp: file, cmd: int, arg: int) -> int:
    """-ENOTTY for a command of another device, -EPERM to set without CAP_SYS_ADMIN, -EFAULT, -EINVAL."""
    if cmd == SCULLP_IOCRESET:
        return set_order(SCULLP_ORDER) or set_qset(SCULLP_QSET)
    if cmd in (SCULLP_IOCSORDER, SCULLP_IOCTORDER, SCULLP_IOCXORDER, SCULLP_IOCHORDER):
        return scullp_set(cmd, arg, scullp_order, set_order)
    if cmd in (SCULLP_IOCSQSET, SCULLP_IOCTQSET, SCULLP_IOCXQSET, SCULLP_IOCHQSET):
        return scullp_set(cmd, arg, scullp_qset, set_qset)
    if cmd == SCULLP_IOCGORDER:
        return put_user(scullp_order, arg)
    if cmd == SCULLP_IOCQORDER:
        return scullp_order
    if cmd == SCULLP_IOCGQSET:
        return put_user(scullp_qset, arg)
    if cmd == SCULLP_IOCQQSET:
        return scullp_qset
    return -ENOTTY


def scullp_set(cmd: int, arg: int, old: int, setter: Callable[[int], int]) -> int:
    """Change a value: S and X read it from user memory, T and H are given it; X and H tell the old one."""
    if not capable(CAP_SYS_ADMIN):
        return -EPERM
    by_pointer = cmd in (SCULLP_IOCSORDER, SCULLP_IOCXORDER, SCULLP_IOCSQSET, SCULLP_IOCXQSET)
    value = [arg]
    if by_pointer and get_user(value, arg):
        return -EFAULT
    result = setter(value[0])
    if result:
        return result
    if cmd in (SCULLP_IOCXORDER, SCULLP_IOCXQSET):
        return put_user(old, arg)
    return old if cmd in (SCULLP_IOCHORDER, SCULLP_IOCHQSET) else 0


def set_order(value: int) -> int:
    """The order of the devices that are emptied from now on: 0, or -EINVAL beyond 10."""
    global scullp_order
    if not 0 <= value <= SCULLP_MAX_ORDER:
        return -EINVAL
    scullp_order = value
    return 0


def set_qset(value: int) -> int:
    """The same for the number of quanta in a set: 1 to 65536."""
    global scullp_qset
    if not 1 <= value <= SCULLP_MAX_QSET:
        return -EINVAL
    scullp_qset = value
    return 0


def scullp_vma_open(vma: vm_area_struct) -> None:
    dev: scullp_dev = vma.vm_private_data
    dev.vmas += 1


def scullp_vma_close(vma: vm_area_struct) -> None:
    dev: scullp_dev = vma.vm_private_data
    dev.vmas -= 1


def scullp_vma_fault(vmf: vm_fault) -> int:
    """The page behind `vmf.address`, its count raised for the entry that will map it."""
    dev: scullp_dev = vmf.vma.vm_private_data
    result = VM_FAULT_SIGBUS
    mutex_lock(dev.lock)
    if vmf.pgoff << PAGE_SHIFT < dev.size:
        pageptr = scullp_find(dev, vmf.pgoff)
        if pageptr:  # else a hole
            page = virt_to_page(pageptr)
            get_page(page)
            vmf.page = page
            result = 0
    mutex_unlock(dev.lock)
    return result


scullp_vm_ops = vm_operations_struct(
    open=scullp_vma_open,
    close=scullp_vma_close,
    fault=scullp_vma_fault,
)


def scullp_mmap(filp: file, vma: vm_area_struct) -> int:
    """-ENODEV for a device of higher order: the pages of a cluster are counted on its first page only, so
    `fault`, which hands out one page at a time, could not count them (LDD3 §15.2.6.1)."""
    if scullp_devices[iminor(file_inode(filp))].order:
        return -ENODEV
    # Nothing is mapped here: "fault" fills the holes.
    vma.vm_ops = scullp_vm_ops
    vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP)
    vma.vm_private_data = filp.private_data
    scullp_vma_open(vma)
    return 0


scullp_fops = file_operations(
    owner=THIS_MODULE,
    llseek=scullp_llseek,
    read=scullp_read,
    write=scullp_write,
    unlocked_ioctl=scullp_ioctl,
    compat_ioctl=compat_ptr_ioctl,
    mmap=scullp_mmap,
    open=scullp_open,
)


def scullp_show_mem(m: seq_file, v: object) -> int:
    """A line a device, below it one an item of its list; the quanta of the last item a line each."""
    for i, dev in enumerate(scullp_devices):
        if mutex_lock_interruptible(dev.lock):
            return -ERESTARTSYS
        seq_printf(m, "\nDevice %i: qset %i, order %i, sz %li, vmas %i\n", i, dev.qset, dev.order, dev.size, dev.vmas)
        item: Optional[scullp_dev] = dev
        number = 0
        while item is not None:
            seq_printf(m, "  item %i: %i quanta\n", number, sum(1 for each in item.data or () if each))
            if item.next is None:
                for j, each in enumerate(item.data or ()):
                    if each:
                        seq_printf(m, "    %4i: %016lx\n", j, each)
            item = item.next
            number += 1
        mutex_unlock(dev.lock)
    return 0


scullp_class: device_class


def scullp_devnode(dev: device, mode: Optional[Ptr]) -> None:
    """The nodes are for all (root's alone without this)."""
    if mode:
        mode[0] = 0o666


def scullp_init() -> int:
    global scullp_major, scullp_class
    if not 1 <= scullp_devs <= 256 or set_order(scullp_order) or set_qset(scullp_qset):
        return -EINVAL
    if scullp_major:
        result = register_chrdev_region(MKDEV(scullp_major, 0), scullp_devs, "scullp")
    else:
        dev = [0]
        result = alloc_chrdev_region(dev, 0, scullp_devs, "scullp")
        scullp_major = MAJOR(dev[0])
    if result < 0:
        printk(KERN_WARNING + "scullp: can't get major %d\n", scullp_major)
        return result
    made = class_create(THIS_MODULE, "scullp")
    if isinstance(made, err_ptr):
        unregister_chrdev_region(MKDEV(scullp_major, 0), scullp_devs)
        return PTR_ERR(made)
    scullp_class = made
    scullp_class.devnode = scullp_devnode
    for i in range(scullp_devs):
        scullp_devices.append(scullp_dev())
        cdev_init(scullp_devices[i].cdev, scullp_fops)
        cdev_add(scullp_devices[i].cdev, MKDEV(scullp_major, i), 1)
        node = device_create(scullp_class, None, MKDEV(scullp_major, i), None, "scullp%d", i)
        if isinstance(node, err_ptr):
            scullp_undo(i)
            return PTR_ERR(node)
    proc_create_single("scullpmem", 0, None, scullp_show_mem)
    return 0


def scullp_undo(nodes: int) -> None:
    """Take away all devices, of which `nodes` have a node, the class and the numbers."""
    for i, dev in enumerate(scullp_devices):
        if i < nodes:
            device_destroy(scullp_class, MKDEV(scullp_major, i))
        cdev_del(dev.cdev)
        scullp_trim(dev)
    class_destroy(scullp_class)
    unregister_chrdev_region(MKDEV(scullp_major, 0), scullp_devs)


def scullp_cleanup() -> None:
    remove_proc_entry("scullpmem", None)
    scullp_undo(scullp_devs)


module_init(scullp_init)
module_exit(scullp_cleanup)
