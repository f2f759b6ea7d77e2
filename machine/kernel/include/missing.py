"""What to say of a kernel name that `machine.kernel.linux` does not have: what Python has instead, or a near match."""

from __future__ import annotations

import ast
import difflib
import re
from pathlib import Path
from typing import Optional

LIST = "docs/driver-interface.md lists what there is"

_INSTEAD = {
    "container_of": "keep a reference to the object itself, for instance in filp.private_data",
    "EXPORT_SYMBOL": "a driver here can't use another's functions: leave it out",
    "EXPORT_SYMBOL_GPL": "a driver here can't use another's functions: leave it out",
    "MODULE_VERSION": "leave it out", "MODULE_ALIAS": "leave it out", "MODULE_DEVICE_TABLE": "leave it out",
    "__init": "leave it out", "__exit": "leave it out", "__user": "leave it out: user addresses are integers",
    "__iomem": "leave it out", "likely": "leave it out", "unlikely": "leave it out", "asmlinkage": "leave it out",
    "try_module_get": "the kernel counts open files; an object in use keeps its driver",
    "module_put": "the kernel counts open files; an object in use keeps its driver",
    "MOD_INC_USE_COUNT": "the kernel counts open files and mappings by itself",
    "MOD_DEC_USE_COUNT": "the kernel counts open files and mappings by itself",
    "size_t": "an int", "ssize_t": "an int", "loff_t": "an int", "dev_t": "an int", "gfp_t": "an int",
    "ktime_t": "an int of nanoseconds", "irqreturn_t": "an int", "vm_fault_t": "an int", "__u32": "u32", "__u64": "u64",
    "__u16": "u16", "__u8": "u8", "uint32_t": "u32", "uint64_t": "u64", "uint16_t": "u16", "uint8_t": "u8",
    "bool": "Python's bool", "true": "True", "false": "False",
    "ARRAY_SIZE": "len()", "min_t": "min()", "max_t": "max()", "min": "Python's min()", "max": "Python's max()",
    "swap": "a, b = b, a", "kstrdup": "a Python str", "BIT": "1 << n", "DIV_ROUND_UP": "-(-n // d)",
    "roundup": "-(-n // d) * d",
    "sprintf": 'Python\'s "%d" % n', "snprintf": 'Python\'s "%d" % n', "sscanf": "int(text) and str.split",
    "simple_strtoul": "int(text, 0)", "simple_strtol": "int(text, 0)", "kstrtoint": "int(text, 0)",
    "kstrtoul": "int(text, 0)", "current_kernel_time": "ktime_get_real_ns", "do_gettimeofday64": "ktime_get_real_ts64",
    "memdup_user": "data = bytearray(n), then copy_from_user(data, from, n)",
    "simple_read_from_buffer": "copy_to_user(buf, data[f_pos[0] : f_pos[0] + count], n), then f_pos[0] += n",
    "proc_create": "proc_create_single(name, mode, parent, show)", "proc_create_data": "proc_create_single_data",
    "single_open": "proc_create_single", "seq_open": "proc_create_single", "dev_info": "pr_info", "dev_err": "pr_err",
    "dev_warn": "pr_warn", "dev_dbg": "pr_debug",
    "devm_kzalloc": "kzalloc and kfree", "platform_driver_register": "request_irq and ioremap with the addresses",
    "jiffies_64": "jiffies", "get_jiffies_64": "int(jiffies)",
    "create_proc_entry": "create_proc_read_entry, or proc_create_single for a text of any length",
    "create_proc_info_entry": "create_proc_read_entry",
    "seq_operations": "proc_create_single(name, mode, parent, show)",
    "seq_read": "proc_create_single", "proc_mkdir": "the directory's name as base of the entry",
    "MODULE_PARM": "module_param", "INIT_COMPLETION": "init_completion", "rwsem": "rw_semaphore and init_rwsem",
    "wake_up_interruptible_sync": "wake_up_interruptible", "alloc_pages_node": "alloc_pages: there is one node",
    "get_cycles": "ktime_get()", "jiffies_to_timespec": "divmod(n, HZ)", "timespec_to_jiffies": "seconds * HZ",
    "can_request_irq": "request_irq, which answers -EBUSY", "ioport_map": "inb and outb of the port",
    "probe_irq_on": "a module_param for the line: there is no probing", "SetPageDirty": "set_page_dirty",
    "probe_irq_off": "a module_param for the line: there is no probing", "decl_subsys": "class_create",
    "subsystem_init": "class_create", "bus_register": "class_create", "class_simple_create": "class_create",
    "class_simple_device_add": "device_create", "class_device_create": "device_create",
    "find_vma": "the area that mmap, open and nopage are called with", "dump_stack": "traceback.print_stack()",
    "follow_page": "get_user_pages", "kiobuf": "get_user_pages", "map_user_kiobuf": "get_user_pages",
    "alloc_kiovec": "get_user_pages", "kiocb": "read and write", "aio_complete": "read and write",
    "is_sync_kiocb": "read and write", "task_struct": "current", "panic": "BUG()", "daemonize": "kthread_run",
    "reparent_to_init": "kthread_run", "num_online_cpus": "1", "smp_processor_id": "0: there is one processor",
    "preempt_disable": "leave it out: the kernel is not preempted", "loops_per_jiffy": "udelay",
    "preempt_enable": "leave it out: the kernel is not preempted", "send_sig": "kill_fasync",
    "kill_proc": "kill_fasync", "unlocked_ioctl": "file_operations(unlocked_ioctl=function)",
    "framebuffer_alloc": "fb_info()", "alloc_bootmem": "__get_free_pages",
    "request_module": "insmod both", "inter_module_get": "a driver here can't use another's functions",
    "virt_to_pfn": "virt_to_phys(a) >> PAGE_SHIFT", "mmap_sem": "the kernel takes it",
}  # fmt: skip
"""Name -> what a driver writes in its place."""

