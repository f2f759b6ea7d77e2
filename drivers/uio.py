"""uio: one device's memory and interrupt for a program to drive (drivers/uio/uio.c, uio_pdrv_genirq.c of Linux 6.1).

/dev/uioN, with /sys/class/uio/uioN/{name,version,event} and maps/mapM/{name,addr,offset,size}.  The parameters say
where the first device is; or uio_pci=1234:11e8 names a PCI card by its vendor and device, as one does to
uio_pci_generic: its memory BARs are the maps, named after the BAR, and it may do DMA.  `uio_register_device` adds
others.

* mmap at offset M * page size shows map M from its start, uncached; EINVAL for a map that is not there or is shorter.
  uio_ram adds a map of ordinary memory.
* read wants 4 bytes: it waits for an interrupt after the last that this open file has seen, and gives the number of
  interrupts so far.  EAGAIN with O_NONBLOCK.  poll and select know it too.
* The driver doesn't know the device: its interrupt stays off from one interrupt until a write of 4 bytes, 1 to switch
  it on again, 0 off.  Of a PCI card that is its own interrupt, by the command register: others share the line.
* Without an interrupt, read, write and poll give EIO.
"""

from __future__ import annotations

from typing import Any, Optional

from machine.kernel.linux import (  # isort: skip
    DECLARE_WAIT_QUEUE_HEAD, DEVICE_ATTR, EAGAIN, EBUSY, EFAULT, EINVAL, EIO, ENODEV, ENOMEM, ERESTARTSYS,
    IORESOURCE_MEM, IRQF_SHARED, IRQ_HANDLED, IRQ_NONE, KERN_ERR, MAJOR, MINOR, MKDEV, MODULE_AUTHOR,
    MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC, O_NONBLOCK, PAGE_ALIGN, PAGE_MASK, PAGE_SHIFT,
    PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, PCI_DEVICE, PCI_STATUS, POLLERR, POLLIN, POLLRDNORM, PTR_ERR,
    THIS_MODULE, VM_DONTDUMP, VM_DONTEXPAND, VM_FAULT_SIGBUS, alloc_chrdev_region, cdev, cdev_add, cdev_del,
    cdev_init, charp, class_create, class_destroy, copy_from_user, copy_to_user, dev_get_drvdata, device,
    device_attribute, device_class, device_create, device_create_file, device_destroy, disable_irq_nosync,
    enable_irq, err_ptr, file, file_operations, free_irq, get_page, inode, kobject, kobject_create_and_add,
    module_exit, module_init, module_param, module_param_array, pci_dev, pci_device_id, pci_disable_device,
    pci_driver, pci_enable_device, pci_read_config_word, pci_register_driver, pci_release_regions,
    pci_request_regions, pci_resource_flags, pci_resource_len, pci_resource_start, pci_set_master,
    pci_unregister_driver, pci_write_config_word, pgprot_noncached, poll_wait, printk, Ptr, remap_pfn_range,
    request_irq, spin_lock_irqsave, spin_unlock_irqrestore, spinlock_t, sysfs_buf, sysfs_create_file, sysfs_emit,
    uint, ulong, unregister_chrdev_region, vfree, vm_area_struct, vm_fault, vm_flags_set, vm_operations_struct,
    vmalloc_to_page, vzalloc, wait_event_interruptible, wake_up_interruptible,
)  # fmt: skip

KERNEL = (6, 1)

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("a device's memory and interrupt for a program to drive (UIO)")

