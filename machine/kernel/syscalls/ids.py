"""Who a task is: process, user and group ids, capabilities (kernel/sys.c, kernel/groups.c, kernel/capability.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.kernel.abi.capability import (
    CAP_FULL_SET,
    CAP_SETGID,
    CAP_SETPCAP,
    CAP_SETUID,
    SECBIT_KEEP_CAPS,
    SECBIT_NO_SETUID_FIXUP,
)
from machine.kernel.abi.errno import EFAULT, EINVAL, EPERM, ESRCH, Errno
from machine.kernel.capability import capabilities, capable, follow_fsuid, set_capabilities
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

NGROUPS_MAX = 65536
KEEP = 0xFFFF_FFFF
"""``(uid_t)-1``: leave this id as it is."""
OVERFLOW_ID = 65534
_CAP_VERSIONS = {0x19980330: 1, 0x20071026: 2, 0x20080522: 2}
"""Version word of capget -> how many 32-bit halves follow."""


# -- process ids ------------------------------------------------------------------------------------


@syscall("getpid", sleeps=False)
def sys_getpid(task: Task) -> int:
    return task.tgid


@syscall("gettid", sleeps=False)
def sys_gettid(task: Task) -> int:
    return task.pid


@syscall("getppid", sleeps=False)
def sys_getppid(task: Task) -> int:
    parent = task.signal.leader.parent
    return 0 if parent is None else parent.tgid


# -- reading ids --------------------------------------------------------------------------------------


def _id16(number: int) -> int:
    """What the 16-bit calls of i386 show (linux/highuid.h: high2lowuid)."""
    return number if number <= 0xFFFF else OVERFLOW_ID


def _wide(number: int) -> int:
    """A 16-bit argument of i386: 0xffff is -1 (low2highuid)."""
    number &= 0xFFFF
    return KEEP if number == 0xFFFF else number


def _declare_getters() -> None:
    getters: list[tuple[str, Callable[[Task], int]]] = [
        ("getuid", lambda task: task.uid),
        ("geteuid", lambda task: task.euid),
        ("getgid", lambda task: task.gid),
        ("getegid", lambda task: task.egid),
    ]
    for name, getter in getters:
        syscall(name, abi="x86_64", sleeps=False)(getter)
        syscall(name + "32", abi="i386", sleeps=False)(getter)
        syscall(name, abi="i386", sleeps=False)(lambda task, get=getter: _id16(get(task)))


_declare_getters()


# -- changing ids ---------------------------------------------------------------------------------------


def set_uids(task: Task, uid: int, euid: int, suid: int) -> None:
    """Give a task new user ids; the file system id follows the effective one."""
    had_root = 0 in (task.uid, task.euid, task.suid)
    old_euid, old_fsuid = task.euid, task.fsuid
    effective, permitted, inheritable = capabilities(task)
    task.uid, task.euid, task.suid, task.fsuid = uid, euid, suid, euid
    if old_euid != euid or old_fsuid != euid:
        task.mm.dumpable = 0
        task.pdeath_signal = 0
    if not task.securebits & SECBIT_NO_SETUID_FIXUP:  # cap_emulate_setxuid
        if had_root and 0 not in (uid, euid, suid):
            task.cap_ambient = 0
            if not task.securebits & SECBIT_KEEP_CAPS:
                effective = permitted = 0
        if old_euid == 0 != euid:
            effective = 0
        elif euid == 0 != old_euid:
            effective = permitted
    set_capabilities(task, effective, permitted, inheritable)


def set_gids(task: Task, gid: int, egid: int, sgid: int) -> None:
    """The same for groups."""
    if task.egid != egid or task.fsgid != egid:
        task.mm.dumpable = 0
        task.pdeath_signal = 0
    task.gid, task.egid, task.sgid, task.fsgid = gid, egid, sgid, egid


def setuid(task: Task, uid: int) -> int:
    """setuid(2).  EINVAL: -1; EPERM: not root, and neither the real nor the saved id."""
    if uid == KEEP:
        raise Errno(EINVAL)
    if capable(task, CAP_SETUID):
        set_uids(task, uid, uid, uid)
    elif uid in (task.uid, task.suid):
        set_uids(task, task.uid, uid, task.suid)
    else:
        raise Errno(EPERM)
    return 0


def setgid(task: Task, gid: int) -> int:
    """setgid(2).  Errors as setuid."""
    if gid == KEEP:
        raise Errno(EINVAL)
    if capable(task, CAP_SETGID):
        set_gids(task, gid, gid, gid)
    elif gid in (task.gid, task.sgid):
        set_gids(task, task.gid, gid, task.sgid)
    else:
        raise Errno(EPERM)
    return 0


def setreuid(task: Task, ruid: int, euid: int) -> int:
    """setreuid(2): the saved id follows when the real one is set, or the effective one is not the old real."""
    new_uid, new_euid, new_suid = _setre((task.uid, task.euid, task.suid), ruid, euid, capable(task, CAP_SETUID))
    set_uids(task, new_uid, new_euid, new_suid)
    return 0


def setregid(task: Task, rgid: int, egid: int) -> int:
    """setregid(2)."""
    new_gid, new_egid, new_sgid = _setre((task.gid, task.egid, task.sgid), rgid, egid, capable(task, CAP_SETGID))
    set_gids(task, new_gid, new_egid, new_sgid)
    return 0


def _setre(old: tuple[int, int, int], real: int, effective: int, root: bool) -> tuple[int, int, int]:
    new_real, new_effective, saved = old
    if real != KEEP:
        new_real = real
        if not root and real not in old[:2]:
            raise Errno(EPERM)
    if effective != KEEP:
        new_effective = effective
        if not root and effective not in old:
            raise Errno(EPERM)
    if real != KEEP or (effective != KEEP and effective != old[0]):
        saved = new_effective
    return new_real, new_effective, saved


def _setres(old: tuple[int, int, int], new: tuple[int, int, int], root: bool) -> tuple[int, int, int]:
    if not root and any(number != KEEP and number not in old for number in new):
        raise Errno(EPERM)
    real, effective, saved = (was if number == KEEP else number for was, number in zip(old, new, strict=True))
    return real, effective, saved


def _asks_for_news(old: tuple[int, int, int], fs_id: int, new: tuple[int, int, int]) -> bool:
    asked = any(number not in (KEEP, was) for number, was in zip(new, old, strict=True))
    return asked or new[1] not in (KEEP, fs_id)


def setresuid(task: Task, ruid: int, euid: int, suid: int) -> int:
    """setresuid(2).  EPERM: not root, and an id that is none of the three.  Who asks for what is there changes nothing,
    not even the file system's id."""
    if not _asks_for_news((task.uid, task.euid, task.suid), task.fsuid, (ruid, euid, suid)):
        return 0
    set_uids(task, *_setres((task.uid, task.euid, task.suid), (ruid, euid, suid), capable(task, CAP_SETUID)))
    return 0


