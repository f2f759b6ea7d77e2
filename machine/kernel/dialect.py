"""Which Linux a driver is written for: ``KERNEL = (2, 6, 10)`` (the default), ``(2, 2)``, ``(2, 4)`` or ``(6, 1)``.

The line is read from the driver's source before the file is executed, so it may stand above or below the imports: names
whose value depends on it (`VM_FAULT_SIGBUS`) have the right one either way.  It counts for the driver's own areas and
calls alone; drivers of both dialects live side by side in one machine.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

DEFAULT = (2, 6, 10)
TODAY = (4, 17)
"""From here on `fault` has the form of today: one argument, a `vm_fault_t`."""
LAST_OF_OLD = (2, 6, 22)
"""Up to here there was `nopage` alone."""

_LINE = re.compile(r"^KERNEL\b[^=\n]*=[^=]", re.MULTILINE)

GONE = {
    "nopage": "Linux 2.6.26 removed it (2.6.23 brought its successor): use fault=, a method of one argument, vmf, that "
    "stores the page in vmf.page and returns VM_FAULT_ bits",
    "ioctl": "Linux 2.6.36 removed it: use unlocked_ioctl=, a method of (filp, cmd, arg), and compat_ioctl= for "
    "32-bit programs",
}
"""Methods that a driver of today can't have."""
NOT_YET = {
    "fault": "it came with Linux 2.6.23: use nopage=, a method of (vma, address, type) that returns the page",
    "page_mkwrite": "it came with Linux 2.6.18: before, a driver does not hear of the first write to a shared page",
    "pfn_mkwrite": "it came with Linux 4.1",
    "unlocked_ioctl": "it came with Linux 2.6.11: use ioctl=, a method of (inode, filp, cmd, arg)",
    "compat_ioctl": "it came with Linux 2.6.11: ioctl= is called for 32-bit programs too",
}
"""Methods that a driver for 2.6.10 does not have yet."""


@lru_cache(maxsize=64)  # each machine loads `mem`, and a test suite makes thousands
def declared(source: str) -> tuple[int, ...] | None:
    """The KERNEL that a driver's source says, None where it says none.

    ValueError, a sentence for the user, when it is no plain tuple of numbers or a version between the two dialects;
    SyntaxError when the source does not parse.
    """
    if _LINE.search(source) is None:
        return None
    import ast

    found = None
    for node in ast.parse(source).body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(isinstance(each, ast.Name) and each.id == "KERNEL" for each in targets):
            found = node.value
    if found is None:
        return None
    try:
        value = ast.literal_eval(found)
    except ValueError:
        value = None
    if not isinstance(value, tuple) or len(value) < 2 or any(type(part) is not int for part in value):
        raise ValueError(f"KERNEL = {ast.unparse(found)} is no version: it is written as (2, 6, 10) or (6, 1)")
    if value < (2, 2) or LAST_OF_OLD < value < TODAY:
        raise ValueError(
            f"KERNEL = {value} is not a kernel that drivers can be written for here: (2, 2), (2, 4), (2, 6, 10), "
            f"which is the default, or (6, 1)"
        )
    return value


def version(owner: Any) -> tuple[int, ...]:
    """The KERNEL of a driver's module; that of the books for None, the kernel itself."""
    return DEFAULT if owner is None else tuple(owner.namespace.get("KERNEL", DEFAULT))


def is_today(owner: Any) -> bool:
    """Whether a driver's module speaks today's dialect."""
    return owner is not None and version(owner) >= TODAY


def check_member(owner: Any, struct: str, name: str) -> None:
    """TypeError when a driver sets a method that its kernel does not have; it says what to use."""
    today = is_today(owner)
    why = (GONE if today else NOT_YET).get(name)
    if why is not None:
        kernel = ".".join(map(str, version(owner)))
        raise TypeError(f"{struct} has no member '{name}' in Linux {kernel}: {why}")
