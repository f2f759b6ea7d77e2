"""edu: /dev/edu on the educational PCI card that QEMU has too (1234:11e8): interrupts, DMA, mmap.

* ioctl (guest/include/edu.h): EDU_ID, EDU_LIVENESS, EDU_FACTORIAL (which sleeps until the card interrupts), EDU_RAISE,
  EDU_IRQS.
* The card has a buffer of 4,096 bytes.  write puts bytes into it at the file's position, read gets them, both by DMA
  through one page of memory, and both sleep until the card says that it is done.  At its end write gives ENOSPC.
* mmap shows the registers (1 MiB, uncached), and at offset 0x100000 the page that DMA goes through.
* edu_msi=1 asks for a message (MSI) instead of the interrupt pin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

from machine.kernel.linux import (  # isort: skip
    _IOR, _IOW, _IOWR, DECLARE_MUTEX, DECLARE_WAIT_QUEUE_HEAD, EAGAIN, EBUSY, EFAULT, EINVAL, EIO, ENODEV, ENOMEM,
    ENOSPC, ENOTTY, ERESTARTSYS, IRQ_HANDLED, IRQ_NONE, KERN_INFO, KERN_WARNING, MKDEV, MODULE_AUTHOR,
    MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC, NOPAGE_SIGBUS, NULL, PAGE_SHIFT, PAGE_SIZE, PCI_DEVICE,
    SA_SHIRQ, THIS_MODULE, VM_FAULT_MINOR, VM_RESERVED, copy_from_user, copy_to_user, devfs_mk_cdev, devfs_remove, down,
    down_interruptible, file, file_operations, free_irq, get_page, get_user, inode, io_remap_page_range, ioremap,
    iounmap, module_exit, module_init, module_param, NopageResult, pci_alloc_consistent, pci_dev, pci_device_id,
    pci_disable_device, pci_disable_msi, pci_driver, pci_enable_device, pci_enable_msi, pci_free_consistent,
    pci_get_drvdata, pci_name, pci_register_driver, pci_release_regions, pci_request_regions, pci_resource_len,
    pci_resource_start, pci_set_dma_mask, pci_set_drvdata, pci_set_master, pci_unregister_driver, pgprot_noncached,
    printk, Ptr, put_user, readl, register_chrdev, request_irq, sizeof, struct, u32, unregister_chrdev, up,
    virt_to_page, vm_area_struct, vm_operations_struct, wait_event_interruptible, wake_up_interruptible, writel,
    writeq,
)  # fmt: skip

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("/dev/edu on QEMU's educational PCI card: interrupts, DMA, mmap")

edu_msi = 0
module_param("edu_msi", int, 0)
MODULE_PARM_DESC("edu_msi", "1: interrupts as messages (MSI)")

ID, LIVENESS, FACTORIAL, STATUS, IRQ_STATUS, IRQ_RAISE, IRQ_ACK = 0x00, 0x04, 0x08, 0x20, 0x24, 0x60, 0x64
DMA_SOURCE, DMA_TARGET, DMA_COUNT, DMA_COMMAND = 0x80, 0x88, 0x90, 0x98
STATUS_IRQ_WHEN_DONE = 0x80
FACTORIAL_IRQ, DMA_IRQ = 0x1, 0x100
DMA_RUN, DMA_TO_RAM, DMA_WANTS_IRQ = 1, 2, 4
EDU_BUFFER, EDU_BUFFER_SIZE = 0x40000, 4096
EDU_DMA_MASK = (1 << 28) - 1


class edu_irqs(struct):
    count = u32()
    bits = u32()


EDU_ID = _IOR("e", 1, 4)
EDU_LIVENESS = _IOWR("e", 2, 4)
EDU_FACTORIAL = _IOWR("e", 3, 4)
EDU_RAISE = _IOW("e", 4, 4)
EDU_IRQS = _IOR("e", 5, sizeof(edu_irqs))


class edu_dev:
    """The card; there is one."""

    def __init__(self, pdev: pci_dev) -> None:
        self.pdev = pdev
        self.regs = NULL
        self.page = NULL
        """The page that DMA goes through, as the kernel sees it."""
        self.bus = 0
        """And as the card does."""
        self.sem = DECLARE_MUTEX()
        """One request at a time."""
        self.wait = DECLARE_WAIT_QUEUE_HEAD()
        self.done = 0
        """What has interrupted since the last request began."""
        self.gone = False
        """The driver was taken off the card (sysfs unbind, rmmod): files that are still open give ENODEV."""
        self.irqs = edu_irqs()


edu: Optional[edu_dev] = None
edu_major = 0


def edu_interrupt(irq: int, dev_id: edu_dev, regs: Any) -> int:
    status = readl(dev_id.regs + IRQ_STATUS)
    if not status:
        return IRQ_NONE
    writel(status, dev_id.regs + IRQ_ACK)
    dev_id.irqs.count += 1
    dev_id.irqs.bits |= status
    dev_id.done |= status
    wake_up_interruptible(dev_id.wait)
    return IRQ_HANDLED


def edu_begin(dev: edu_dev) -> int:
    """Take the card: 0, and ``up(dev.sem)`` gives it back; -ERESTARTSYS, or -ENODEV where it is gone."""
    if down_interruptible(dev.sem):
        return -ERESTARTSYS
    if dev.gone:
        up(dev.sem)
        return -ENODEV
    return 0


def edu_request(dev: edu_dev, bit: int, start: Callable[[], None]) -> int:
    """Have the card do something, and sleep until its interrupt; it is taken.  0, -ERESTARTSYS or -ENODEV."""
    dev.done &= ~bit
    start()
    if wait_event_interruptible(dev.wait, lambda: dev.done & bit or dev.gone):
        return -ERESTARTSYS
    return 0 if dev.done & bit else -ENODEV


# -- file operations ------------------------------------------------------------------------------------------


def edu_open(inode: inode, filp: file) -> int:
    if edu is None:
        return -ENODEV
    filp.private_data = edu
    return 0


def edu_dma(dev: edu_dev, at: int, count: int, command: int) -> int:
    """Move `count` bytes between the page and the card's buffer from `at` on."""

    def start() -> None:
        source, target = dev.bus, EDU_BUFFER + at
        if command & DMA_TO_RAM:
            source, target = target, source
        for register, value in ((DMA_SOURCE, source), (DMA_TARGET, target), (DMA_COUNT, count)):
            writeq(value, dev.regs + register)
        writeq(command | DMA_RUN | DMA_WANTS_IRQ, dev.regs + DMA_COMMAND)

    return edu_request(dev, DMA_IRQ, start)