def setresgid(task: Task, rgid: int, egid: int, sgid: int) -> int:
    """setresgid(2)."""
    if not _asks_for_news((task.gid, task.egid, task.sgid), task.fsgid, (rgid, egid, sgid)):
        return 0
    set_gids(task, *_setres((task.gid, task.egid, task.sgid), (rgid, egid, sgid), capable(task, CAP_SETGID)))
    return 0


def _file_system_id(task: Task, changed: bool) -> None:
    if changed:  # commit_creds
        task.mm.dumpable = 0
        task.pdeath_signal = 0


def setfsuid(task: Task, uid: int) -> int:
    """setfsuid(2): returns the old id whether or not the new one was allowed."""
    old = task.fsuid
    if uid != KEEP and (capable(task, CAP_SETUID) or uid in (task.uid, task.euid, task.suid, task.fsuid)):
        task.fsuid = uid
        _file_system_id(task, uid != old)
        follow_fsuid(task, old)
    return old


def setfsgid(task: Task, gid: int) -> int:
    """setfsgid(2)."""
    old = task.fsgid
    if gid != KEEP and (capable(task, CAP_SETGID) or gid in (task.gid, task.egid, task.sgid, task.fsgid)):
        task.fsgid = gid
        _file_system_id(task, gid != old)
    return old


def _declare_setters() -> None:
    setters: list[tuple[str, int, Callable[..., int]]] = [
        ("setuid", 1, setuid), ("setgid", 1, setgid), ("setreuid", 2, setreuid), ("setregid", 2, setregid),
        ("setresuid", 3, setresuid), ("setresgid", 3, setresgid), ("setfsuid", 1, setfsuid), ("setfsgid", 1, setfsgid),
    ]  # fmt: skip
    for name, count, setter in setters:
        types = " ".join(["uid"] * count)
        syscall(name, types, abi="x86_64", sleeps=False)(setter)
        syscall(name + "32", types, abi="i386", sleeps=False)(setter)
        syscall(name, types, abi="i386", sleeps=False)(_narrow(setter))


def _narrow(setter: Callable[..., int]) -> Callable[..., int]:
    """The same call with 16-bit ids."""
    return lambda task, *ids: setter(task, *map(_wide, ids))


_declare_setters()


def _put_ids(task: Task, addresses: tuple[int, ...], values: tuple[int, ...], form: str) -> int:
    for address, value in zip(addresses, values, strict=True):
        task.mm.copy_to_user(address, struct.pack(form, value))
    return 0


@syscall("getresuid", "ptr:uid> ptr:uid> ptr:uid>", abi="x86_64")
@syscall("getresuid32", "ptr:uid> ptr:uid> ptr:uid>", abi="i386")
def sys_getresuid(task: Task, ruid: int, euid: int, suid: int) -> int:
    return _put_ids(task, (ruid, euid, suid), (task.uid, task.euid, task.suid), "<I")


@syscall("getresgid", "ptr:uid> ptr:uid> ptr:uid>", abi="x86_64")
@syscall("getresgid32", "ptr:uid> ptr:uid> ptr:uid>", abi="i386")
def sys_getresgid(task: Task, rgid: int, egid: int, sgid: int) -> int:
    return _put_ids(task, (rgid, egid, sgid), (task.gid, task.egid, task.sgid), "<I")


