"""easel: a device whose parameters show; `answer` makes its init fail, raise or be odd."""

from __future__ import annotations

from machine.kernel.linux import (  # isort: skip
    MKDEV, MODULE_LICENSE, charp, devfs_mk_cdev, devfs_remove, file_operations, module_exit, module_init, module_param,
    module_param_array, register_chrdev, uint, unregister_chrdev,
)  # fmt: skip

MODULE_LICENSE("GPL")

count, flag, word, secret, answer, major = 1, False, "plain", 7, 0, 0
sizes = [1, 2]
module_param("count", int, 0o644)
module_param("flag", bool, 0o600)
module_param("word", charp, 0o444)
module_param("secret", uint, 0)
module_param("answer", int, 0)
module_param_array("sizes", int, 0o644)

easel_fops = file_operations(read=lambda filp, buf, n, f_pos: 0, mmap=lambda filp, vma: 0)


def easel_init() -> int:
    global major
    if answer < 0 or answer == 5:
        return answer
    if answer == 1:
        raise ZeroDivisionError("on purpose")
    major = register_chrdev(0, "easel", easel_fops)
    return devfs_mk_cdev(MKDEV(major, 0), 0o666, "easel")


def easel_exit() -> None:
    if major:
        devfs_remove("easel")
        unregister_chrdev(major, "easel")


module_init(easel_init)
module_exit(easel_exit)