def edu_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    dev: edu_dev = filp.private_data
    count = max(0, min(count, EDU_BUFFER_SIZE - f_pos[0]))
    if not count:
        return 0
    result = edu_begin(dev)
    if result:
        return result
    result = edu_dma(dev, f_pos[0], count, DMA_TO_RAM)
    if result == 0 and copy_to_user(buf, dev.page, count):
        result = -EFAULT
    up(dev.sem)
    if result:
        return result
    f_pos[0] += count
    return count


def edu_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    dev: edu_dev = filp.private_data
    count = min(count, EDU_BUFFER_SIZE - f_pos[0])
    if count <= 0:
        return -ENOSPC if count < 0 or f_pos[0] >= EDU_BUFFER_SIZE else 0
    result = edu_begin(dev)
    if result:
        return result
    result = -EFAULT if copy_from_user(dev.page, buf, count) else edu_dma(dev, f_pos[0], count, 0)
    up(dev.sem)
    if result:
        return result
    f_pos[0] += count
    return count


def edu_command(dev: edu_dev, cmd: int, number: list[int]) -> int:
    """The registers, while the card is taken; what they give goes into ``number[0]``."""
    if cmd == EDU_ID:
        number[0] = readl(dev.regs + ID)
    elif cmd == EDU_RAISE:
        writel(number[0], dev.regs + IRQ_RAISE)
    elif cmd == EDU_LIVENESS:
        writel(number[0], dev.regs + LIVENESS)
        number[0] = readl(dev.regs + LIVENESS)
    else:
        writel(STATUS_IRQ_WHEN_DONE, dev.regs + STATUS)
        result = edu_request(dev, FACTORIAL_IRQ, lambda: writel(number[0], dev.regs + FACTORIAL))
        if result:
            return result
        number[0] = readl(dev.regs + FACTORIAL)
    return 0


def edu_ioctl(inode: inode, filp: file, cmd: int, arg: int) -> int:
    """-ENOTTY for a command of another device."""
    dev: edu_dev = filp.private_data
    if cmd == EDU_IRQS:
        return -EFAULT if copy_to_user(arg, dev.irqs, sizeof(dev.irqs)) else 0
    if cmd not in (EDU_ID, EDU_LIVENESS, EDU_FACTORIAL, EDU_RAISE):
        return -ENOTTY
    number = [0]
    if cmd != EDU_ID and get_user(number, arg, 4):
        return -EFAULT
    result = edu_begin(dev)
    if result:
        return result
    result = edu_command(dev, cmd, number)
    up(dev.sem)
    return result if result or cmd == EDU_RAISE else put_user(number[0], arg, 4)


# -- mmap -------------------------------------------------------------------------------------------------------


