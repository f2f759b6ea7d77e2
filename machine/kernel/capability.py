"""What a process may do that not everybody may (kernel/capability.c, security/commoncap.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from machine.kernel.abi.capability import CAP_FS_SET, CAP_SYS_PTRACE, SECBIT_NO_SETUID_FIXUP, SECBIT_NOROOT

if TYPE_CHECKING:
    from machine.kernel.task.task import task_struct


def capabilities(task: task_struct) -> tuple[int, int, int]:
    """(effective, permitted, inheritable) as capget shows them."""
    if task.caps is not None:
        return task.caps
    full = task.cap_bset if task.euid == 0 else 0
    return full, full, 0


def set_capabilities(task: task_struct, effective: int, permitted: int, inheritable: int) -> None:
    """Give it these; what its user has anyway needs no note."""
    usual = task.cap_bset if task.euid == 0 else 0
    sets = effective, permitted, inheritable
    task.cap_ambient &= permitted & inheritable
    task.caps = None if sets == (usual, usual, 0) else sets


def capable(task: task_struct, capability: int) -> bool:
    """Whether the task has a capability now."""
    return bool(capabilities(task)[0] >> capability & 1)


def follow_fsuid(task: task_struct, old: int) -> None:
    """setfsuid has changed the user of the file system: its capabilities come and go (cap_task_fix_setuid)."""
    if task.securebits & SECBIT_NO_SETUID_FIXUP:
        return
    effective, permitted, inheritable = capabilities(task)
    if old == 0 != task.fsuid:
        set_capabilities(task, effective & ~CAP_FS_SET, permitted, inheritable)
    elif task.fsuid == 0 != old:
        set_capabilities(task, effective | permitted & CAP_FS_SET, permitted, inheritable)


def follow_exec(task: task_struct, old: tuple[int, int, int], changes_ids: bool) -> None:
    """A program was executed by a task that had `old`, and whose ids are new.  Root, effective or real, is permitted
    all, and whoever is effectively root has them; others have the ambient ones, which no program keeps
    that makes its process somebody else (cap_bprm_creds_from_file)."""
    inheritable = old[2]
    has_root = not task.securebits & SECBIT_NOROOT
    permitted = task.cap_bset | inheritable if has_root and 0 in (task.uid, task.euid) else 0
    if task.no_new_privs or (task.ptrace is not None and not capable(task.ptrace.tracer, CAP_SYS_PTRACE)):
        permitted &= old[1]
    if changes_ids:
        task.cap_ambient = 0
    permitted |= task.cap_ambient
    set_capabilities(task, permitted if has_root and task.euid == 0 else task.cap_ambient, permitted, inheritable)


__all__ = ["capabilities", "capable", "follow_exec", "follow_fsuid", "set_capabilities"]