uio_start: list[int] = []
uio_size: list[int] = []
uio_ram = 0
uio_irq = 0
uio_pci = ""
uio_name = "uio"
uio_minor = 0
module_param_array("uio_start", ulong, 0)
MODULE_PARM_DESC("uio_start", "physical address of each map, up to five")
module_param_array("uio_size", ulong, 0)
MODULE_PARM_DESC("uio_size", "bytes of each map")
module_param("uio_ram", uint, 0)
MODULE_PARM_DESC("uio_ram", "bytes of memory to get and to show as a further map")
module_param("uio_irq", int, 0)
MODULE_PARM_DESC("uio_irq", "interrupt line; 0 for a device without")
module_param("uio_pci", charp, 0)
MODULE_PARM_DESC("uio_pci", "instead: the PCI card with these numbers, VENDOR:DEVICE in hexadecimal")
module_param("uio_name", charp, 0)
MODULE_PARM_DESC("uio_name", "what the device is called in /sys/class/uio/uio0/name")
module_param("uio_minor", uint, 0)
MODULE_PARM_DESC("uio_minor", "N of /dev/uioN, 0 to 255")

UIO_VERSION = "devicetree"
"""What every device of uio_pdrv_genirq says."""
MAX_UIO_MAPS = 5
UIO_MAX_DEVICES = 256
PCI_STATUS_INTERRUPT = 0x08
"""linux/pci_regs.h: the card pulls its line."""


class uio_mem:
    """One map."""

    def __init__(self, index: int, name: str, addr: int, offs: int, size: int, virtual: bool) -> None:
        self.index = index
        """Which of the device's it is."""
        self.name = name
        self.addr = addr
        """Physical address of its first page; a kernel address when `virtual`."""
        self.offs = offs
        """Where the device begins in that page."""
        self.size = size
        self.virtual = virtual


class uio_device:
    """One device, and what its interrupt handler and those who wait share."""

    def __init__(self, minor: int, name: str, irq: int) -> None:
        self.minor = minor
        self.name = name
        self.irq = irq
        """Its line, 0 without."""
        self.mem: list[uio_mem] = []
        self.pdev: Optional[pci_dev] = None
        self.event = 0
        """Interrupts so far."""
        self.wait = DECLARE_WAIT_QUEUE_HEAD()
        self.lock = spinlock_t()
        self.irq_off = False


class uio_listener:
    """One open file."""

    def __init__(self, idev: uio_device) -> None:
        self.idev = idev
        self.event_count = idev.event


uio_first: uio_device
"""That of the parameters."""
uio_devices: dict[int, uio_device] = {}
"""By minor number."""
uio_cdev = cdev()
uio_devt = 0
uio_class: Optional[device_class] = None


# -- the interrupt -------------------------------------------------------------------------------------------


def uio_interrupt(irq: int, dev_id: uio_device) -> int:
    """Off until the program has seen to its device: a line that is held would interrupt without end."""
    if not dev_id.irq_off:
        dev_id.irq_off = True
        disable_irq_nosync(irq)
    dev_id.event += 1
    wake_up_interruptible(dev_id.wait)
    return IRQ_HANDLED


def uio_pci_interrupt(irq: int, dev_id: uio_device) -> int:
    """The line may be another card's: ours says in its status that it pulls."""
    assert dev_id.pdev is not None
    status = [0]
    pci_read_config_word(dev_id.pdev, PCI_STATUS, status)
    if not status[0] & PCI_STATUS_INTERRUPT:
        return IRQ_NONE
    uio_pci_intx(dev_id.pdev, False)
    dev_id.event += 1
    wake_up_interruptible(dev_id.wait)
    return IRQ_HANDLED


def uio_pci_intx(pdev: pci_dev, enable: bool) -> None:
    """Whether the card may pull its line."""
    command = [0]
    pci_read_config_word(pdev, PCI_COMMAND, command)
    off = 0 if enable else PCI_COMMAND_INTX_DISABLE
    pci_write_config_word(pdev, PCI_COMMAND, command[0] & ~PCI_COMMAND_INTX_DISABLE | off)


def uio_irqcontrol(idev: uio_device, irq_on: int) -> int:
    if idev.pdev is not None:
        uio_pci_intx(idev.pdev, bool(irq_on))
        return 0
    flags = spin_lock_irqsave(idev.lock)
    switch = bool(irq_on) == idev.irq_off
    if switch:
        idev.irq_off = not irq_on
    spin_unlock_irqrestore(idev.lock, flags)
    if switch:
        (enable_irq if irq_on else disable_irq_nosync)(idev.irq)
    return 0