@syscall("getresuid", "ptr:uid> ptr:uid> ptr:uid>", abi="i386")
def sys_getresuid16(task: Task, ruid: int, euid: int, suid: int) -> int:
    ids = (_id16(task.uid), _id16(task.euid), _id16(task.suid))
    return _put_ids(task, (ruid, euid, suid), ids, "<H")


@syscall("getresgid", "ptr:uid> ptr:uid> ptr:uid>", abi="i386")
def sys_getresgid16(task: Task, rgid: int, egid: int, sgid: int) -> int:
    ids = (_id16(task.gid), _id16(task.egid), _id16(task.sgid))
    return _put_ids(task, (rgid, egid, sgid), ids, "<H")


# -- supplementary groups -----------------------------------------------------------------------------


def _getgroups(task: Task, size: int, address: int, form: str) -> int:
    groups = task.groups
    if size < 0 or (size and len(groups) > size):
        raise Errno(EINVAL)
    if size:
        data = b"".join(struct.pack(form, _id16(g) if form == "<H" else g) for g in groups)
        task.mm.copy_to_user(address, data)
    return len(groups)


def _setgroups(task: Task, size: int, address: int, form: str) -> int:
    if not capable(task, CAP_SETGID):
        raise Errno(EPERM)
    if not 0 <= size <= NGROUPS_MAX:
        raise Errno(EINVAL)
    data = task.mm.copy_from_user(address, size * struct.calcsize(form)) if size else b""
    groups = [row[0] for row in struct.iter_unpack(form, data)]
    if form == "<I" and KEEP in groups:
        raise Errno(EINVAL)
    task.groups = sorted(groups)
    return 0


@syscall("getgroups", "int ptr", abi="x86_64")
@syscall("getgroups32", "int ptr", abi="i386")
def sys_getgroups(task: Task, size: int, address: int) -> int:
    return _getgroups(task, size, address, "<I")


@syscall("getgroups", "int ptr", abi="i386")
def sys_getgroups16(task: Task, size: int, address: int) -> int:
    return _getgroups(task, size, address, "<H")


@syscall("setgroups", "int ptr", abi="x86_64")
@syscall("setgroups32", "int ptr", abi="i386")
def sys_setgroups(task: Task, size: int, address: int) -> int:
    return _setgroups(task, size, address, "<I")


@syscall("setgroups", "int ptr", abi="i386")
def sys_setgroups16(task: Task, size: int, address: int) -> int:
    return _setgroups(task, size, address, "<H")


# -- capabilities ---------------------------------------------------------------------------------------


def _cap_header(task: Task, header: int) -> tuple[int, int, int]:
    """(halves, pid, version word); writes our version back where the caller's is unknown and raises EINVAL."""
    version, pid = struct.unpack("<Ii", task.mm.copy_from_user(header, 8))
    if version not in _CAP_VERSIONS:
        task.mm.put_u32(header, 0x20080522)
        raise Errno(EINVAL)
    return _CAP_VERSIONS[version], pid, version


@syscall("capget", "ptr ptr")
def sys_capget(task: Task, header: int, data: int) -> int:
    """EINVAL: unknown version (but 0 when only asking), negative pid; ESRCH; EFAULT."""
    try:
        halves, pid, _ = _cap_header(task, header)
    except Errno as error:
        if error.errno == EINVAL and not data:
            return 0
        raise
    if pid < 0:
        raise Errno(EINVAL)
    target = task.kernel.tasks.get(pid) if pid and pid != task.pid else task
    if target is None:
        raise Errno(ESRCH)
    if not data:
        return 0
    sets = capabilities(target)
    words = [number >> 32 * half & 0xFFFF_FFFF for half in range(halves) for number in sets]
    task.mm.copy_to_user(data, struct.pack(f"<{len(words)}I", *words))
    return 0


@syscall("capset", "ptr ptr")
def sys_capset(task: Task, header: int, data: int) -> int:
    """EPERM: another process, more than is permitted, or to inherit more than CAP_SETPCAP or what one has allows;
    EINVAL: version; EFAULT."""
    halves, pid, _ = _cap_header(task, header)
    if pid not in (0, task.pid):
        raise Errno(EPERM)
    if not data:
        raise Errno(EFAULT)
    words = struct.unpack(f"<{3 * halves}I", task.mm.copy_from_user(data, 12 * halves))
    effective, permitted, inheritable = (
        sum(words[3 * half + i] << 32 * half for half in range(halves)) & CAP_FULL_SET for i in range(3)
    )
    _, old_permitted, old_inheritable = capabilities(task)
    may_inherit = old_inheritable | (task.cap_bset if capable(task, CAP_SETPCAP) else old_permitted & task.cap_bset)
    if inheritable & ~may_inherit or permitted & ~old_permitted or effective & ~permitted:
        raise Errno(EPERM)
    set_capabilities(task, effective, permitted, inheritable)
    return 0