def edu_vma_nopage(vma: vm_area_struct, address: int, type: Optional[Ptr]) -> NopageResult:
    """The page is ordinary memory: remap_pfn_range would not map it (LDD3 §15.2.6)."""
    dev: edu_dev = vma.vm_private_data
    if address != vma.vm_start or dev.gone:
        return NOPAGE_SIGBUS
    page = virt_to_page(dev.page)
    get_page(page)
    if type:
        type[0] = VM_FAULT_MINOR
    return page


edu_page_vm_ops = vm_operations_struct(nopage=edu_vma_nopage)


def edu_mmap(filp: file, vma: vm_area_struct) -> int:
    dev: edu_dev = filp.private_data
    if dev.gone:
        return -ENODEV
    offset, size = vma.vm_pgoff << PAGE_SHIFT, vma.vm_end - vma.vm_start
    length = pci_resource_len(dev.pdev, 0)
    if offset == length and size == PAGE_SIZE:
        vma.vm_ops = edu_page_vm_ops
        vma.vm_private_data = dev
        vma.vm_flags |= VM_RESERVED
        return 0
    if offset + size > length:
        return -EINVAL
    vma.vm_page_prot = pgprot_noncached(vma.vm_page_prot)
    start = pci_resource_start(dev.pdev, 0) + offset
    return -EAGAIN if io_remap_page_range(vma, vma.vm_start, start, size, vma.vm_page_prot) else 0


edu_fops = file_operations(
    owner=THIS_MODULE, open=edu_open, read=edu_read, write=edu_write, ioctl=edu_ioctl, mmap=edu_mmap
)


# -- the card comes and goes -------------------------------------------------------------------------------------


def edu_start(dev: edu_dev) -> int:
    pdev = dev.pdev
    if pci_set_dma_mask(pdev, EDU_DMA_MASK):
        return -EIO
    handle = [0]
    dev.page = pci_alloc_consistent(pdev, PAGE_SIZE, handle)
    dev.bus = handle[0]
    dev.regs = ioremap(pci_resource_start(pdev, 0), pci_resource_len(pdev, 0))
    if not dev.page or not dev.regs:
        return -ENOMEM
    pci_set_master(pdev)
    if edu_msi and pci_enable_msi(pdev):
        return -EIO
    return request_irq(pdev.irq, edu_interrupt, SA_SHIRQ, "edu", dev)


def edu_stop(dev: edu_dev) -> None:
    """Undo what there is of `edu_start` but the handler, and what `edu_probe` claimed."""
    if edu_msi:
        pci_disable_msi(dev.pdev)
    if dev.regs:
        iounmap(dev.regs)
    if dev.page:
        pci_free_consistent(dev.pdev, PAGE_SIZE, dev.page, dev.bus)
    pci_release_regions(dev.pdev)
    pci_disable_device(dev.pdev)


def edu_probe(pdev: pci_dev, id: pci_device_id) -> int:
    global edu
    if edu is not None:
        return -EBUSY
    result = pci_enable_device(pdev)
    if result:
        return result
    result = pci_request_regions(pdev, "edu")
    if result:
        pci_disable_device(pdev)
        return result
    dev = edu_dev(pdev)
    result = edu_start(dev)
    if result:
        edu_stop(dev)
        return result
    pci_set_drvdata(pdev, dev)
    edu = dev
    printk(KERN_INFO + "edu: %s, interrupt %d\n", pci_name(pdev), pdev.irq)
    return 0


def edu_remove(pdev: pci_dev) -> None:
    global edu
    dev: edu_dev = pci_get_drvdata(pdev)
    edu = None
    dev.gone = True
    wake_up_interruptible(dev.wait)
    down(dev.sem)  # whoever used the registers has left
    free_irq(pdev.irq, dev)
    edu_stop(dev)
    up(dev.sem)  # the next one finds it gone


edu_driver = pci_driver(name="edu", id_table=[PCI_DEVICE(0x1234, 0x11E8)], probe=edu_probe, remove=edu_remove)


def edu_init() -> int:
    global edu_major
    edu_major = register_chrdev(0, "edu", edu_fops)
    if edu_major < 0:
        return edu_major
    result = pci_register_driver(edu_driver)
    if result == 0 and edu is None:
        printk(KERN_WARNING + "edu: there is no such card\n")
        pci_unregister_driver(edu_driver)
        result = -ENODEV
    if result:
        unregister_chrdev(edu_major, "edu")
        return result
    return devfs_mk_cdev(MKDEV(edu_major, 0), 0o660, "edu")


def edu_exit() -> None:
    devfs_remove("edu")
    pci_unregister_driver(edu_driver)
    unregister_chrdev(edu_major, "edu")


module_init(edu_init)
module_exit(edu_exit)