# -- file operations -------------------------------------------------------------------------------------------


def uio_open(inode: inode, filp: file) -> int:
    idev = uio_devices.get(MINOR(inode.i_rdev))
    if idev is None:
        return -ENODEV
    filp.private_data = uio_listener(idev)
    return 0


def uio_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    listener: uio_listener = filp.private_data
    idev = listener.idev
    if not idev.irq:
        return -EIO
    if count != 4:
        return -EINVAL
    if listener.event_count == idev.event and filp.f_flags & O_NONBLOCK:
        return -EAGAIN
    if wait_event_interruptible(idev.wait, lambda: listener.event_count != idev.event):
        return -ERESTARTSYS
    event = idev.event
    if copy_to_user(buf, (event & 0xFFFFFFFF).to_bytes(4, "little"), 4):
        return -EFAULT
    listener.event_count = event
    return 4


def uio_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    irq_on = bytearray(4)
    idev: uio_device = filp.private_data.idev
    if count != 4:
        return -EINVAL
    if copy_from_user(irq_on, buf, 4):
        return -EFAULT
    if not idev.irq:
        return -EIO
    return uio_irqcontrol(idev, int.from_bytes(irq_on, "little")) or 4


def uio_poll(filp: file, wait: Any) -> int:
    listener: uio_listener = filp.private_data
    idev = listener.idev
    if not idev.irq:
        return POLLERR
    poll_wait(filp, idev.wait, wait)
    return POLLIN | POLLRDNORM if listener.event_count != idev.event else 0


def uio_llseek(filp: file, offset: int, whence: int) -> int:
    """There is no position to move (noop_llseek)."""
    return filp.f_pos


# -- mmap ------------------------------------------------------------------------------------------------------


def uio_vma_fault(vmf: vm_fault) -> int:
    """Memory of the driver's own, a page at a time."""
    mem: uio_mem = vmf.vma.vm_private_data
    offset = vmf.pgoff - mem.index << PAGE_SHIFT
    if offset >= PAGE_ALIGN(mem.size):
        return VM_FAULT_SIGBUS
    page = vmalloc_to_page(mem.addr + offset)
    get_page(page)
    vmf.page = page
    return 0


uio_virtual_vm_ops = vm_operations_struct(fault=uio_vma_fault)
uio_physical_vm_ops = vm_operations_struct()


def uio_mmap(filp: file, vma: vm_area_struct) -> int:
    """The offset is no position: page M of it means map M."""
    mi = vma.vm_pgoff
    idev: uio_device = filp.private_data.idev
    if mi >= len(idev.mem):
        return -EINVAL
    mem = idev.mem[mi]
    if vma.vm_end - vma.vm_start > PAGE_ALIGN(mem.size):
        return -EINVAL
    if mem.virtual:
        vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP)
        vma.vm_private_data = mem
        vma.vm_ops = uio_virtual_vm_ops
        return 0
    vma.vm_ops = uio_physical_vm_ops
    vma.vm_page_prot = pgprot_noncached(vma.vm_page_prot)
    return remap_pfn_range(vma, vma.vm_start, mem.addr >> PAGE_SHIFT, vma.vm_end - vma.vm_start, vma.vm_page_prot)


uio_fops = file_operations(
    owner=THIS_MODULE,
    open=uio_open,
    read=uio_read,
    write=uio_write,
    poll=uio_poll,
    mmap=uio_mmap,
    llseek=uio_llseek,
)


# -- /sys/class/uio/uio0 -----------------------------------------------------------------------------------------


def name_show(dev: device, attr: device_attribute, buf: sysfs_buf) -> int:
    return sysfs_emit(buf, "%s\n", dev_get_drvdata(dev).name)


def version_show(dev: device, attr: device_attribute, buf: sysfs_buf) -> int:
    return sysfs_emit(buf, "%s\n", UIO_VERSION)


def event_show(dev: device, attr: device_attribute, buf: sysfs_buf) -> int:
    return sysfs_emit(buf, "%u\n", dev_get_drvdata(dev).event)


