"""/sys/module/NAME: the loaded drivers, their parameters, and who uses them (kernel/module/sysfs.c, kernel/params.c).

``users`` is ours: Linux counts the users of a module (``refcnt``) and can't say who they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from machine.kernel.abi.errno import EINVAL, Errno
from machine.kernel.fs.proc import Entry, Text, Tree
from machine.kernel.modparam import ParameterError

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.modparam import kernel_param
    from machine.kernel.module import module


def module_tree(kernel: Kernel) -> Tree:
    """The part of /sys below ``module/``."""
    tree: Tree = {}
    for each in kernel.modules.values():
        below = f"module/{each.name}"
        tree[f"{below}/coresize"] = Entry(0o444, _text(f"{each.size()}\n"))
        tree[f"{below}/holders/"] = ""
        tree[f"{below}/initstate"] = Entry(0o444, _text(f"{each.state}\n"))
        tree[f"{below}/refcnt"] = Entry(0o444, _text(f"{each.refcount}\n"))
        tree[f"{below}/users"] = Entry(0o400, _users(each))
        for parameter in each.params.values():
            if parameter.perm & 0o777:
                tree[f"{below}/parameters/{parameter.name}"] = _parameter(each, parameter)
    return tree


def _text(text: str) -> Any:
    return lambda _kernel: text


def _parameter(owner: module, parameter: kernel_param) -> Entry:
    """Readable and writable as the driver said; a write goes through the parser (param_attr_store).  EINVAL."""

    def show(_kernel: Kernel) -> Text:
        return parameter.show(owner.namespace.get(parameter.name)) + "\n"

    def store(_kernel: Kernel, data: bytes) -> None:
        try:
            value = parameter.parse(data.decode("utf-8", "surrogateescape").removesuffix("\n"), ",")
        except ParameterError:
            raise Errno(EINVAL) from None
        owner.namespace[parameter.name] = value

    mode = parameter.perm & 0o777
    return Entry(mode, show, store if mode & 0o222 else None)


# -- who uses a module -----------------------------------------------------------------------------------------------


def _users(owner: module) -> Any:
    return lambda kernel: "".join(f"{pid}\t{comm}\t{what}\n" for pid, comm, what in module_users(kernel, owner))


def module_users(kernel: Kernel, owner: module) -> Iterator[tuple[int, str, str]]:
    """(pid, name, what) of each process and file: ``/dev/scullp0 (fd 3)`` or ``/dev/scullp0 (mapped)``.

    The threads of a process count once, as do several mappings of one file.
    """
    for task in list(kernel.tasks.values()):
        if task.pid != task.tgid or task.pid == 1:
            continue
        files: Any = getattr(task, "files", None)
        for fd, filp in sorted(files.fds.items() if files is not None else ()):
            if filp.f_op.owner is owner:
                yield task.pid, task.comm, f"{filp.f_path} (fd {fd})"
        mm: Any = getattr(task, "mm", None)
        mapped = {
            vma.vm_file.f_path: None
            for vma in (mm.each_vma() if mm is not None else ())
            if vma.vm_file is not None and vma.vm_file.f_op.owner is owner
        }
        for path in mapped:
            yield task.pid, task.comm, f"{path} (mapped)"
