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
