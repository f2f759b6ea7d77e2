"""pr_info and its relatives (linux/printk.h), and the kernel's assertions (asm/bug.h)."""

from __future__ import annotations

from typing import Any, NoReturn

from machine.kernel.current import current_kernel
from machine.kernel.include.device import format_c
from machine.kernel.module import calling_line, calling_module

# -- assertions -------------------------------------------------------------------------------------------------


class KernelBUG(Exception):
    """What `BUG` raises: an oops in the driver's method, which ends there."""


def BUG() -> NoReturn:
    """This must not be reached: an oops with the driver's line.  The method ends; its process gets SIGBUS or EIO."""
    raise KernelBUG("kernel BUG")


def BUG_ON(condition: Any) -> None:
    """`BUG()` when `condition` is true."""
    if condition:
        raise KernelBUG("kernel BUG: the condition of BUG_ON is true")


def _warn(text: str = "") -> None:
    owner, line = calling_module(3), calling_line(3)
    kernel = current_kernel()
    kernel.report(f"WARNING: {getattr(owner, 'name', '?')}: at {line}" + (f": {text}" if text else ""))


def WARN_ON(condition: Any) -> bool:
    """Report the driver's line when `condition` is true, and go on.  Returns whether it was."""
    if condition:
        _warn()
    return bool(condition)


def WARN(condition: Any, fmt: str, *args: Any) -> bool:
    """`WARN_ON` with a text, as printf has it."""
    if condition:
        _warn(format_c(fmt, args).rstrip("\n"))
    return bool(condition)


def WARN_ON_ONCE(condition: Any) -> bool:
    """`WARN_ON` that reports each line once a load of the driver."""
    owner = calling_module(2)
    key = (calling_line(2), -1)
    if condition and (owner is None or key not in owner.oopsed):
        if owner is not None:
            owner.oopsed.add(key)
        _warn()
    return bool(condition)


# -- messages ---------------------------------------------------------------------------------------------------


def _pr(level: str, fmt: str, args: tuple[Any, ...]) -> int:
    owner = calling_module(3)
    prefix = None if owner is None else owner.namespace.get("pr_fmt")
    return current_kernel().log.printk(level + format_c(fmt if prefix is None else prefix(fmt), args))


def pr_emerg(fmt: str, *args: Any) -> int:
    """`printk` at KERN_EMERG.  A function `pr_fmt(fmt)` of the driver's changes the text of all of these first."""
    return _pr("<0>", fmt, args)


def pr_alert(fmt: str, *args: Any) -> int:
    """`printk` at KERN_ALERT."""
    return _pr("<1>", fmt, args)


def pr_crit(fmt: str, *args: Any) -> int:
    """`printk` at KERN_CRIT."""
    return _pr("<2>", fmt, args)


def pr_err(fmt: str, *args: Any) -> int:
    """`printk` at KERN_ERR."""
    return _pr("<3>", fmt, args)


def pr_warn(fmt: str, *args: Any) -> int:
    """`printk` at KERN_WARNING."""
    return _pr("<4>", fmt, args)


def pr_notice(fmt: str, *args: Any) -> int:
    """`printk` at KERN_NOTICE."""
    return _pr("<5>", fmt, args)


def pr_info(fmt: str, *args: Any) -> int:
    """`printk` at KERN_INFO: ``pr_info("ring: %d pages\\n", n)``."""
    return _pr("<6>", fmt, args)


def pr_debug(fmt: str, *args: Any) -> int:
    """`printk` at KERN_DEBUG in a driver that has a true global DEBUG (C: ``#define DEBUG``); else nothing, and 0."""
    owner = calling_module(2)
    return _pr("<7>", fmt, args) if owner is not None and owner.namespace.get("DEBUG") else 0


def pr_cont(fmt: str, *args: Any) -> int:
    """Go on with the line that the last printk did not end."""
    return current_kernel().log.printk(format_c(fmt, args))


pr_warning = pr_warn


__all__ = [
    "BUG", "BUG_ON", "WARN", "WARN_ON", "WARN_ON_ONCE", "pr_alert", "pr_cont", "pr_crit", "pr_debug", "pr_emerg",
    "pr_err", "pr_info", "pr_notice", "pr_warn", "pr_warning",
]  # fmt: skip