def map_attribute(mem: uio_mem, name: str) -> device_attribute:
    """One file of a map's directory; addresses and sizes as %pa has them, 16 digits."""

    def show(kobj: kobject, attr: device_attribute, buf: sysfs_buf) -> int:
        if name == "name":
            return sysfs_emit(buf, "%s\n", mem.name)
        if name == "offset":
            return sysfs_emit(buf, "0x%llx\n", mem.offs)
        return sysfs_emit(buf, "0x%016llx\n", mem.addr if name == "addr" else mem.size)

    return DEVICE_ATTR(name, 0o444, show)


def uio_dev_add_attributes(idev: uio_device, dev: device) -> None:
    """The driver's methods and its device's maps, each a directory."""
    for name, show in (("name", name_show), ("version", version_show), ("event", event_show)):
        device_create_file(dev, DEVICE_ATTR(name, 0o444, show))
    maps = kobject_create_and_add("maps", dev)
    for mem in idev.mem:
        each = kobject_create_and_add(f"map{mem.index}", maps)
        for name in ("name", "addr", "size", "offset"):
            sysfs_create_file(each, map_attribute(mem, name))


# -- devices come and go ---------------------------------------------------------------------------------------------


def uio_add_map(idev: uio_device, start: int, size: int) -> None:
    """A further map: `size` bytes from the physical address `start`, with the pages around them."""
    offs = start & ~PAGE_MASK
    idev.mem.append(uio_mem(len(idev.mem), f"{start:x}", start & PAGE_MASK, offs, PAGE_ALIGN(offs + size), False))


def uio_register_device(idev: uio_device) -> int:
    """/dev/uioN and its files in /sys, and its interrupt.  0, -EBUSY when N or the line is taken, -EINVAL."""
    if not 0 <= idev.minor < UIO_MAX_DEVICES or not 1 <= len(idev.mem) <= MAX_UIO_MAPS:
        return -EINVAL
    if idev.minor in uio_devices:
        return -EBUSY
    assert uio_class is not None
    devt = MKDEV(MAJOR(uio_devt), idev.minor)
    made = device_create(uio_class, None, devt, idev, "uio%d", idev.minor)
    if isinstance(made, err_ptr):
        return int(PTR_ERR(made))
    uio_devices[idev.minor] = idev
    uio_dev_add_attributes(idev, made)
    result = uio_request_irq(idev)
    if result:
        printk(KERN_ERR + "uio: can't have interrupt %d\n", idev.irq)
        device_destroy(uio_class, devt)
        del uio_devices[idev.minor]
    return result


def uio_request_irq(idev: uio_device) -> int:
    if not idev.irq:
        return 0
    if idev.pdev is not None:
        return request_irq(idev.irq, uio_pci_interrupt, IRQF_SHARED, idev.name, idev)
    return request_irq(idev.irq, uio_interrupt, 0, idev.name, idev)


def uio_unregister_device(idev: uio_device) -> None:
    """Undo `uio_register_device`."""
    if idev.irq:
        if idev.irq_off or idev.pdev is not None:
            uio_irqcontrol(idev, 1)
        free_irq(idev.irq, idev)
    assert uio_class is not None
    device_destroy(uio_class, MKDEV(MAJOR(uio_devt), idev.minor))
    del uio_devices[idev.minor]
    uio_free_maps(idev)


def uio_free_maps(idev: uio_device) -> None:
    if idev.pdev is not None:
        pci_unregister_driver(uio_pci_driver)
    elif idev.mem and idev.mem[-1].virtual:
        vfree(idev.mem[-1].addr)


# -- a PCI card --------------------------------------------------------------------------------------------------


