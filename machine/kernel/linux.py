"""``#include <linux/...>`` for drivers: every name that a driver may use, under the kernel's own name.

    from machine.kernel.linux import *          # or the names that are needed, one by one

What reads differently from C, because it is Python:

* A pointer to one integer is a list of one element: ``f_pos[0] += n``; ``if type: type[0] = VM_FAULT_MINOR``.
* Addresses are integers.  `kernel_memory(address, length)` gives the bytes behind a kernel address; user memory is
  reached with `copy_to_user` and its relatives only.
* `wait_event` and its relatives take their condition as a function: ``wait_event(queue, lambda: dev.ready)``.
* Methods return 0, a count, or a negative errno as in C.  A driver does not raise; what it raises is an oops.
* `module_param("scullp_qset", int, 0)` names its variable as a string.

Behaviour is that of Linux 2.6.10; names of 2.2 and 2.4 (`remap_page_range`, `MAP_NR`) do what they did.  A driver that
says ``KERNEL = (6, 1)``, above or below its imports, is one of today: `fault` instead of `nopage`, and today's
VM_FAULT_ numbers (docs/two-dialects.md).
docs/driver-interface.md lists the names; one that is not there gives an error that says what to write in its place.
A driver's file is executed once for each machine that loads it, so its globals are the state of that machine.
"""

# ruff: noqa: I001  (the names are listed by header, several a line)

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi import errno as _errno
from machine.kernel.abi.errno import *  # noqa: F403  (every E... of <asm/errno.h>)
from machine.kernel.fs.chrdev import cdev
from machine.kernel.fs.file import (
    FMODE_READ, FMODE_UNSIGNED_OFFSET, FMODE_WRITE, MAJOR, MINOR, MKDEV, O_ACCMODE, O_APPEND, O_NONBLOCK, O_RDONLY,
    O_RDWR, O_SYNC, O_TRUNC, O_WRONLY, S_IFCHR, S_IFMT, S_IFREG, Ptr, dentry, file, file_operations, file_inode,
    imajor, iminor, inode, vm_operations_struct,
)  # fmt: skip
from machine.kernel.fs.poll import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM
from machine.kernel.include.device import (
    MODULE_AUTHOR, MODULE_DESCRIPTION, MODULE_LICENSE, MODULE_PARM_DESC, alloc_chrdev_region, cdev_add, cdev_alloc,
    cdev_del, cdev_init, create_proc_read_entry, devfs_mk_cdev, devfs_mk_symlink, devfs_remove, module_exit,
    module_init, module_param, module_param_array, printk, printk_ratelimit, register_chrdev, register_chrdev_region,
    remove_proc_entry, unregister_chrdev, unregister_chrdev_region,
)  # fmt: skip
from machine.kernel.include.mman import (
    CAP_SYS_ADMIN, CAP_SYS_RAWIO, capable, cpu_has_mtrr, current, get_random_bytes, pgprot_noncached, remap_page_range,
    shmem_zero_setup,
)  # fmt: skip
from machine.kernel.include.pages import (
    KMALLOC_MAX_SIZE, MAP_NR, NULL, PAGE_ALIGN, PAGE_MASK, ClearPageReserved, PageReserved,
    SetPageReserved, __get_dma_pages, __get_free_page, __get_free_pages, __pa, __va, free_page, free_pages,
    get_free_page, get_free_pages, get_page, get_zeroed_page, kfree, kmalloc, kzalloc, mem_map,
    mem_map_reserve, mem_map_unreserve, page_address, page_count, page_to_pfn, pfn_to_page, pfn_valid,
    phys_to_virt, put_page, virt_addr_valid, virt_to_page, virt_to_phys,
)  # fmt: skip
from machine.kernel.include.string import KernelMemory, kernel_memory, memcmp, memcpy, memset
from machine.kernel.include.uaccess import (
    VERIFY_READ, VERIFY_WRITE, __clear_user, __copy_from_user, __copy_to_user, __get_user, __put_user, access_ok,
    clear_user, copy_from_user, copy_to_user, get_user, in_compat_syscall, put_user, strncpy_from_user,
    strnlen_user, verify_area,
)  # fmt: skip
from machine.kernel.include.vread import vread, vwrite
from machine.kernel.mm.do_fault import (
    FAULT_FLAG_INSTRUCTION, FAULT_FLAG_MKWRITE, FAULT_FLAG_USER, FAULT_FLAG_WRITE, VM_FAULT_LOCKED, VM_FAULT_NOPAGE,
    VM_FAULT_SIGSEGV, vm_fault,
)  # fmt: skip
from machine.kernel.mm.page import (
    GFP_ATOMIC, GFP_DMA, GFP_HIGHUSER, GFP_KERNEL, GFP_USER, NOPAGE_OOM, NOPAGE_SIGBUS, NopageResult, Page,
)  # fmt: skip
from machine.kernel.mm.remap import io_remap_page_range, io_remap_pfn_range, remap_pfn_range
from machine.kernel.mm.vmalloc import PAGE_OFFSET, VMALLOC_END, VMALLOC_START
from machine.kernel.mm.vma import (
    VM_DONTCOPY, VM_DONTDUMP, VM_DONTEXPAND, VM_EXEC, VM_IO, VM_LOCKED, VM_MAYEXEC, VM_MAYREAD, VM_MAYSHARE,
    VM_MAYWRITE, VM_MIXEDMAP, VM_PFNMAP, VM_READ, VM_RESERVED, VM_SHARED, VM_WRITE, vm_area_struct,
)  # fmt: skip
from machine.kernel.modparam import byte, charp, invbool, long, short, uint, ushort
from machine.kernel.module import calling_module, module
from machine.kernel.printk import (
    KERN_ALERT, KERN_CRIT, KERN_DEBUG, KERN_EMERG, KERN_ERR, KERN_INFO, KERN_NOTICE, KERN_WARNING, kmsg_fops,
)  # fmt: skip

