"""System V shared memory: segments of tmpfs that processes attach (ipc/shm.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Optional

from machine.hardware.ram import PAGE_SHIFT, PAGE_SIZE
from machine.kernel.abi.capability import CAP_IPC_LOCK
from machine.kernel.abi.errno import EIDRM, EINVAL, ENOMEM, ENOSPC, EPERM, Errno
from machine.kernel.abi.mman import (
    MAP_FIXED,
    MAP_HUGE_MASK,
    MAP_HUGE_SHIFT,
    MAP_SHARED,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
)
from machine.kernel.abi.resource import RLIMIT_MEMLOCK
from machine.kernel.capability import capable
from machine.kernel.fs.file import O_RDONLY, O_RDWR, file, file_operations, vm_operations_struct
from machine.kernel.fs.tmpfs import shmem_file_setup
from machine.kernel.ipc.util import S_IRUGO, S_IWUGO, ipc_ids, kern_ipc_perm, now, times
from machine.kernel.mm.filemap import filemap_nopage
from machine.kernel.mm.limits import enough_memory
from machine.kernel.mm.mmap import do_mmap
from machine.kernel.mm.munmap import do_munmap
from machine.kernel.mm.vma import vm_area_struct

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

SHM_RDONLY, SHM_RND, SHM_REMAP, SHM_EXEC = 0o10000, 0o20000, 0o40000, 0o100000
SHM_HUGETLB, SHM_NORESERVE = 0o4000, 0o10000
SHM_DEST, SHM_LOCKED = 0o1000, 0o2000
SHMLBA = PAGE_SIZE
SHMMAX = SHMALL = (1 << 64) - 1 - (1 << 24)
"""Bytes of a segment, pages of all."""


class shmid_kernel(kern_ipc_perm):
    """A segment: its pages are an unlinked file in memory."""

    def __init__(self, task: Task, key: int, mode: int, size: int) -> None:
        super().__init__(task, key, mode)
        self.kernel = task.kernel
        self.size = size
        """Bytes, as asked for."""
        self.file: file = shmem_file_setup(task.kernel, f"SYSV{key & 0xFFFFFFFF:08x}", size)
        self.nattch = 0
        self.atime = self.dtime = 0
        self.ctime = now(task.kernel)
        self.cpid = task.tgid
        self.lpid = 0
        self.locked_by: Optional[int] = None
        """The user whose RLIMIT_MEMLOCK it counts for."""

    def pages(self) -> int:
        """Of the size, in memory or not."""
        return (self.size + PAGE_SIZE - 1) >> PAGE_SHIFT

    def resident(self) -> int:
        """Pages that were touched."""
        return len(self.file.f_inode.i_mapping.pages)

    def attached(self) -> None:
        """One more area (__shm_open)."""
        self.nattch += 1
        self.atime = now(self.kernel)
        self.lpid = _pid(self.kernel)

    def detached(self) -> None:
        """One less; the last one of a removed segment frees it (shm_close)."""
        self.nattch -= 1
        self.dtime = now(self.kernel)
        self.lpid = _pid(self.kernel)
        if not self.nattch and self.mode & SHM_DEST:
            self.destroy()

    def destroy(self) -> None:
        """The identifier and the pages go (shm_destroy)."""
        self.kernel.ipc.shm.remove(self)
        self.file.put()

    def pack_stat(self, task: Task) -> bytes:
        """`struct shmid64_ds`."""
        if task.abi.bits == 64:
            rest = struct.pack("<iiQ16x", self.cpid, self.lpid, self.nattch)
            return (
                self.pack(task) + struct.pack("<Q", self.size) + times(task, self.atime, self.dtime, self.ctime) + rest
            )
        rest = struct.pack("<iiI8x", self.cpid, self.lpid, self.nattch)
        size = struct.pack("<I", min(self.size, 0xFFFFFFFF))
        return self.pack(task) + size + times(task, self.atime, self.dtime, self.ctime) + rest


def _pid(kernel: Kernel) -> int:
    return 0 if kernel.current is None else kernel.current.tgid


def ids(kernel: Kernel) -> ipc_ids[shmid_kernel]:
    """The machine's segments."""
    return kernel.ipc.shm


# -- attached areas ------------------------------------------------------------------------------------


def _segment(vma: vm_area_struct) -> shmid_kernel:
    found = vma.vm_private_data
    assert isinstance(found, shmid_kernel)
    return found


def _shm_open(vma: vm_area_struct) -> None:
    _segment(vma).attached()


def _shm_close(vma: vm_area_struct) -> None:
    _segment(vma).detached()


shm_vm_ops = vm_operations_struct(open=_shm_open, close=_shm_close, nopage=filemap_nopage)


class ShmOperations(file_operations):
    """The file of one attachment."""

    def mmap(self, filp: file, vma: vm_area_struct) -> int:
        segment = filp.private_data
        vma.vm_ops = shm_vm_ops
        vma.vm_private_data = segment
        segment.attached()
        return 0


shm_file_operations = ShmOperations()


# -- the calls ---------------------------------------------------------------------------------------