_FAMILIES = (
    (r"(list|hlist)_\w+|LIST_HEAD|INIT_LIST_HEAD", "a Python list"),
    (r"(kfifo|KFIFO)\w*|DECLARE_KFIFO|circ_buf|CIRC_\w+", "a collections.deque or a bytearray"),
    (r"(idr|ida|xa|xarray|radix_tree|rb)_\w+", "a Python dict"),
    (r"atomic(64|_long)?_\w+|ATOMIC_INIT|refcount_\w+|kref_\w+",
     "an int: with one processor, and a kernel that is not preempted, n += 1 is atomic"),
    (r"(test_and_)?(set|clear|change|test)_bit", "an int and the operators | & ~, which are atomic here"),
    (r"(rcu|srcu|seqlock|seqcount)_\w+|read_seq\w+|write_seq\w+|synchronize_rcu|call_rcu",
     "a spinlock, or nothing: there is one processor, and the kernel is not preempted"),
    (r"s?mp?_[rw]?mb|barrier|[rw]?mb|READ_ONCE|WRITE_ONCE|ACCESS_ONCE", "leave it out: there is one processor"),
    (r"hrtimer_\w+|hrtimer", "a timer_list, whose ticks have a millisecond: timer_setup, mod_timer"),
    (r"kthread_(create|bind|park|unpark)\w*|wake_up_process|kernel_thread", "kthread_run"),
    (r"str(n|l|s)?(len|cpy|cat|cmp|chr|str|casecmp|sep|pbrk)|kasprintf|strscpy", "a Python str or bytes"),
    (r"(in|out)[bwl]_p|(in|out)s[bwl]", "inb, inw, inl, outb, outw, outl, one access each"),
    (r"(create|create_singlethread|alloc|flush|destroy)_workqueue|queue_(delayed_)?work",
     "the kernel's own queue: INIT_WORK, schedule_work, flush_scheduled_work"),
    (r"mempool_\w+", "kmalloc, or kmem_cache_create"),
    (r"(DEFINE|DECLARE)_PER_CPU|(get|put)_cpu_var|per_cpu(_ptr)?|(alloc|free)_percpu", "a variable: one processor"),
    (r"cpu_to_[bl]e\d\d|[bl]e\d\d_to_cpu|[hn]to[hn][sl]|(get|put)_unaligned", "int.from_bytes and to_bytes, or struct"),
    (r"rdtscl?l?", "ktime_get()"),
    (r"io(read|write)(8|16|32)_rep|isa_\w+", "ioremap, then ioread8 and the like, one access each"),
    (r"p[gmu]d_\w+|pte_\w+", "virt_to_page, vmalloc_to_page, get_user_pages: the tables are the kernel's"),
    (r"dma_pool_\w+", "dma_alloc_coherent"),
    (r"(request|free|claim|release|enable|disable)_dma(_lock)?|set_dma_\w+", "there is no ISA DMA here: a PCI card's"),
    (r"filp_(open|close)|[gs]et_fs|KERNEL_DS|USER_DS|sys_(open|read|write|close)|call_usermodehelper",
     "the program does that, and gives the driver the result"),
    (r"(register|unregister)_(sysctl_table|reboot_notifier)|notifier_block|ctl_table", "module_param for a setting"),
    (r"(register|unregister)_(blkdev|netdev)|alloc_(disk|netdev|etherdev|tty_driver)|(add|del)_(disk|gendisk)",
     "there are character devices here: register_chrdev or cdev_add"),
    (r"dev_alloc_skb|netif_\w+|tty_(un)?register_\w+", "there are character devices here: register_chrdev or cdev_add"),
    (r"uio_\w+|(__)?uio_register_device", "nopage run --attach /dev/uio0=FILE.py:CLASS has the whole device"),
    (r"(platform|usb|i2c|spi|of|acpi|clk|regulator|gpio|net|blk|input)_\w+",
     "there is no such bus here: pci_register_driver, or ioremap and request_irq with the device's address and line"),
    (r"(DEVICE|CLASS|BUS|DRIVER)_ATTR_\w+|__ATTR_\w+|(sysfs|device)_(create|remove|update)_(bin_file|groups?)",
     "DEVICE_ATTR(name, mode, show, store) and device_create_file, one a file"),
    (r"kobject_(init|add|del|get|uevent|set_name|rename)\w*|kset_\w+", "kobject_create_and_add and kobject_put"),
    (r"debugfs_\w+", "proc_create_single or create_proc_read_entry for a text, module_param for a setting"),
    (r"cond_resched\w*|yield_", "schedule()"),
    (r"wait_event_killable|wait_event_interruptible_(?!timeout)\w+", "wait_event_interruptible"),
    (r"devm_\w+", "the function without devm_, and its undoing in the exit function"),
)  # fmt: skip
"""Pattern of whole names -> the same."""


