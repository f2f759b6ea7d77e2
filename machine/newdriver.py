"""``nopage new-driver``: the file that a new driver starts from, in the names of 2.6.10 or of today."""

from __future__ import annotations

import keyword
import os
import re
import shlex
from typing import Optional

from machine.errors import ConfigError

DIALECTS = {"2.6.10": (2, 6, 10), "6.1": (6, 1)}
"""What ``--kernel`` takes, and the KERNEL that it writes."""
NAME_MAX = 40
"""Longer names make lines that nobody wants to read."""

_TOP = '''\
"""@: pages of RAM behind /dev/@, to read, write and map.

A starting point that `nopage new-driver` wrote: it works, and everything in it is yours to change.
"""

from __future__ import annotations

from machine.kernel.linux import (  # isort: skip
%IMPORTS%
)  # fmt: skip

MODULE_LICENSE("GPL")
MODULE_DESCRIPTION("pages of RAM to read, write and map")
%KERNEL%
# Set when it is loaded: --device ./@.py,@_pages=8.  0o444: everybody may read it in /sys/module.
@_pages = 4
module_param("@_pages", int, 0o444)
MODULE_PARM_DESC("@_pages", "size of the device in pages")

@_IOCSIZE = _IOR("@0", 1, int)  # ioctl: store the size in bytes in an int of the caller's

pages: list[int] = []  # kernel address of each page; a driver's globals are its state on one machine
first = [0]  # device number: a one-element list where C has a pointer to an integer
@_cdev = cdev()
%CLASS%

def @_open(inode: inode, filp: file) -> int:
    return 0  # or a negative errno: -EBUSY, -EACCES


def @_read(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    """Bytes read, 0 at the end.  One page at most: the caller comes again for the rest."""
    number, offset = divmod(f_pos[0], PAGE_SIZE)
    if number >= len(pages):
        return 0
    count = min(count, PAGE_SIZE - offset)
    if copy_to_user(buf, pages[number] + offset, count):
        return -EFAULT  # `buf` is a user address: it may be wrong
    f_pos[0] += count
    return count


def @_write(filp: file, buf: int, count: int, f_pos: Ptr) -> int:
    number, offset = divmod(f_pos[0], PAGE_SIZE)
    if number >= len(pages):
        return -ENOSPC
    count = min(count, PAGE_SIZE - offset)
    if copy_from_user(pages[number] + offset, buf, count):
        return -EFAULT
    f_pos[0] += count
    return count


def @_ioctl(%IOCTL%) -> int:
    if cmd == @_IOCSIZE:
        return put_user(len(pages) * PAGE_SIZE, arg)
    return -ENOTTY  # what every driver says to a command that is not its own


'''

_NOPAGE = '''\
def @_vma_nopage(vma: vm_area_struct, address: int, type: Ptr | None) -> NopageResult:
    """A process touched a page of its mapping for the first time: which page is it?"""
    number = ((address - vma.vm_start) >> PAGE_SHIFT) + vma.vm_pgoff
    if number >= len(pages):
        return NOPAGE_SIGBUS  # mapped beyond the end of the device
    page = virt_to_page(pages[number])
    get_page(page)  # the mapping's own reference; unmap drops it
    if type:
        type[0] = VM_FAULT_MINOR
    return page


@_vm_ops = vm_operations_struct(nopage=@_vma_nopage)


def @_mmap(filp: file, vma: vm_area_struct) -> int:
    vma.vm_ops = @_vm_ops  # nothing is mapped yet: nopage is asked page by page
    vma.vm_flags |= VM_RESERVED
    return 0


'''

_FAULT = '''\
def @_vma_fault(vmf: vm_fault) -> int:
    """A process touched a page of its mapping for the first time: which page is it?"""
    if vmf.pgoff >= len(pages):
        return VM_FAULT_SIGBUS  # mapped beyond the end of the device
    page = virt_to_page(pages[vmf.pgoff])
    get_page(page)  # the mapping's own reference; unmap drops it
    vmf.page = page
    return 0


@_vm_ops = vm_operations_struct(fault=@_vma_fault)


def @_mmap(filp: file, vma: vm_area_struct) -> int:
    vma.vm_ops = @_vm_ops  # nothing is mapped yet: fault is asked page by page
    vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP)
    return 0


'''

_END = '''\
@_fops = file_operations(
    owner=THIS_MODULE,
    open=@_open,
    read=@_read,
    write=@_write,
    %IOCTL_METHODS%,
    mmap=@_mmap,
)


def @_init() -> int:
%GLOBAL%    if @_pages < 1:
        return -EINVAL
    result = alloc_chrdev_region(first, 0, 1, "@")
    if result < 0:
        return result
    for _ in range(@_pages):
        page = get_zeroed_page(GFP_KERNEL)
        if not page:
            @_release()
            return -ENOMEM
        pages.append(page)
%MAKE_CLASS%    cdev_init(@_cdev, @_fops)
    cdev_add(@_cdev, first[0], 1)
%MAKE_NODE%
    printk(KERN_INFO + "@: %d pages, major %d\\n", len(pages), MAJOR(first[0]))
    return 0


def @_release() -> None:
    while pages:
        free_page(pages.pop())
    unregister_chrdev_region(first[0], 1)


def @_exit() -> None:
    """Give back everything, in reverse: what is forgotten is listed at rmmod."""
%REMOVE_NODE%
    cdev_del(@_cdev)
    @_release()


module_init(@_init)
module_exit(@_exit)
'''