SEEK_SET, SEEK_CUR, SEEK_END = 0, 1, 2

if TYPE_CHECKING:
    from machine.kernel.include import (
        completion as _completion, dma as _dma, fasync as _fasync, fb as _fb, interrupt, kthread as _kthread,
        gfp as _gfp, gup as _gup, miscdevice as _misc, pci as _pci, pio as _pio, printk as _printk, rwsem as _rwsem,
        scatterlist as _sg, seek as _seek, slab as _slab, spinlock, sysfs as _sysfs, timekeeping as _time, timer, wait,
    )  # fmt: skip
    from machine.kernel.include.class_device import (
        ERR_PTR, IS_ERR, PTR_ERR, class_create, class_destroy, dev_get_drvdata, device, device_class, device_create,
        device_destroy, err_ptr, proc_create_single, proc_create_single_data, seq_file, seq_printf, seq_putc, seq_puts,
    )  # fmt: skip
    from machine.kernel.include.ioctl import (
        _IO, _IOC, _IOC_DIR, _IOC_NONE, _IOC_NR, _IOC_READ, _IOC_SIZE, _IOC_TYPE, _IOC_WRITE, _IOR, _IOW, _IOWR,
    )  # fmt: skip
    from machine.kernel.include.fault import (
        PageDirty, PageLocked, compat_ptr_ioctl, get_page_unless_zero, lock_page,
        pgprot_writecombine, set_page_dirty, trylock_page, unlock_page,
    )  # fmt: skip
    from machine.kernel.include.insert import (
        remap_vmalloc_range, unmap_mapping_range, vm_flags_clear, vm_flags_mod, vm_flags_set, vm_insert_page,
        vm_insert_pages, vm_iomap_memory, vm_map_pages, vm_map_pages_zero, vma_pages, vmf_insert_pfn,
        vmf_insert_pfn_prot, zap_vma_ptes,
    )  # fmt: skip
    from machine.kernel.include.io import (
        bus_to_virt, check_mem_region, ioread8, ioread16, ioread32, ioremap, ioremap_cache, ioremap_nocache, ioremap_wc,
        iounmap, iowrite8, iowrite16, iowrite32, memcpy_fromio, memcpy_toio, memset_io, readb,
        readl, readq, readw, release_mem_region, request_mem_region, virt_to_bus, writeb, writel, writeq, writew,
    )  # fmt: skip
    from machine.kernel.include.structs import (
        char, elements, member, offsetof, s8, s16, s32, s64, sizeof, struct, u8, u16, u32, u64, ulong,
    )  # fmt: skip
    from machine.kernel.include.uaccess_ret import copy_from_user_ret, copy_to_user_ret, get_user_ret, put_user_ret
    from machine.kernel.include.vmalloc import (
        vfree, vmalloc, vmalloc_32, vmalloc_to_page, vmalloc_to_pfn, vmalloc_user, vzalloc,
    )  # fmt: skip
    from machine.kernel.include.completion import *  # noqa: F403
    from machine.kernel.include.dma import *  # noqa: F403
    from machine.kernel.include.fasync import *  # noqa: F403
    from machine.kernel.include.fb import *  # noqa: F403
    from machine.kernel.include.gfp import *  # noqa: F403
    from machine.kernel.include.gup import *  # noqa: F403
    from machine.kernel.include.interrupt import *  # noqa: F403
    from machine.kernel.include.kthread import *  # noqa: F403
    from machine.kernel.include.miscdevice import *  # noqa: F403
    from machine.kernel.include.pci import *  # noqa: F403
    from machine.kernel.include.pio import *  # noqa: F403
    from machine.kernel.include.printk import *  # noqa: F403
    from machine.kernel.include.rwsem import *  # noqa: F403
    from machine.kernel.include.scatterlist import *  # noqa: F403
    from machine.kernel.include.seek import *  # noqa: F403
    from machine.kernel.include.slab import *  # noqa: F403
    from machine.kernel.include.spinlock import *  # noqa: F403
    from machine.kernel.include.timekeeping import *  # noqa: F403
    from machine.kernel.include.sysfs import *  # noqa: F403
    from machine.kernel.include.timer import *  # noqa: F403
    from machine.kernel.include.wait import *  # noqa: F403

    THIS_MODULE: Optional[module]
    """The `module` of the driver that imports it."""
    VM_FAULT_OOM: int
    VM_FAULT_SIGBUS: int
    VM_FAULT_MAJOR: int
    VM_FAULT_MINOR: int
    """Outcomes of a fault; their values are those of the Linux that the driver is written for (KERNEL)."""
    high_memory: int
    """Kernel address one past the last byte of RAM; `__pa(high_memory)` is where RAM ends."""
