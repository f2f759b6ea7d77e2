"""The /sys file system: a tree of small texts that the kernel and drivers fill (fs/sysfs/).

``kernel.sysfs_entries[path] = entry`` adds a file (`SysEntry`), a symbolic link (a str) or the inode that a function of
(file system, path) makes, such as the ``resourceN`` files that can be mapped.  Files show their text from position 0;
a write goes to `store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.fs.file import MKDEV, inode, super_block
from machine.kernel.fs.proc import Entry, Subtree, Text, Tree, TreeDirectory
from machine.kernel.fs.sys_module import module_tree

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

SYSFS_MAGIC = 0x62656572
SYSFS_DEV = MKDEV(0, 22)

SysEntry = Entry


def _one_processor(_kernel: Kernel) -> Text:
    return "0\n"


def _no_huge_pages(_kernel: Kernel) -> Text:
    return "always madvise [never]\n"


def _kernel_max(_kernel: Kernel) -> Text:
    return "0\n"


def _mask(_kernel: Kernel) -> Text:
    return "1\n"


def _bus_pci(kernel: Kernel) -> Tree:
    from machine.kernel.pci.sysfs import bus_tree

    return bus_tree(kernel)


def _pci_devices(kernel: Kernel) -> Tree:
    from machine.kernel.pci.sysfs import device_tree

    return device_tree(kernel)


_TOPOLOGY = (
    ("core_id", _one_processor),
    ("core_siblings", _mask),
    ("core_siblings_list", _one_processor),
    ("physical_package_id", _one_processor),
    ("thread_siblings", _mask),
    ("thread_siblings_list", _one_processor),
)

TREE: Tree = {
    "block/": "",
    "bus/pci": Subtree(_bus_pci),
    "class/": "",
    "firmware/": "",
    "fs/": "",
    "module/": "",
    **{f"devices/system/cpu/cpu0/topology/{name}": Entry(0o444, show) for name, show in _TOPOLOGY},
    "devices/pci0000:00": Subtree(_pci_devices),
    "devices/system/cpu/kernel_max": Entry(0o444, _kernel_max),
    "devices/system/cpu/online": Entry(0o444, _one_processor),
    "devices/system/cpu/possible": Entry(0o444, _one_processor),
    "devices/system/cpu/present": Entry(0o444, _one_processor),
    "devices/system/node/online": Entry(0o444, _one_processor),
    "kernel/mm/transparent_hugepage/enabled": Entry(0o644, _no_huge_pages),
}


def _everything(kernel: Kernel) -> Tree:
    return {**TREE, **module_tree(kernel), **kernel.sysfs_entries}


def sysfs_root(kernel: Kernel) -> inode:
    """The root directory of a new sysfs, to be mounted at /sys."""
    return TreeDirectory(kernel, super_block("sysfs", SYSFS_DEV, SYSFS_MAGIC), "", lambda: _everything(kernel))