_COMMON = (
    "_IOR", "EFAULT", "EINVAL", "ENOMEM", "ENOSPC", "ENOTTY", "GFP_KERNEL", "KERN_INFO", "MAJOR", "MODULE_DESCRIPTION",
    "MODULE_LICENSE", "MODULE_PARM_DESC", "PAGE_SIZE", "THIS_MODULE", "Ptr", "alloc_chrdev_region", "cdev", "cdev_add",
    "cdev_del", "cdev_init", "copy_from_user", "copy_to_user", "file", "file_operations", "free_page", "get_page",
    "get_zeroed_page", "inode", "module_exit", "module_init", "module_param", "printk", "put_user",
    "unregister_chrdev_region", "virt_to_page", "vm_area_struct", "vm_operations_struct",
)  # fmt: skip
_OLD = ("NOPAGE_SIGBUS", "PAGE_SHIFT", "VM_FAULT_MINOR", "VM_RESERVED", "NopageResult", "devfs_mk_cdev", "devfs_remove")
_NEW = (
    "VM_DONTDUMP", "VM_DONTEXPAND", "VM_FAULT_SIGBUS", "class_create", "class_destroy", "device_class",
    "device_create", "device_destroy", "err_ptr", "vm_fault", "vm_flags_set",
)  # fmt: skip

_PIECES = {
    "2.6.10": {
        "KERNEL": "",
        "CLASS": "",
        "MAKE_CLASS": "",
        "GLOBAL": "",
        "IOCTL": "inode: inode, filp: file, cmd: int, arg: int",
        "IOCTL_METHODS": "ioctl=@_ioctl",
        "MAKE_NODE": '    devfs_mk_cdev(first[0], 0o666, "@")',
        "REMOVE_NODE": '    devfs_remove("@")',
    },
    "6.1": {
        "KERNEL": "\nKERNEL = (6, 1)  # the Linux whose names and rules this driver is written for\n",
        "IOCTL": "filp: file, cmd: int, arg: int",
        "IOCTL_METHODS": "unlocked_ioctl=@_ioctl,\n    compat_ioctl=@_ioctl",
        "CLASS": "@_class: device_class\n",
        "GLOBAL": "    global @_class\n",
        "MAKE_CLASS": '    made = class_create(THIS_MODULE, "@")\n'
        "    if isinstance(made, err_ptr):  # in C: if (IS_ERR(made)), and PTR_ERR(made) is returned\n"
        "        @_release()\n"
        "        return made.errno\n"
        "    @_class = made\n",
        "MAKE_NODE": '    device_create(@_class, None, first[0], None, "@")  # makes the node /dev/@',
        "REMOVE_NODE": "    device_destroy(@_class, first[0])\n    class_destroy(@_class)",
    },
}


def _kind(name: str) -> tuple[int, str]:
    """Constants, then types, then functions: the order that ruff's isort gives to names."""
    return (0 if name.isupper() else 1 if name.lstrip("_")[0].isupper() else 2), name


def _imports(names: tuple[str, ...]) -> str:
    lines, line = [], "   "
    for name in sorted(names, key=_kind):
        if len(line) + len(name) + 2 > 118:
            lines.append(line)
            line = "   "
        line += f" {name},"
    return "\n".join([*lines, line])


def source(name: str, kernel: str = "2.6.10") -> str:
    """The text of a driver called `name`, in the dialect `kernel`."""
    old = kernel == "2.6.10"
    text = _TOP + (_NOPAGE if old else _FAULT) + _END
    text = text.replace("%IMPORTS%", _imports(_COMMON + (_OLD if old else _NEW)))
    for piece, value in _PIECES[kernel].items():
        text = text.replace(f"%{piece}%", value)
    return text.replace("@0", name[0]).replace("@", name)


def write(name: str, kernel: str, output: Optional[str]) -> str:
    """Write the driver to `output` (default: NAME.py here) and return what to type next, two lines.

    ConfigError: a name that is no identifier, or a file that is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name) or len(name) > NAME_MAX:
        raise ConfigError(f"'{name}' is no name for a driver: lower-case letters, digits and _, like my_driver")
    defined = {f"{name}_{each}" for each in re.findall(r"@_(\w+)", _TOP + _NOPAGE + _FAULT + _END)}
    taken = defined & {*_COMMON, *_OLD, *_NEW}
    if taken:
        raise ConfigError(f"a driver called '{name}' would define {min(taken)}, which is the kernel's; another name")
    path = output or f"{name}.py"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(source(name, kernel))
    except FileExistsError:
        raise ConfigError(f"{path} is there already; it stays as it is (another file: -o FILE)") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    shown = shlex.quote(path if os.path.dirname(path) else f"./{path}")
    return (
        f"nopage run --device {shown} --exec 'sh -c \"echo hello > /dev/{name}\"' mapper /dev/{name} 0 6\n"
        f"nopage run --device {shown},{name}_pages=8 --strace --faults mapper /dev/{name} 0x7000 16"
    )