def shmget(task: Task, key: int, size: int, flags: int) -> int:
    """EINVAL: no size, or more than the segment has; ENOSPC, ENOMEM, and `ipc_ids.get`."""

    def new() -> shmid_kernel:
        if not 1 <= size <= SHMMAX:
            raise Errno(EINVAL)
        if flags & SHM_HUGETLB:
            if flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK not in (0, 21, 30):
                raise Errno(EINVAL)  # no such size of page
            raise Errno(ENOMEM)  # the pool of huge pages is empty
        ids(task.kernel).check_room()
        pages = (size + PAGE_SIZE - 1) >> PAGE_SHIFT
        if pages > SHMALL:
            raise Errno(ENOSPC)
        if not flags & SHM_NORESERVE and not enough_memory(task.mm, pages):
            raise Errno(ENOMEM)
        return shmid_kernel(task, key, flags, size)

    def check(found: shmid_kernel) -> None:
        if size > found.size:
            raise Errno(EINVAL)

    number = ids(task.kernel).get(key, flags, task, new, check)
    segment = ids(task.kernel).find(number)
    segment.file.f_inode.i_ino = number
    return number


def shmat(task: Task, number: int, address: int, flags: int) -> int:
    """The address of a new attachment: EINVAL for a bad identifier or address, EACCES, EIDRM, ENOMEM (do_shmat)."""
    if number < 0:
        raise Errno(EINVAL)
    how = MAP_SHARED
    if address:
        if address & (SHMLBA - 1):
            if not flags & SHM_RND:
                raise Errno(EINVAL)
            address &= ~(SHMLBA - 1)
            if not address and flags & SHM_REMAP:
                raise Errno(EINVAL)
        how |= MAP_FIXED
    elif flags & SHM_REMAP:
        raise Errno(EINVAL)
    prot, access, mode = PROT_READ, S_IRUGO, O_RDONLY
    if not flags & SHM_RDONLY:
        prot, access, mode = prot | PROT_WRITE, access | S_IWUGO, O_RDWR
    if flags & SHM_EXEC:
        prot, access = prot | PROT_EXEC, access | 0o111
    segment = ids(task.kernel).find(number)
    segment.check(task, access)
    if segment.deleted:
        raise Errno(EIDRM)
    if address and not flags & SHM_REMAP:
        end = address + segment.size
        if end >> task.abi.bits or task.mm.areas.within(address, end):
            raise Errno(EINVAL)
    where = segment.file
    filp = file(where.f_dentry, mode, shm_file_operations, where.f_path)
    filp.private_data = segment
    segment.nattch += 1  # a removal while a driver's area is closed must not free it
    try:
        return do_mmap(task.mm, filp, address, segment.size, prot, how, 0)
    finally:
        filp.put()
        segment.nattch -= 1
        if not segment.nattch and segment.mode & SHM_DEST:
            segment.destroy()


def shmdt(task: Task, address: int) -> int:
    """Unmap what is left of the attachment that began at `address`; EINVAL when there is none (ksys_shmdt)."""
    if address & (PAGE_SIZE - 1):
        raise Errno(EINVAL)
    mm = task.mm
    filp: Optional[file] = None
    for vma in list(mm.areas):
        if vma.vm_start < address or vma.vm_ops is not shm_vm_ops:
            continue
        begins_there = vma.vm_start - address == vma.vm_pgoff << PAGE_SHIFT
        if begins_there and (filp is None or vma.vm_file is filp):
            filp = vma.vm_file
            do_munmap(mm, vma.vm_start, vma.vm_end - vma.vm_start)
    if filp is None:
        raise Errno(EINVAL)
    return 0


def shm_rmid(task: Task, segment: shmid_kernel) -> None:
    """IPC_RMID: at once, or when the last attachment goes; until then only the key is gone (do_shm_rmid)."""
    segment.check_owner(task)
    if segment.nattch:
        segment.mode |= SHM_DEST
        ids(task.kernel).forget_key(segment)
        segment.key = 0
    else:
        segment.destroy()


def shm_lock(task: Task, segment: shmid_kernel, lock: bool) -> None:
    """SHM_LOCK, SHM_UNLOCK: nothing is ever swapped out, so only the mode shows it.  EPERM; ENOMEM beyond
    RLIMIT_MEMLOCK of what the user has locked (user_shm_lock)."""
    limit = task.signal.rlimits[RLIMIT_MEMLOCK][0]
    if not capable(task, CAP_IPC_LOCK) and (task.euid not in (segment.uid, segment.cuid) or (lock and not limit)):
        raise Errno(EPERM)
    if lock and segment.locked_by is None:
        others = sum(each.pages() for each in ids(task.kernel).slots.values() if each.locked_by == task.uid)
        if others + segment.pages() > limit >> PAGE_SHIFT and not capable(task, CAP_IPC_LOCK):
            raise Errno(ENOMEM)
    segment.locked_by = None if not lock else task.uid if segment.locked_by is None else segment.locked_by
    segment.mode = segment.mode | SHM_LOCKED if lock else segment.mode & ~SHM_LOCKED


def proc_sysvipc_shm(kernel: Kernel) -> str:
    """/proc/sysvipc/shm (sysvipc_shm_proc_show)."""
    head = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid"
    lines = [head + "      atime      dtime      ctime                   rss                  swap\n"]
    for s in ids(kernel).slots.values():
        lines.append(
            f"{s.key:10d} {s.id:10d}  {s.mode:4o} {s.size:21d} {s.cpid:5d} {s.lpid:5d}  {s.nattch:5d} {s.uid:5d}"
            f" {s.gid:5d} {s.cuid:5d} {s.cgid:5d} {s.atime:10d} {s.dtime:10d} {s.ctime:10d}"
            f" {s.resident() << PAGE_SHIFT:21d} {0:21d}\n"
        )
    return "".join(lines)
