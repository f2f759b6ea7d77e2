"""A driver's functions called by a compiled program: one ioctl each, on the process's kernel stack."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from machine import Machine

CALLS = """
results = []
def bad_ioctl(inode, filp, cmd, arg):
    results.append(functions[cmd]())
    return 0
major = register_chrdev(0, "bad", file_operations(ioctl=bad_ioctl))
devfs_mk_cdev(MKDEV(major, 0), 0o666, "bad")
def cleanup():
    devfs_remove("bad")
    unregister_chrdev(major, "bad")
module_exit(cleanup)
"""


class ByProgram:
    """Loads the driver `text`; `call(name)` runs a program that makes it call that function, and gives its result."""

    def __init__(self, m: Machine, driver: Callable[..., dict[str, Any]], run_c: Callable[..., Any], text: str) -> None:
        self.m, self.run_c = m, run_c
        self.globals = driver(textwrap.dedent(text) + CALLS)
        self.globals["functions"] = {}

    def call(self, name: str = "test") -> Any:
        """The function's result.  A function that raises fails the test with what it raised."""
        functions = self.globals["functions"]
        number = len(functions) + 1
        functions[number] = self.globals[name]
        body = f'EQUAL("{name}", ioctl(must_open("/dev/bad", O_RDWR), {number}, 0), 0);'
        self.run_c(self.m, body, fine=False)
        assert not self.m.kernel.oopses, self.m.kernel.oopses[0].traceback
        return self.globals["results"].pop()

    def free_frames(self) -> int:
        """Free frames, what the page cache keeps counted as free."""
        return self.m.kernel.mem.free_frames() + self.m.kernel.vfs.page_cache_frames()
