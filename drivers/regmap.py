"""regmap: a device's registers as a character device of its own, /dev/NAME, for a program to map.

Nobody probes: the parameters say where the first device is, as a board file does; `regmap_register_device` adds others.

* mmap shows the registers from the offset on, uncached; EINVAL beyond their end.
* read wants 4 bytes: it waits for an interrupt after the last that this open file has seen, and gives the number of
  interrupts so far.  EAGAIN with O_NONBLOCK.  poll and select know it too.  ENXIO for a device without a line.
* The handler only counts: a device that holds its line until it is acknowledged is one for uio.
"""

from __future__ import annotations

from typing import Any, Optional

from machine.kernel.linux import (  # isort: skip
    DECLARE_WAIT_QUEUE_HEAD, EAGAIN, EBUSY, EFAULT, EINVAL, ENODEV, ENXIO, ERESTARTSYS, IRQ_HANDLED,
    MISC_DYNAMIC_MINOR, MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC, O_NONBLOCK, PAGE_ALIGN,
    PAGE_SHIFT, POLLERR, POLLIN, POLLRDNORM, THIS_MODULE, Ptr, charp, copy_to_user, file, file_operations, free_irq,
    inode, misc_deregister, misc_register, miscdevice, module_exit, module_init, module_param, pgprot_noncached,
    poll_wait, remap_pfn_range, request_irq, ulong, vm_area_struct, wait_event_interruptible, wake_up_interruptible,
)  # fmt: skip

KERNEL = (6, 1)

MODULE_LICENSE("GPL")
MODULE_AUTHOR("the nopage authors")
MODULE_DESCRIPTION("a device's registers as a character device of its own")

regmap_start = 0
regmap_size = 0
regmap_irq = 0
regmap_name = ""
module_param("regmap_start", ulong, 0)
MODULE_PARM_DESC("regmap_start", "physical address of the registers, the start of a page")
module_param("regmap_size", ulong, 0)
MODULE_PARM_DESC("regmap_size", "bytes of them")
module_param("regmap_irq", int, 0)
MODULE_PARM_DESC("regmap_irq", "interrupt line; 0 for a device without")
module_param("regmap_name", charp, 0)
MODULE_PARM_DESC("regmap_name", "what the device is called in /dev")


class regmap_device:
    """One device."""

    def __init__(self, name: str, start: int, size: int, irq: int) -> None:
        self.name = name
        self.start = start
        self.size = size
        self.irq = irq
        self.event = 0
        """Interrupts so far."""
        self.wait = DECLARE_WAIT_QUEUE_HEAD()
        self.misc: Optional[miscdevice] = None


class regmap_listener:
    """One open file."""

    def __init__(self, dev: regmap_device) -> None:
        self.dev = dev
        self.seen = dev.event


regmap_devices: list[regmap_device] = []


def regmap_interrupt(irq: int, dev_id: regmap_device) -> int:
    dev_id.event += 1
    wake_up_interruptible(dev_id.wait)
    return IRQ_HANDLED


def regmap_open(inode: inode, filp: file) -> int:
    """misc_open leaves the device's `miscdevice` in private_data."""
    dev = next((each for each in regmap_devices if each.misc is filp.private_data), None)
    if dev is None:
        return -ENODEV
    filp.private_data = regmap_listener(dev)
    return 0


def regmap_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    listener: regmap_listener = filp.private_data
    dev = listener.dev
    if not dev.irq:
        return -ENXIO
    if count != 4:
        return -EINVAL
    if listener.seen == dev.event and filp.f_flags & O_NONBLOCK:
        return -EAGAIN
    if wait_event_interruptible(dev.wait, lambda: listener.seen != dev.event):
        return -ERESTARTSYS
    event = dev.event
    if copy_to_user(buf, (event & 0xFFFFFFFF).to_bytes(4, "little"), 4):
        return -EFAULT
    listener.seen = event
    return 4


def regmap_poll(filp: file, wait: Any) -> int:
    listener: regmap_listener = filp.private_data
    if not listener.dev.irq:
        return POLLERR
    poll_wait(filp, listener.dev.wait, wait)
    return POLLIN | POLLRDNORM if listener.seen != listener.dev.event else 0


def regmap_mmap(filp: file, vma: vm_area_struct) -> int:
    dev: regmap_device = filp.private_data.dev
    length = vma.vm_end - vma.vm_start
    if (vma.vm_pgoff << PAGE_SHIFT) + length > PAGE_ALIGN(dev.size):
        return -EINVAL
    vma.vm_page_prot = pgprot_noncached(vma.vm_page_prot)
    return remap_pfn_range(vma, vma.vm_start, (dev.start >> PAGE_SHIFT) + vma.vm_pgoff, length, vma.vm_page_prot)


regmap_fops = file_operations(
    owner=THIS_MODULE,
    open=regmap_open,
    read=regmap_read,
    poll=regmap_poll,
    mmap=regmap_mmap,
)


def regmap_register_device(dev: regmap_device) -> int:
    """/dev/NAME and its interrupt.  0, -EBUSY when the name or the line is taken, -EINVAL."""
    if not dev.name or not dev.size or dev.start & ((1 << PAGE_SHIFT) - 1):
        return -EINVAL
    if any(each.name == dev.name for each in regmap_devices):
        return -EBUSY
    dev.misc = miscdevice(minor=MISC_DYNAMIC_MINOR, name=dev.name, fops=regmap_fops)
    result = misc_register(dev.misc)
    if result:
        return result
    result = request_irq(dev.irq, regmap_interrupt, 0, dev.name, dev) if dev.irq else 0
    if result:
        misc_deregister(dev.misc)
        return result
    regmap_devices.append(dev)
    return 0


def regmap_init() -> int:
    return regmap_register_device(regmap_device(regmap_name, regmap_start, regmap_size, regmap_irq))


def regmap_exit() -> None:
    for dev in regmap_devices:
        if dev.irq:
            free_irq(dev.irq, dev)
        assert dev.misc is not None
        misc_deregister(dev.misc)
    regmap_devices.clear()


module_init(regmap_init)
module_exit(regmap_exit)