else:
    _HEADERS = (
        "printk", "vmalloc", "io", "structs", "wait", "spinlock", "interrupt", "timer", "ioctl", "uaccess_ret", "fault",
        "insert", "class_device", "completion", "fasync", "pio", "pci", "dma", "seek", "miscdevice", "timekeeping",
        "kthread", "sysfs", "fb", "gfp", "slab", "gup", "rwsem", "scatterlist",
    )  # fmt: skip
    """What most drivers do without: a module of `machine.kernel.include` each, imported when a name is looked for."""

    def __getattr__(name: str) -> Any:
        """The names whose value depends on the machine and the driver that import them, and those of `_HEADERS`."""
        if name == "THIS_MODULE":
            return calling_module(2)
        if name == "high_memory":
            from machine.kernel.include.pages import high_memory_of_machine

            return high_memory_of_machine()
        if name == "__all__":
            return _everything()
        if name.startswith("VM_FAULT_"):
            from machine.kernel.include.fault import BY_DIALECT, by_dialect

            if name in BY_DIALECT:
                return by_dialect(name, calling_module(2))
        if not name.endswith("__"):
            for header in _HEADERS:
                found = _include(header)
                if name in found.__all__:
                    globals()[name] = value = getattr(found, name)
                    return value
        if name.startswith("__"):  # what Python itself asks for
            raise AttributeError(name)
        from machine.kernel.include.missing import explain

        raise AttributeError(explain(name))

    def _include(header: str) -> Any:
        return import_module(f"machine.kernel.include.{header}")

    def _everything() -> list[str]:
        """For ``import *``."""
        return list(dict.fromkeys(_names + [name for header in _HEADERS for name in _include(header).__all__]))