def instead_of(name: str) -> str:
    """What a driver writes in place of a name of C's; "" where nothing is known."""
    if name in _INSTEAD:
        return _INSTEAD[name]
    return next((text for pattern, text in _FAMILIES if re.fullmatch(pattern, name)), "")


def explain(name: str) -> str:
    """``<linux/...> has no 'kzaloc': kzalloc?``, with where the list is."""
    from machine.kernel import linux

    text = instead_of(name)
    if text:
        text = f"in its place: {text}"
    else:
        near = difflib.get_close_matches(name, linux.__all__, 3, 0.75)
        text = "is it " + " or ".join(near) + "?" if near else ""
    return f"<linux/...> has no '{name}'" + (f"; {text}" if text else "") + f" ({LIST})"


def missing_imports(path: Path, source: str) -> list[str]:
    """A line for each name that a driver imports from `machine.kernel.linux` and that is not there: where, and what
    instead."""
    from machine.kernel import linux

    there, lines = set(linux.__all__), []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == linux.__name__:
            lines += [
                f"{path}:{alias.lineno}: {explain(alias.name)}"
                for alias in node.names
                if alias.name != "*" and alias.name not in there and not hasattr(linux, alias.name)
            ]
    return lines


def hint_for(failure: BaseException) -> Optional[str]:
    """For a NameError in a driver whose name sounds like the kernel's."""
    name = getattr(failure, "name", None) if isinstance(failure, NameError) else None
    if not name:
        return None
    from machine.kernel import linux

    if name in linux.__all__:
        return f"it is there: from machine.kernel.linux import {name}"
    return explain(name) if instead_of(name) or difflib.get_close_matches(name, linux.__all__, 1, 0.75) else None
