"""scullv in the names of today: the devices of scullp over vmalloc; their memory can be mapped (LDD3 §15.2.7).

The same devices as `scullv` makes, from a driver for Linux 6.1; load one of the two.  docs/two-dialects.md shows them
side by side.  What a program can notice: the link /dev/scullv is missing (making links is udev's work), and a mapping
can't grow (EFAULT).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

from machine.kernel.linux import (  # isort: skip
    _IO, _IOR, _IOW, _IOWR, CAP_SYS_ADMIN, EBUSY, EFAULT, EINVAL, ENOMEM, ENOTTY, EPERM, ERESTARTSYS, KERN_WARNING,
    MAJOR, MKDEV, MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC, O_ACCMODE, O_WRONLY,
    PAGE_SHIFT, PAGE_SIZE, PTR_ERR, SEEK_CUR, SEEK_END, SEEK_SET, THIS_MODULE, VM_DONTDUMP, VM_DONTEXPAND,
    VM_FAULT_SIGBUS, Ptr, alloc_chrdev_region, capable, cdev, cdev_add, cdev_del, cdev_init, class_create,
    class_destroy, compat_ptr_ioctl, copy_from_user, copy_to_user, device, device_class, device_create,
    device_destroy, err_ptr, file, file_operations, get_page, get_user, iminor, inode, kernel_memory, memcpy, memset,
    module_exit, module_init, module_param, mutex, mutex_lock, mutex_lock_interruptible, mutex_unlock, printk,
    proc_create_single, put_user, register_chrdev_region, remove_proc_entry, seq_file, seq_printf,
    unregister_chrdev_region, vfree, vm_area_struct, vm_fault, vm_flags_set, vm_operations_struct, vmalloc,
    vmalloc_to_page,
)  # fmt: skip

KERNEL = (6, 1)

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("scullv in the names of today: vmalloc memory, mmap by fault (LDD3 §15.2.7)")

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
        """One quantum set: kernel addresses of its quanta, 0 for a hole."""
        self.vmas = 0
        """Areas that map this device now; while there are any, its pages stay."""
        self.order = scullv_order
        self.qset = scullv_qset
        self.size = 0
        """Bytes up to the last one written."""
        self.lock = mutex()
        self.cdev = cdev()


scullv_devices: list[scullv_dev] = []


def scullv_trim(dev: scullv_dev) -> int:
    """Free all of the device's memory: 0, or -EBUSY while it is mapped.  The caller holds the mutex."""
    if dev.vmas:
        return -EBUSY
    dptr: Optional[scullv_dev] = dev
    while dptr is not None:
        for quantum in dptr.data or ():
            if quantum:
                vfree(quantum)
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


def scullv_open(inode: inode, filp: file) -> int:
    dev = scullv_devices[iminor(inode)]
    filp.private_data = dev
    if filp.f_flags & O_ACCMODE == O_WRONLY:
        if mutex_lock_interruptible(dev.lock):
            return -ERESTARTSYS
        # A mapped device refuses (EBUSY); it can be opened all the same, and its data stays.
        scullv_trim(dev)
        mutex_unlock(dev.lock)
    return 0


def scullv_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Up to the end of one quantum; 0 at the end of the device and in a hole."""
    dev: scullv_dev = filp.private_data
    if mutex_lock_interruptible(dev.lock):
        return -ERESTARTSYS
    quantum = PAGE_SIZE << dev.order
    number, q_pos = divmod(f_pos[0], quantum)
    count = min(count, dev.size - f_pos[0], quantum - q_pos)
    address = scullv_find(dev, number) if count > 0 else 0
    data = bytes(kernel_memory(address + q_pos, count)) if address else b""
    mutex_unlock(dev.lock)
    # The copy comes after the unlock: when `buf` lies in a mapping of this very device, its fault takes the mutex.
    if copy_to_user(buf, data, len(data)):
        return -EFAULT
    f_pos[0] += len(data)
    return len(data)


def scullv_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Up to the end of one quantum; -ENOMEM when there is no memory for it."""
    dev: scullv_dev = filp.private_data
    # The copy comes before the lock, for the reason given in scullv_read.
    quantum = PAGE_SIZE << dev.order
    data = bytearray(min(count, quantum - f_pos[0] % quantum))
    if copy_from_user(data, buf, len(data)):
        return -EFAULT
    if mutex_lock_interruptible(dev.lock):
        return -ERESTARTSYS
    quantum = PAGE_SIZE << dev.order  # somebody may have emptied the device meanwhile, and changed its order
    number, q_pos = divmod(f_pos[0], quantum)
    count = min(len(data), quantum - q_pos)
    address = scullv_make(dev, number) if count else 0
    if address:
        memcpy(address + q_pos, data, count)
        f_pos[0] += count
        dev.size = max(dev.size, f_pos[0])
    mutex_unlock(dev.lock)
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