def uio_pci_probe(pdev: pci_dev, id: pci_device_id) -> int:
    """The first card that nobody has."""
    idev = uio_first
    if idev.pdev is not None:
        return -EBUSY
    result = pci_enable_device(pdev)
    if result:
        return result
    result = pci_request_regions(pdev, "uio")
    if result:
        pci_disable_device(pdev)
        return result
    pci_set_master(pdev)
    for bar in range(6):
        if pci_resource_flags(pdev, bar) & IORESOURCE_MEM:
            start = pci_resource_start(pdev, bar)
            offs, size = start & ~PAGE_MASK, pci_resource_len(pdev, bar)
            idev.mem.append(uio_mem(len(idev.mem), f"BAR{bar}", start & PAGE_MASK, offs, size, False))
    idev.pdev, idev.irq = pdev, pdev.irq
    return 0


def uio_pci_remove(pdev: pci_dev) -> None:
    pci_release_regions(pdev)
    pci_disable_device(pdev)


uio_pci_driver = pci_driver(name="uio_pci_generic", id_table=[], probe=uio_pci_probe, remove=uio_pci_remove)


def uio_find_card() -> int:
    """The card of uio_pci; 0, -EINVAL or -ENODEV."""
    vendor, _, device = uio_pci.partition(":")
    try:
        uio_pci_driver.id_table = [PCI_DEVICE(int(vendor, 16), int(device, 16))]
    except ValueError:
        printk(KERN_ERR + "uio: uio_pci=%s is not VENDOR:DEVICE, like 1234:11e8\n", uio_pci)
        return -EINVAL
    result = pci_register_driver(uio_pci_driver)
    if result or uio_first.pdev is not None:
        return result
    printk(KERN_ERR + "uio: there is no card %s that no driver has\n", uio_pci)
    pci_unregister_driver(uio_pci_driver)
    return -ENODEV


# -- loading and unloading ---------------------------------------------------------------------------------------


def uio_find_maps(idev: uio_device) -> int:
    """What the parameters say; 0 or a negative errno."""
    if uio_pci:
        return uio_find_card()
    maps = len(uio_start) + bool(uio_ram)
    if len(uio_start) != len(uio_size) or not 1 <= maps <= MAX_UIO_MAPS or 0 in uio_size:
        printk(KERN_ERR + "uio: %d addresses and %d sizes; it takes one to %d pairs\n", len(uio_start), len(uio_size),
               MAX_UIO_MAPS)  # fmt: skip
        return -EINVAL
    for start, size in zip(uio_start, uio_size, strict=True):
        uio_add_map(idev, start, size)
    if uio_ram:
        addr = vzalloc(PAGE_ALIGN(uio_ram))
        if not addr:
            return -ENOMEM
        idev.mem.append(uio_mem(len(idev.mem), "ram", addr, 0, PAGE_ALIGN(uio_ram), True))
    return 0


def uio_init() -> int:
    global uio_devt, uio_class, uio_first
    uio_first = idev = uio_device(uio_minor, uio_name, uio_irq)
    result = uio_find_maps(idev)
    if result:
        uio_free_maps(idev)
        return result
    dev = [0]
    result = alloc_chrdev_region(dev, 0, UIO_MAX_DEVICES, "uio")
    if result:
        uio_free_maps(idev)
        return result
    uio_devt = MKDEV(MAJOR(dev[0]), 0)
    cls = class_create(THIS_MODULE, "uio")
    if isinstance(cls, err_ptr):
        unregister_chrdev_region(uio_devt, UIO_MAX_DEVICES)
        uio_free_maps(idev)
        return PTR_ERR(cls)
    uio_class = cls
    cdev_init(uio_cdev, uio_fops)
    cdev_add(uio_cdev, uio_devt, UIO_MAX_DEVICES)
    result = uio_register_device(idev)
    if result:
        uio_free_maps(idev)
        uio_remove_class()
    return result


def uio_remove_class() -> None:
    assert uio_class is not None
    cdev_del(uio_cdev)
    class_destroy(uio_class)
    unregister_chrdev_region(uio_devt, UIO_MAX_DEVICES)


def uio_exit() -> None:
    for idev in list(uio_devices.values()):
        uio_unregister_device(idev)
    uio_remove_class()


module_init(uio_init)
module_exit(uio_exit)