__all__ = [
    # linux/fs.h, linux/cdev.h, linux/devfs_fs_kernel.h
    "FMODE_READ", "FMODE_UNSIGNED_OFFSET", "FMODE_WRITE", "MAJOR", "MINOR", "MKDEV", "O_ACCMODE", "O_APPEND",
    "O_NONBLOCK", "O_RDONLY", "O_RDWR", "O_SYNC", "O_TRUNC", "O_WRONLY", "SEEK_CUR", "SEEK_END", "SEEK_SET", "S_IFCHR",
    "S_IFMT", "S_IFREG", "Ptr", "alloc_chrdev_region", "cdev", "cdev_add", "cdev_alloc", "cdev_del", "cdev_init",
    "dentry", "devfs_mk_cdev", "devfs_mk_symlink", "devfs_remove", "file", "file_operations", "imajor", "iminor",
    "inode", "register_chrdev", "register_chrdev_region", "unregister_chrdev", "unregister_chrdev_region",
    # linux/mm.h, asm/page.h, asm/pgtable.h
    "MAP_NR", "NOPAGE_OOM", "NOPAGE_SIGBUS", "NopageResult", "PAGE_ALIGN", "PAGE_MASK", "PAGE_OFFSET", "PAGE_SHIFT",
    "PAGE_SIZE", "ClearPageReserved", "Page", "PageReserved", "SetPageReserved", "VM_DONTCOPY", "VM_DONTEXPAND",
    "VM_EXEC", "VM_FAULT_MAJOR", "VM_FAULT_MINOR", "VM_FAULT_OOM", "VM_FAULT_SIGBUS", "VM_IO", "VM_LOCKED",
    "VM_MAYEXEC", "VM_MAYREAD", "VM_MAYSHARE", "VM_MAYWRITE", "VM_READ", "VM_RESERVED", "VM_SHARED", "VM_WRITE",
    "__pa", "__va", "get_page", "high_memory", "io_remap_page_range", "kernel_memory", "mem_map", "mem_map_reserve",
    "mem_map_unreserve", "page_address", "page_count", "page_to_pfn", "pfn_to_page", "pfn_valid", "pgprot_noncached",
    "phys_to_virt", "put_page", "remap_page_range", "remap_pfn_range", "shmem_zero_setup", "virt_addr_valid",
    "virt_to_page", "virt_to_phys", "vm_area_struct", "vm_operations_struct",
    # linux/mm.h, linux/pagemap.h of today
    "FAULT_FLAG_INSTRUCTION", "FAULT_FLAG_MKWRITE", "FAULT_FLAG_USER", "FAULT_FLAG_WRITE", "PageDirty", "PageLocked",
    "VM_DONTDUMP", "VM_FAULT_LOCKED", "VM_FAULT_NOPAGE", "VM_FAULT_SIGSEGV", "VM_MIXEDMAP", "VM_PFNMAP",
    "get_page_unless_zero", "io_remap_pfn_range", "lock_page", "pgprot_writecombine", "remap_vmalloc_range",
    "set_page_dirty", "trylock_page",
    "unlock_page", "unmap_mapping_range", "vm_fault", "vm_flags_clear", "vm_flags_mod", "vm_flags_set",
    "vm_insert_page", "vm_insert_pages", "vm_iomap_memory", "vm_map_pages", "vm_map_pages_zero", "vma_pages",
    "vmf_insert_pfn", "vmf_insert_pfn_prot", "zap_vma_ptes",
    # linux/device.h, linux/err.h, linux/seq_file.h, linux/compat.h
    "ERR_PTR", "IS_ERR", "PTR_ERR", "class_create", "class_destroy", "compat_ptr_ioctl", "dev_get_drvdata", "device",
    "device_class", "device_create", "device_destroy", "err_ptr", "file_inode", "proc_create_single",
    "proc_create_single_data", "seq_file", "seq_printf", "seq_putc", "seq_puts",
    # linux/gfp.h, linux/slab.h
    "GFP_ATOMIC", "GFP_DMA", "GFP_HIGHUSER", "GFP_KERNEL", "GFP_USER", "KMALLOC_MAX_SIZE", "NULL", "__get_dma_pages",
    "__get_free_page", "__get_free_pages", "free_page", "free_pages", "get_free_page", "get_free_pages",
    "get_zeroed_page", "kfree", "kmalloc", "kzalloc",
    # linux/vmalloc.h
    "VMALLOC_END", "VMALLOC_START", "vread", "vwrite",
    "vfree", "vmalloc", "vmalloc_32", "vmalloc_to_page", "vmalloc_to_pfn", "vmalloc_user", "vzalloc",
    # asm/io.h, linux/ioport.h
    "bus_to_virt", "check_mem_region", "ioread16", "ioread32", "ioread8", "ioremap", "ioremap_cache", "ioremap_nocache",
    "ioremap_wc", "iounmap", "iowrite16", "iowrite32", "iowrite8", "memcpy_fromio", "memcpy_toio",
    "memset_io", "readb", "readl", "readq", "readw", "release_mem_region", "request_mem_region", "virt_to_bus",
    "writeb", "writel", "writeq", "writew",
    # linux/string.h
    "KernelMemory", "memcmp", "memcpy", "memset",
    # linux/types.h, linux/stddef.h
    "char", "elements", "member", "offsetof", "s16", "s32", "s64", "s8", "sizeof", "struct", "u16", "u32", "u64", "u8",
    # asm/uaccess.h
    "VERIFY_READ", "VERIFY_WRITE", "__clear_user", "__copy_from_user", "__copy_to_user", "__get_user", "__put_user",
    "access_ok", "clear_user", "copy_from_user", "copy_from_user_ret", "copy_to_user", "copy_to_user_ret", "get_user",
    "get_user_ret", "in_compat_syscall", "put_user", "put_user_ret",
    "strncpy_from_user", "strnlen_user", "verify_area",
    # linux/module.h, linux/kernel.h, linux/proc_fs.h, linux/sched.h, linux/random.h
    "CAP_SYS_ADMIN", "CAP_SYS_RAWIO", "KERN_ALERT", "KERN_CRIT", "KERN_DEBUG", "KERN_EMERG", "KERN_ERR", "KERN_INFO",
    "KERN_NOTICE", "KERN_WARNING", "MODULE_AUTHOR", "MODULE_DESCRIPTION", "MODULE_LICENSE", "MODULE_PARM_DESC",
    "THIS_MODULE", "byte", "capable", "charp", "cpu_has_mtrr", "create_proc_read_entry", "current",
    "get_random_bytes", "invbool", "kmsg_fops", "long", "module", "module_exit", "module_init", "module_param",
    "module_param_array", "printk", "printk_ratelimit", "remove_proc_entry", "short", "uint", "ulong", "ushort",
    # linux/poll.h, asm/ioctl.h
    "POLLERR", "POLLHUP", "POLLIN", "POLLOUT", "POLLPRI", "POLLRDNORM", "POLLWRNORM", "_IO", "_IOC", "_IOC_DIR",
    "_IOC_NONE", "_IOC_NR", "_IOC_READ", "_IOC_SIZE", "_IOC_TYPE", "_IOC_WRITE", "_IOR", "_IOW", "_IOWR",
]  # fmt: skip
if TYPE_CHECKING:
    for _header in (
        _completion, _dma, _fasync, _fb, _gfp, _gup, interrupt, _kthread, _misc, _pci, _pio, _printk, _rwsem, _seek,
        _sg, _slab, spinlock, _sysfs, _time, timer, wait,
    ):  # fmt: skip
        __all__ += _header.__all__
__all__ += list(_errno.NAMES.values())
if not TYPE_CHECKING:
    _names = __all__
    del __all__  # `__getattr__` gives the whole of it
