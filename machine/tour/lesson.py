"""/dev/lesson: what is written to it are calls of the allocators, what is read shows the copies to user space.

A driver of the tour, for *Beginning Linux Programming* §21.5.4 and §21.5.5, which name functions and no module.
A line that is written is a function and its argument (``kmalloc 100``); the log says what came of it.  read gives
the bytes of one page, and logs what `copy_to_user` returned.
"""

from __future__ import annotations

from machine.kernel.linux import (  # isort: skip
    EFAULT, EINVAL, GFP_KERNEL, KERN_INFO, MKDEV, PAGE_SIZE, THIS_MODULE, VERIFY_READ, VERIFY_WRITE, Ptr,
    __get_dma_pages, __get_free_page, __get_free_pages, __pa, access_ok, copy_from_user, copy_to_user, devfs_mk_cdev,
    devfs_remove, file, file_operations, free_pages, get_free_page, get_user, inode, kernel_memory, kfree, kmalloc,
    memset, module_exit, module_init, page_to_pfn, printk, register_chrdev, unregister_chrdev, vfree, vmalloc,
    vmalloc_to_page,
)  # fmt: skip

KERNEL = (2, 2)
DMA_LIMIT = 16 << 20
FRAGMENTS = 256
"""Pages got before a vmalloc, so that the free ones are scattered as in a machine that has run for a while."""

lesson_major = 0
lesson_page = 0


def dirty_page() -> None:
    """Leave a page behind that somebody else has written to, for the next one who gets it."""
    address = __get_free_page(GFP_KERNEL)
    memset(address, 0x55, PAGE_SIZE)
    free_pages(address, 0)


def zeroed(address: int, size: int) -> str:
    return "zeroed" if not any(kernel_memory(address, size)) else "not zeroed"


def lesson_pages(name: str, order: int) -> None:
    """One of the page allocators, and the pages given back with the same order."""
    calls = {
        "get_free_page": lambda: get_free_page(GFP_KERNEL),
        "__get_free_page": lambda: __get_free_page(GFP_KERNEL),
        "__get_free_pages": lambda: __get_free_pages(GFP_KERNEL, order),
        "__get_dma_pages": lambda: __get_dma_pages(GFP_KERNEL, order),
    }
    dirty_page()
    address = calls[name]()
    if not address:
        printk(KERN_INFO + "%s: order %d: none\n", name, order)
        return
    where = "below 16 MiB" if __pa(address) < DMA_LIMIT else "above 16 MiB"
    size = PAGE_SIZE << order
    printk(KERN_INFO + "%s: %d bytes, %s, %s\n", name, size, zeroed(address, size), where)
    free_pages(address, order)


def lesson_kmalloc(size: int) -> None:
    address = kmalloc(size, GFP_KERNEL)
    printk(KERN_INFO + "kmalloc(%d): %s\n", size, "memory" if address else "none")
    kfree(address)


def lesson_vmalloc(size: int) -> None:
    """As many pages as are asked for, one after another in the kernel's addresses; where they are in RAM is logged."""
    others = [__get_free_page(GFP_KERNEL) for _ in range(FRAGMENTS)]
    for other in others[::2]:  # every second one: no two free pages are neighbours here
        free_pages(other, 0)
    address = vmalloc(size)
    for other in others[1::2]:
        free_pages(other, 0)
    if not address:
        printk(KERN_INFO + "vmalloc(%d): none\n", size)
        return
    frames = [page_to_pfn(vmalloc_to_page(address + at)) for at in range(0, size, PAGE_SIZE)]
    neighbours = sum(1 for i in range(1, len(frames)) if frames[i] == frames[i - 1] + 1)
    printk(
        KERN_INFO + "vmalloc(%d): %d pages, %d of them follow the one before in RAM\n", size, len(frames), neighbours
    )
    vfree(address)


def lesson_do(line: str) -> int:
    name, _, argument = line.strip().partition(" ")
    value = int(argument or "0", 0)
    if name == "kmalloc":
        lesson_kmalloc(value)
    elif name == "vmalloc":
        lesson_vmalloc(value)
    elif name in ("get_free_page", "__get_free_page", "__get_free_pages", "__get_dma_pages"):
        lesson_pages(name, value)
    else:
        return -EINVAL
    return 0


def lesson_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    count = min(count, PAGE_SIZE)
    data = bytearray(count)
    if copy_from_user(data, buf, count):
        return -EFAULT
    for line in data.decode(errors="replace").splitlines():
        if lesson_do(line):
            return -EINVAL
    return count


def lesson_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Up to a page; every check and copy is logged."""
    return lesson_copy(buf, min(count, PAGE_SIZE))


def lesson_ioctl(inode: inode, filp: file, cmd: int, arg: int) -> int:
    """The same with `cmd` bytes to any address: read(2) itself refuses those of the kernel."""
    return lesson_copy(arg, min(cmd, PAGE_SIZE))


def lesson_copy(buf: int, count: int) -> int:
    first = [0]
    printk(KERN_INFO + "access_ok: %d to read it, %d to write it; get_user: %d\n", access_ok(VERIFY_READ, buf, count),
           access_ok(VERIFY_WRITE, buf, count), get_user(first, buf))  # fmt: skip
    left = copy_to_user(buf, lesson_page, count)
    printk(KERN_INFO + "copy_to_user: %d of %d bytes were not copied\n", left, count)
    return -EFAULT if left else count


lesson_fops = file_operations(owner=THIS_MODULE, read=lesson_read, write=lesson_write, ioctl=lesson_ioctl)


def lesson_init() -> int:
    global lesson_major, lesson_page
    lesson_page = get_free_page(GFP_KERNEL)
    memset(lesson_page, ord("L"), PAGE_SIZE)
    lesson_major = register_chrdev(0, "lesson", lesson_fops)
    devfs_mk_cdev(MKDEV(lesson_major, 0), 0o666, "lesson")
    return 0


def lesson_cleanup() -> None:
    devfs_remove("lesson")
    unregister_chrdev(lesson_major, "lesson")
    free_pages(lesson_page, 0)


module_init(lesson_init)
module_exit(lesson_cleanup)
