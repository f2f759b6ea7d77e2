"""Restartable sequences: a record in user memory that says on which CPU a thread runs (kernel/rseq.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from machine.hardware.cpu import RIP
from machine.kernel.abi.errno import EBUSY, EFAULT, EINVAL, EPERM, Errno

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

ORIG_RSEQ_SIZE = 32
RSEQ_ALIGN = 32
RSEQ_FLAG_UNREGISTER = 1
CPU_ID_UNINITIALIZED = 0xFFFF_FFFF
_HEAD = struct.Struct("<II")
_CS_AT = 8
"""Offset of `rseq_cs`, a pointer to the descriptor of the running critical section."""
_CS = struct.Struct("<IIQQQ")


def rseq_register(task: Task, address: int, length: int, flags: int, signature: int) -> int:
    """rseq(2).  EINVAL, EPERM (wrong signature), EBUSY (registered already), EFAULT.

    `task.rseq` is (address, length, signature), address 0 while there is none.
    """
    old, old_length, old_signature = task.rseq
    if flags & RSEQ_FLAG_UNREGISTER:
        if flags != RSEQ_FLAG_UNREGISTER or not old or address != old or length != old_length:
            raise Errno(EINVAL)
        if signature != old_signature:
            raise Errno(EPERM)
        task.mm.copy_to_user(address, _HEAD.pack(0, CPU_ID_UNINITIALIZED))
        task.rseq = (0, 0, 0)
        return 0
    if flags:
        raise Errno(EINVAL)
    if old:
        if address != old or length != old_length:
            raise Errno(EINVAL)
        raise Errno(EPERM if signature != old_signature else EBUSY)
    if length < ORIG_RSEQ_SIZE or address % RSEQ_ALIGN:
        raise Errno(EINVAL)
    if address + length > task.mm.task_size:
        raise Errno(EFAULT)
    task.mm.copy_to_user(address, _HEAD.pack(0, 0))
    task.mm.copy_to_user(address + 20, bytes(8))  # node_id, mm_cid
    task.rseq = (address, length, signature)
    return 0


def rseq_abort(task: Task) -> bool:
    """The thread was preempted or gets a signal: if it was inside a critical section, send it to the abort
    handler (rseq_ip_fixup).  False: its descriptor is bad, and Linux answers with SIGSEGV.

    Call with the task's registers in the image.
    """
    address, _, signature = task.rseq
    try:
        pointer = task.mm.get_u64(address + _CS_AT)
        if not pointer:
            return True
        regs = task.kernel.cpu.regs
        version, _flags, start, length, abort = _CS.unpack(task.mm.copy_from_user(pointer, _CS.size))
        size = task.mm.task_size
        if version or max(start, start + length, abort) >= size or start <= abort < start + length:
            return False
        if task.mm.get_u32(abort - 4) != signature:
            return False
        task.mm.put_u64(address + _CS_AT, 0)
    except Errno:
        return False
    if start <= regs[RIP] < start + length:
        regs[RIP] = abort
    return True
