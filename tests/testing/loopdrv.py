"""A driver of the tests that does not come back: from read and ioctl in a loop, from write in a wait of the host's."""

from __future__ import annotations

import time

from machine.kernel.linux import (
    file,
    file_operations,
    inode,
    module_exit,
    module_init,
    register_chrdev,
    unregister_chrdev,
)


def about_to_loop() -> None:
    """The test puts its own function here."""


def loop_read(filp: file, buf: int, count: int, f_pos: object) -> int:
    about_to_loop()
    while True:
        try:
            count = abs(count + 1)  # without a call CPython 3.10 would not look for signals here at all
        except Exception:
            pass


def loop_write(filp: file, buf: int, count: int, f_pos: object) -> int:
    about_to_loop()
    time.sleep(1000)
    return count


def loop_ioctl(inode: inode, filp: file, cmd: int, arg: int) -> int:
    about_to_loop()
    while True:
        arg += 1


def loop_init() -> int:
    return register_chrdev(231, "loop", file_operations(read=loop_read, write=loop_write, ioctl=loop_ioctl))


def loop_exit() -> None:
    unregister_chrdev(231, "loop")


module_init(loop_init)
module_exit(loop_exit)
