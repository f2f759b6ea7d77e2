"""/dev/ring: a ring of pages.  What is written can be read, once; poll says when; the pages can be mapped."""

from machine.kernel.linux import *

ring_pages = 4
module_param("ring_pages", int, 0o444)

RING_IOCGCOUNT = _IOR("r", 1, int)  # bytes that wait to be read
RING_IOCRESET = _IO("r", 2)  # forget them


class ring_dev:
    pages = []  # kernel address of each
    head = tail = 0  # how many bytes were written, and read, since it was loaded
    sem = DECLARE_MUTEX()
    queue = DECLARE_WAIT_QUEUE_HEAD()  # readers wait for bytes, writers for room


dev = ring_dev()


def ring_count():
    return dev.head - dev.tail


def ring_room():
    return ring_pages * PAGE_SIZE - ring_count()


def ring_place(position, count):
    """Where byte `position` is, and how many of `count` are in the same page."""
    number, offset = divmod(position, PAGE_SIZE)
    return dev.pages[number % ring_pages] + offset, min(count, PAGE_SIZE - offset)


def ring_wait(filp, condition):
    """0 when the semaphore is taken and there is something to do; else what read or write returns."""
    if down_interruptible(dev.sem):
        return -ERESTARTSYS
    while not condition():
        up(dev.sem)
        if filp.f_flags & O_NONBLOCK:
            return -EAGAIN
        if wait_event_interruptible(dev.queue, condition) or down_interruptible(dev.sem):
            return -ERESTARTSYS
    return 0


def ring_read(filp, buf, count, f_pos):
    result = ring_wait(filp, ring_count)
    if result:
        return result
    address, count = ring_place(dev.tail, min(count, ring_count()))
    result = -EFAULT if copy_to_user(buf, address, count) else count
    dev.tail += max(result, 0)
    up(dev.sem)
    wake_up_interruptible(dev.queue)
    return result


def ring_write(filp, buf, count, f_pos):
    result = ring_wait(filp, ring_room)
    if result:
        return result
    address, count = ring_place(dev.head, min(count, ring_room()))
    result = -EFAULT if copy_from_user(address, buf, count) else count
    dev.head += max(result, 0)
    up(dev.sem)
    wake_up_interruptible(dev.queue)
    return result


def ring_poll(filp, wait):
    poll_wait(filp, dev.queue, wait)  # whoever wakes this queue has poll ask again
    mask = POLLIN | POLLRDNORM if ring_count() else 0
    return mask | (POLLOUT | POLLWRNORM if ring_room() else 0)


def ring_ioctl(inode, filp, cmd, arg):
    if cmd == RING_IOCGCOUNT:
        return put_user(ring_count(), arg)  # 4 bytes, an int, at the user address `arg`; 0 or -EFAULT
    if cmd == RING_IOCRESET:
        dev.tail = dev.head
        wake_up_interruptible(dev.queue)
        return 0
    return -ENOTTY  # no command of ours


def ring_vma_nopage(vma, address, type):
    number = ((address - vma.vm_start) >> PAGE_SHIFT) + vma.vm_pgoff
    if number >= ring_pages:
        return NOPAGE_SIGBUS
    page = virt_to_page(dev.pages[number])
    get_page(page)
    if type:
        type[0] = VM_FAULT_MINOR
    return page


ring_vm_ops = vm_operations_struct(nopage=ring_vma_nopage)


def ring_mmap(filp, vma):
    vma.vm_ops = ring_vm_ops
    vma.vm_flags |= VM_RESERVED
    return 0


ring_misc = miscdevice(
    minor=MISC_DYNAMIC_MINOR,
    name="ring",
    fops=file_operations(
        open=nonseekable_open, read=ring_read, write=ring_write, poll=ring_poll, ioctl=ring_ioctl, mmap=ring_mmap
    ),
)


def ring_release_pages():
    while dev.pages:
        free_page(dev.pages.pop())


def ring_init():
    for _ in range(ring_pages):
        page = get_zeroed_page(GFP_KERNEL)
        if not page:
            ring_release_pages()
            return -ENOMEM
        dev.pages.append(page)
    result = misc_register(ring_misc)
    if result:
        ring_release_pages()
    return result


def ring_exit():
    misc_deregister(ring_misc)
    ring_release_pages()


module_init(ring_init)
module_exit(ring_exit)