def scullv_ioctl(filp: file, cmd: int, arg: int) -> int:
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


def scullv_vma_open(vma: vm_area_struct) -> None:
    dev: scullv_dev = vma.vm_private_data
    dev.vmas += 1


def scullv_vma_close(vma: vm_area_struct) -> None:
    dev: scullv_dev = vma.vm_private_data
    dev.vmas -= 1


def scullv_vma_fault(vmf: vm_fault) -> int:
    """The page behind `vmf.address`, its count raised for the entry that will map it."""
    dev: scullv_dev = vmf.vma.vm_private_data
    result = VM_FAULT_SIGBUS
    mutex_lock(dev.lock)
    offset = vmf.pgoff << PAGE_SHIFT
    if offset < dev.size:
        number, inside = divmod(offset, PAGE_SIZE << dev.order)
        pageptr = scullv_find(dev, number)
        if pageptr:  # else a hole
            page = vmalloc_to_page(pageptr + inside)
            get_page(page)
            vmf.page = page
            result = 0
    mutex_unlock(dev.lock)
    return result


scullv_vm_ops = vm_operations_struct(
    open=scullv_vma_open,
    close=scullv_vma_close,
    fault=scullv_vma_fault,
)


def scullv_mmap(filp: file, vma: vm_area_struct) -> int:
    # Nothing is mapped here: "fault" fills the holes.  Any order will do.
    vma.vm_ops = scullv_vm_ops
    vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP)
    vma.vm_private_data = filp.private_data
    scullv_vma_open(vma)
    return 0


scullv_fops = file_operations(
    owner=THIS_MODULE,
    llseek=scullv_llseek,
    read=scullv_read,
    write=scullv_write,
    unlocked_ioctl=scullv_ioctl,
    compat_ioctl=compat_ptr_ioctl,
    mmap=scullv_mmap,
    open=scullv_open,
)


def scullv_show_mem(m: seq_file, v: object) -> int:
    """A line a device, below it one an item of its list; the quanta of the last item a line each."""
    for i, dev in enumerate(scullv_devices):
        if mutex_lock_interruptible(dev.lock):
            return -ERESTARTSYS
        seq_printf(m, "\nDevice %i: qset %i, order %i, sz %li, vmas %i\n", i, dev.qset, dev.order, dev.size, dev.vmas)
        item: Optional[scullv_dev] = dev
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


scullv_class: device_class


def scullv_devnode(dev: device, mode: Optional[Ptr]) -> None:
    """The nodes are for all (root's alone without this)."""
    if mode:
        mode[0] = 0o666


def scullv_init() -> int:
    global scullv_major, scullv_class
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
    made = class_create(THIS_MODULE, "scullv")
    if isinstance(made, err_ptr):
        unregister_chrdev_region(MKDEV(scullv_major, 0), scullv_devs)
        return PTR_ERR(made)
    scullv_class = made
    scullv_class.devnode = scullv_devnode
    for i in range(scullv_devs):
        scullv_devices.append(scullv_dev())
        cdev_init(scullv_devices[i].cdev, scullv_fops)
        cdev_add(scullv_devices[i].cdev, MKDEV(scullv_major, i), 1)
        node = device_create(scullv_class, None, MKDEV(scullv_major, i), None, "scullv%d", i)
        if isinstance(node, err_ptr):
            scullv_undo(i)
            return PTR_ERR(node)
    proc_create_single("scullvmem", 0, None, scullv_show_mem)
    return 0


def scullv_undo(nodes: int) -> None:
    """Take away all devices, of which `nodes` have a node, the class and the numbers."""
    for i, dev in enumerate(scullv_devices):
        if i < nodes:
            device_destroy(scullv_class, MKDEV(scullv_major, i))
        cdev_del(dev.cdev)
        scullv_trim(dev)
    class_destroy(scullv_class)
    unregister_chrdev_region(MKDEV(scullv_major, 0), scullv_devs)


def scullv_cleanup() -> None:
    remove_proc_entry("scullvmem", None)
    scullv_undo(scullv_devs)


module_init(scullv_init)
module_exit(scullv_cleanup)
