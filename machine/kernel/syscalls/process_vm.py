"""process_vm_readv(2) and process_vm_writev(2): the memory of another process (mm/process_vm_access.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.errno import EFAULT, EINVAL, EPERM, ESRCH, Errno
from machine.kernel.fs.read_write import CHUNK, Vectors, gather, scatter
from machine.kernel.mm.vma import VM_IO, VM_PFNMAP
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.ptrace import may_access

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct
    from machine.kernel.task.task import Task


@syscall("process_vm_readv", "pid ptr ulong ptr ulong ulong")
def sys_process_vm_readv(task: Task, pid: int, local: int, count: int, remote: int, remotes: int, flags: int) -> int:
    """The bytes copied, fewer where the other's memory ends; EFAULT when there is nothing at its first byte."""
    vectors, others, mm = _arguments(task, pid, local, count, remote, remotes, flags)

    def move(done: int, size: int) -> int:
        data = _collect(mm, _window(others, done, size))
        return scatter(task, vectors, done, data) if data else 0

    return _in_pieces(task, vectors, others, move)


@syscall("process_vm_writev", "pid ptr ulong ptr ulong ulong")
def sys_process_vm_writev(task: Task, pid: int, local: int, count: int, remote: int, remotes: int, flags: int) -> int:
    """The bytes copied; EFAULT when nothing could be."""
    vectors, others, mm = _arguments(task, pid, local, count, remote, remotes, flags)

    def move(done: int, size: int) -> int:
        data, wrote = gather(task, vectors, done, size), 0
        for base, length in _window(others, done, len(data)):
            put = _put(mm, base, data[wrote : wrote + length])
            wrote += put
            if put < length:
                break
        return wrote

    return _in_pieces(task, vectors, others, move)


def _in_pieces(task: Task, vectors: Vectors, others: Vectors, move: Callable[[int, int], int]) -> int:
    """`move(done, size)` until all is, or a piece is short, or the task was killed; EFAULT when nothing was moved."""
    wanted = min(sum(length for _, length in vectors), sum(length for _, length in others))
    done = 0
    while done < wanted:
        size = min(CHUNK, wanted - done)
        moved = move(done, size)
        done += moved
        if moved < size or task.kernel.sched.break_off():
            break
    if wanted and not done:
        raise Errno(EFAULT)
    return done


def _window(vectors: Vectors, skip: int, count: int) -> Vectors:
    """The parts of the vectors that hold `count` bytes from the `skip`th on."""
    found = []
    for base, length in vectors:
        if skip < length and count:
            found.append((base + skip, min(length - skip, count)))
            count -= found[-1][1]
        skip = max(0, skip - length)
    return found


def _arguments(
    task: Task, pid: int, local: int, count: int, remote: int, remotes: int, flags: int
) -> tuple[Vectors, Vectors, mm_struct]:
    """EINVAL: flags, too many vectors, a negative length; ESRCH: no such process, or one without memory; EPERM: not
    ours to look at.  Where nothing is to be copied nobody looks for the process (process_vm_rw, process_vm_rw_core)."""
    if flags:
        raise Errno(EINVAL)
    vectors = task.abi.read_iovec(task.mm, local, count)
    if not any(length for _, length in vectors):
        return [], [], task.mm
    others = task.abi.iovec_from_user(task.mm, remote, remotes)
    if not any(length for _, length in others):
        return [], [], task.mm
    other = task.kernel.tasks.get(pid)
    mm = getattr(other, "mm", None)
    if other is None or mm is None:
        raise Errno(ESRCH)
    if not may_access(task, other):
        raise Errno(EPERM)
    return vectors, others, mm


def _reachable(mm: mm_struct, address: int) -> bool:
    """Pages of devices are not (mm/gup.c: check_vma_flags)."""
    vma = mm.vma_at(address)
    return vma is not None and not vma.vm_flags & (VM_IO | VM_PFNMAP)


def _collect(mm: mm_struct, vectors: Vectors) -> bytes:
    """Up to the first byte that can't be had: what comes behind it has no place (process_vm_rw_core)."""
    parts = []
    for base, length in vectors:
        parts.append(_pieces(mm, base, length))
        if len(parts[-1]) < length:
            break
    return b"".join(parts)


def _pieces(mm: mm_struct, address: int, count: int) -> bytes:
    parts = []
    while count > 0 and _reachable(mm, address):
        piece = min(count, PAGE_SIZE - address % PAGE_SIZE)
        data = mm.read_some(address, piece)
        parts.append(data)
        if len(data) < piece:
            break
        address += piece
        count -= piece
    return b"".join(parts)


def _put(mm: mm_struct, address: int, data: bytes) -> int:
    done = 0
    while done < len(data) and _reachable(mm, address + done):
        piece = data[done : done + PAGE_SIZE - (address + done) % PAGE_SIZE]
        wrote = mm.write_some(address + done, piece)
        done += wrote
        if wrote < len(piece):
            break
    return done
