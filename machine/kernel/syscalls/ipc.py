"""System V shared memory, semaphores and messages; i386's ipc(2), one number for all of them (ipc/syscall.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import EINVAL, ENOSYS, ERANGE, Errno
from machine.kernel.abi.layout import timespec_ns
from machine.kernel.ipc import msg, sem, shm
from machine.kernel.ipc.util import (
    IPC_64,
    IPC_INFO,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    S_IRUGO,
    S_IWUGO,
    ipc_ids,
    kern_ipc_perm,
    now,
)
from machine.kernel.syscalls.table import syscall

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

SHM_LOCK, SHM_UNLOCK, SHM_STAT, SHM_INFO, SHM_STAT_ANY = 11, 12, 13, 14, 15
MSG_STAT, MSG_INFO, MSG_STAT_ANY = 11, 12, 13
GETPID, GETVAL, GETALL, GETNCNT, GETZCNT, SETVAL, SETALL = 11, 12, 13, 14, 15, 16, 17
SEM_STAT, SEM_INFO, SEM_STAT_ANY = 18, 19, 20


def _stat(task: Task, ids: ipc_ids[Any], number: int, how: tuple[bool, bool], buf: int) -> int:
    """*_STAT: `how` is (the number is a slot, nobody is asked for permission).  A slot gives its identifier."""
    slot, anybody = how
    item = ids.at(number) if slot else ids.find(number)
    if not anybody:
        item.check(task, S_IRUGO)
    task.mm.copy_to_user(buf, item.pack_stat(task))
    return item.id if slot else 0


def _get_ds(task: Task, item: kern_ipc_perm, buf: int) -> bytes:
    """The structure of IPC_SET, as long as that of IPC_STAT."""
    return task.mm.copy_from_user(buf, len(item.pack_stat(task)))


# -- shared memory -----------------------------------------------------------------------------------


@syscall("shmget", "int:IPC_KEY size flags:IPC_GET", sleeps=False)
def sys_shmget(task: Task, key: int, size: int, flags: int) -> int:
    return shm.shmget(task, key, size, flags)


@syscall("shmat", "int addr flags:SHM_", result="hex", areas=True)
def sys_shmat(task: Task, number: int, address: int, flags: int) -> int:
    return shm.shmat(task, number, address, flags)


@syscall("shmdt", "addr", areas=True)
def sys_shmdt(task: Task, address: int) -> int:
    return shm.shmdt(task, address)


def _shm_info(task: Task, cmd: int, buf: int) -> int:
    """IPC_INFO: the limits; SHM_INFO: what is in use.  The highest slot."""
    ids = shm.ids(task.kernel)
    mask = task.abi.mask if task.abi.bits == 64 else 0x7FFFFFFF
    word = "Q" if task.abi.bits == 64 else "I"
    if cmd == IPC_INFO:
        limits = (min(shm.SHMMAX, mask), 1, ids.limit, ids.limit, shm.SHMALL & task.abi.mask)
        data = struct.pack(f"<9{word}", *limits, 0, 0, 0, 0)
    else:
        total = sum(segment.pages() for segment in ids.slots.values())
        resident = sum(segment.resident() for segment in ids.slots.values())
        data = struct.pack(f"<I{'4x' if word == 'Q' else ''}5{word}", len(ids.slots), total, resident, 0, 0, 0)
    task.mm.copy_to_user(buf, data)
    return ids.highest()


@syscall("shmctl", "int int:SHM_CTL ptr")
def sys_shmctl(task: Task, number: int, cmd: int, buf: int) -> int:
    """EINVAL, EIDRM, EACCES, EPERM, EFAULT (ksys_shmctl)."""
    if cmd < 0 or number < 0:
        raise Errno(EINVAL)
    ids = shm.ids(task.kernel)
    if cmd in (IPC_INFO, SHM_INFO):
        return _shm_info(task, cmd, buf)
    if cmd in (IPC_STAT, SHM_STAT, SHM_STAT_ANY):
        return _stat(task, ids, number, (cmd != IPC_STAT, cmd == SHM_STAT_ANY), buf)
    if cmd not in (IPC_SET, IPC_RMID, SHM_LOCK, SHM_UNLOCK):
        raise Errno(EINVAL)
    if cmd == IPC_SET:
        task.mm.copy_from_user(buf, task.abi.word)  # EFAULT comes before what the number is
    segment = ids.find(number)
    if cmd == IPC_RMID:
        shm.shm_rmid(task, segment)
    elif cmd == IPC_SET:
        data = _get_ds(task, segment, buf)
        segment.check_owner(task)
        segment.update_owner(task, data)
        segment.ctime = now(task.kernel)
    else:
        shm.shm_lock(task, segment, cmd == SHM_LOCK)
    return 0


# -- semaphores --------------------------------------------------------------------------------------


@syscall("semget", "int:IPC_KEY int flags:IPC_GET", sleeps=False)
def sys_semget(task: Task, key: int, count: int, flags: int) -> int:
    return sem.semget(task, key, count, flags)


@syscall("semop", "int ptr uint", abi="x86_64")
def sys_semop(task: Task, number: int, sops: int, count: int) -> int:
    return sem.semtimedop(task, number, sops, count, None)


def _timeout(task: Task, address: int, time64: bool) -> Optional[int]:
    if not address:
        return None
    return timespec_ns(*(task.abi.get_timespec64 if time64 else task.abi.get_timespec)(task.mm, address))


@syscall("semtimedop", "int ptr uint ptr:ts", abi="x86_64")
def sys_semtimedop(task: Task, number: int, sops: int, count: int, timeout: int) -> int:
    return sem.semtimedop(task, number, sops, count, _timeout(task, timeout, False))


@syscall("semtimedop_time64", "int ptr uint ptr:ts64", abi="i386")
def sys_semtimedop_time64(task: Task, number: int, sops: int, count: int, timeout: int) -> int:
    return sem.semtimedop(task, number, sops, count, _timeout(task, timeout, True))


def _sem_info(task: Task, cmd: int, buf: int) -> int:
    ids = sem.ids(task.kernel)
    used = (20, 32767)
    if cmd == SEM_INFO:
        used = len(ids.slots), sum(len(each.values) for each in ids.slots.values())
    data = struct.pack(
        "<10i", sem.SEMMNS, sem.SEMMNI, sem.SEMMNS, sem.SEMMNS, sem.SEMMSL, sem.SEMOPM, sem.SEMOPM, used[0], sem.SEMVMX,
        used[1],
    )  # fmt: skip
    task.mm.copy_to_user(buf, data)
    return ids.highest()


@syscall("semctl", "int int int:SEM_CTL ulong:x")
def sys_semctl(task: Task, number: int, which: int, cmd: int, arg: int) -> int:
    """EINVAL, EIDRM, EACCES, EPERM, ERANGE, EFAULT (ksys_semctl)."""
    if number < 0:
        raise Errno(EINVAL)
    ids = sem.ids(task.kernel)
    if cmd in (IPC_INFO, SEM_INFO):
        return _sem_info(task, cmd, arg)
    if cmd in (IPC_STAT, SEM_STAT, SEM_STAT_ANY):
        return _stat(task, ids, number, (cmd != IPC_STAT, cmd == SEM_STAT_ANY), arg)
    if cmd == IPC_SET:
        task.mm.copy_from_user(arg, task.abi.word)  # EFAULT comes before what the number is
    if cmd == SETVAL and not 0 <= (arg & 0xFFFFFFFF) <= sem.SEMVMX:
        raise Errno(ERANGE)
    array = ids.find(number)
    if cmd == IPC_RMID:
        sem.sem_rmid(task, array)
    elif cmd == IPC_SET:
        data = _get_ds(task, array, arg)
        array.check_owner(task)
        array.update_owner(task, data)
    elif cmd in (GETALL, GETVAL, GETPID, GETNCNT, GETZCNT, SETALL, SETVAL):
        return _values(task, array, which, cmd, arg)
    else:
        raise Errno(EINVAL)
    return 0


def _values(task: Task, array: sem.sem_array, which: int, cmd: int, arg: int) -> int:
    count = len(array.values)
    if cmd == SETALL:
        array.check(task, S_IWUGO)
        values = list(struct.unpack(f"<{count}H", task.mm.copy_from_user(arg, 2 * count)))
        sem.set_values(task, array, 0, values)
        return 0
    if cmd == GETALL:
        array.check(task, S_IRUGO)
        task.mm.copy_to_user(arg, struct.pack(f"<{count}H", *array.values))
        return 0
    if cmd != SETVAL:
        array.check(task, S_IRUGO)
    if not 0 <= which < count:
        raise Errno(EINVAL)
    if cmd == SETVAL:
        sem.set_values(task, array, which, [arg & 0xFFFFFFFF])
        return 0
    if cmd == GETVAL:
        return array.values[which]
    return array.pids[which] if cmd == GETPID else array.waiting(which, cmd == GETZCNT)


# -- messages ----------------------------------------------------------------------------------------


@syscall("msgget", "int:IPC_KEY flags:IPC_GET", sleeps=False)
def sys_msgget(task: Task, key: int, flags: int) -> int:
    return msg.msgget(task, key, flags)


@syscall("msgsnd", "int ptr size flags:MSG_IPC_")
def sys_msgsnd(task: Task, number: int, address: int, size: int, flags: int) -> int:
    return msg.msgsnd(task, number, address, size, flags)


@syscall("msgrcv", "int ptr size long flags:MSG_IPC_")
def sys_msgrcv(task: Task, number: int, address: int, size: int, kind: int, flags: int) -> int:
    return msg.msgrcv(task, number, address, size, kind, flags)


def _msg_info(task: Task, cmd: int, buf: int) -> int:
    ids = msg.ids(task.kernel)
    pool, total, headers = msg.MSGMNI * msg.MSGMNB // 1024, msg.MSGMNB, msg.MSGMNB
    if cmd == MSG_INFO:
        queues = ids.slots.values()
        pool, headers, total = len(queues), sum(len(q.messages) for q in queues), sum(q.cbytes for q in queues)
    data = struct.pack("<7iH2x", pool, headers, msg.MSGMAX, msg.MSGMNB, msg.MSGMNI, 16, total, 0xFFFF)
    task.mm.copy_to_user(buf, data)
    return ids.highest()


@syscall("msgctl", "int int:MSG_CTL ptr")
def sys_msgctl(task: Task, number: int, cmd: int, buf: int) -> int:
    """EINVAL, EIDRM, EACCES, EPERM, EFAULT (ksys_msgctl)."""
    if number < 0 or cmd < 0:
        raise Errno(EINVAL)
    ids = msg.ids(task.kernel)
    if cmd in (IPC_INFO, MSG_INFO):
        return _msg_info(task, cmd, buf)
    if cmd in (IPC_STAT, MSG_STAT, MSG_STAT_ANY):
        return _stat(task, ids, number, (cmd != IPC_STAT, cmd == MSG_STAT_ANY), buf)
    if cmd not in (IPC_SET, IPC_RMID):
        raise Errno(EINVAL)
    queue = ids.find(number)
    if cmd == IPC_RMID:
        msg.msg_rmid(task, queue)
    else:
        msg.msg_set(task, queue, _get_ds(task, queue, buf))
    return 0


# -- ipc(2) ------------------------------------------------------------------------------------------


def _command(cmd: int) -> int:
    """Only the structures of today are known: commands without IPC_64 that have one are EINVAL."""
    if not cmd & IPC_64 and cmd in (IPC_STAT, IPC_SET):
        raise Errno(EINVAL)
    return cmd & ~IPC_64


def _ipc_msgrcv(task: Task, version: int, first: int, second: int, third: int, ptr: int, fifth: int) -> int:
    """Version 0 has buffer and type in memory (`struct ipc_kludge`)."""
    if version:
        return msg.msgrcv(task, first, ptr, second, (fifth ^ 1 << 31) - (1 << 31), third)
    if not ptr:
        raise Errno(EINVAL)
    buffer, kind = struct.unpack("<Ii", task.mm.copy_from_user(ptr, 8))
    return msg.msgrcv(task, first, buffer, second, kind, third)


@syscall("ipc", "uint int uint uint ptr uint", abi="i386", support="no 16-bit structures (commands without IPC_64)")
def compat_sys_ipc(task: Task, call: int, first: int, second: int, third: int, ptr: int, fifth: int) -> int:
    """The call in 16 bits, a version above.  ENOSYS: no such call (ipc/syscall.c: compat_ksys_ipc)."""
    version, call = call >> 16, call & 0xFFFF
    signed = (second ^ 1 << 31) - (1 << 31)
    if call in (1, 4):
        timeout = _timeout(task, fifth, False) if call == 4 else None
        return sem.semtimedop(task, first, ptr, second, timeout)
    if call == 2:
        return sem.semget(task, first, signed, third)
    if call == 3:
        if not ptr:
            raise Errno(EINVAL)
        return sys_semctl(task, first, signed, _command(third), task.mm.get_u32(ptr))
    if call == 11:
        return msg.msgsnd(task, first, ptr, second, third)
    if call == 12:
        return _ipc_msgrcv(task, version, first, second, third, ptr, fifth)
    if call == 13:
        return msg.msgget(task, first, second)
    if call == 14:
        return sys_msgctl(task, first, _command(signed), ptr)
    if call == 21:
        if version == 1:
            raise Errno(EINVAL)
        task.mm.put_u32(third, shm.shmat(task, first, ptr, second))
        return 0
    if call == 22:
        return shm.shmdt(task, ptr)
    if call == 23:
        return shm.shmget(task, first, second, third)
    if call == 24:
        return sys_shmctl(task, first, _command(signed), ptr)
    raise Errno(ENOSYS)
