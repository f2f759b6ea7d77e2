"""/lib/modules/RELEASE: a file for every driver that the guest may load, which `insmod` gives to the kernel.

Such a file is not code, it is a name: two lines, ``nopage module`` and the driver's name.  The code is a Python file of
the host that the host's user has made available, and nothing that a guest writes can become Python here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from machine.kernel.abi.errno import ENOEXEC, Errno
from machine.kernel.abi.utsname import UTS_RELEASE
from machine.kernel.fs.file import S_IFREG
from machine.kernel.fs.rootfs import mount_point
from machine.kernel.fs.tmpfs import memory_file
from machine.kernel.modfile import make_available, module_files

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

DIRECTORY = f"/lib/modules/{UTS_RELEASE}"
_MAGIC = b"nopage module\n"
IMAGE_MAX = len(_MAGIC) + 256


def image_of(name: str) -> bytes:
    """The content of ``NAME.ko``."""
    return _MAGIC + name.encode() + b"\n"


def name_in(image: bytes) -> str:
    """The driver that an image names; ENOEXEC for anything that is not exactly of `image_of`'s form."""
    name = image[len(_MAGIC) : -1].decode("utf-8", "replace")
    if len(image) > IMAGE_MAX or not re.fullmatch(r"\w+", name) or image != image_of(name):
        raise Errno(ENOEXEC)
    return name


def publish_modules(kernel: Kernel, more: Sequence[str]) -> None:
    """At boot: the files of the drivers that come with nopage, and of `more`, by path.  ModuleError."""
    for each in more:
        make_available(kernel, each)
    for name in module_files(kernel):
        publish_module(kernel, name)


def publish_module(kernel: Kernel, name: str) -> None:
    """Make the file for the driver `name`, unless it is there, or the guest has put something else in its place."""
    try:
        here: Any = mount_point(kernel, DIRECTORY, True)
    except Errno:  # the guest has put a file where the directory was
        return
    leaf = f"{name}.ko"
    if not hasattr(here, "place") or here.lookup(leaf) is not None:
        return
    node = memory_file(here.i_sb, S_IFREG | 0o644)
    node.i_mapping.write(0, image_of(name))
    here.place(leaf, node)
