"""The machine's name, randomness, thread areas and other small calls."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from machine.hardware.cpu import DS, ES, FS, FS_BASE, GS, GS_BASE
from machine.hardware.gdt import GDT_ENTRY_TLS_MIN
from machine.kernel.abi.capability import CAP_SYS_ADMIN
from machine.kernel.abi.errno import EFAULT, EINVAL, ENODEV, EPERM, ESRCH, Errno
from machine.kernel.abi.layout import NSEC_PER_SEC, USER_DESC, UTSNAME
from machine.kernel.abi.utsname import UTS_RELEASE, UTS_SYSNAME, UTS_VERSION
from machine.kernel.capability import capable
from machine.kernel.syscalls.table import syscall
from machine.kernel.task.ptrace import may_access
from machine.kernel.task.rseq import rseq_register
from machine.kernel.task.tls import get_tls_entry, set_tls_entry

if TYPE_CHECKING:
    from machine.kernel.task.task import Task

NEW_UTS_LEN = 64
PER_MASK, PER_LINUX32 = 0xFF, 8
GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE = 1, 2, 4
MAX_RANDOM = 1 << 20
"""How much getrandom makes at a time, bytes."""
ARCH_SET_GS, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS, ARCH_GET_CPUID, ARCH_SET_CPUID = (
    0x1001, 0x1002, 0x1003, 0x1004, 0x1011, 0x1012,
)  # fmt: skip
ROBUST_LIST_HEAD = {64: 24, 32: 12}


# -- uname -----------------------------------------------------------------------------------------------


def _names(task: Task) -> list[bytes]:
    """sysname, nodename, release, version, machine, domainname."""
    kernel = task.kernel
    machine = b"i686" if task.personality & PER_MASK == PER_LINUX32 else b"x86_64"
    host, domain = os.fsencode(kernel.hostname), os.fsencode(kernel.domainname)
    return [UTS_SYSNAME.encode(), host, UTS_RELEASE.encode(), UTS_VERSION.encode(), machine, domain]


@syscall("uname", "ptr:uname>")
def sys_newuname(task: Task, address: int) -> int:
    task.mm.copy_to_user(address, UTSNAME.pack(*_names(task)))
    return 0


@syscall("olduname", "ptr", abi="i386")
def sys_uname(task: Task, address: int) -> int:
    """The second one: no domain name."""
    task.mm.copy_to_user(address, UTSNAME.pack(*_names(task))[: 5 * 65])
    return 0


@syscall("oldolduname", "ptr", abi="i386")
def sys_olduname(task: Task, address: int) -> int:
    """The first one: names of 8 characters."""
    task.mm.copy_to_user(address, b"".join(name[:8].ljust(9, b"\0") for name in _names(task)[:5]))
    return 0


def _new_name(task: Task, address: int, length: int) -> str:
    if not capable(task, CAP_SYS_ADMIN):
        raise Errno(EPERM)
    if not 0 <= length <= NEW_UTS_LEN:
        raise Errno(EINVAL)
    return os.fsdecode(task.mm.copy_from_user(address, length).split(b"\0", 1)[0])


@syscall("sethostname", "ptr:data int")
def sys_sethostname(task: Task, address: int, length: int) -> int:
    task.kernel.hostname = _new_name(task, address, length)
    return 0


@syscall("setdomainname", "ptr:data int")
def sys_setdomainname(task: Task, address: int, length: int) -> int:
    task.kernel.domainname = _new_name(task, address, length)
    return 0


# -- randomness -----------------------------------------------------------------------------------------------


@syscall("getrandom", "ptr:random> size flags:GRND_")
def sys_getrandom(task: Task, address: int, count: int, flags: int) -> int:
    """Bytes written, fewer where memory ends; EFAULT if none could be; EINVAL for flags."""
    if flags & ~(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) or flags & 6 == 6:
        raise Errno(EINVAL)
    done, count = 0, min(count, 0x7FFF_F000)
    while done < count:
        piece = task.kernel.random_bytes(min(MAX_RANDOM, count - done))
        wrote = task.mm.write_some(address + done, piece)
        done += wrote
        if wrote < len(piece):
            break
    if count and not done:
        raise Errno(EFAULT)
    return done


# -- the machine's state ----------------------------------------------------------------------------------------


@syscall("sysinfo", "ptr")
def sys_sysinfo(task: Task, address: int) -> int:
    kernel = task.kernel
    mem = kernel.mem
    seconds = kernel.clock.monotonic_ns() // NSEC_PER_SEC
    unit = 1 if task.abi.bits == 64 else 4096  # compat: sizes in pages as soon as bytes may not fit
    counts = mem.total_frames(), mem.free_frames(), kernel.vfs.shmem_frames()
    total, free, shared = ((frames << 12) // unit for frames in counts)
    tasks = min(len(kernel.tasks), 0xFFFF)
    figures = task.abi.sysinfo.pack(seconds, 0, 0, 0, total, free, shared, 0, 0, 0, tasks, 0, 0, unit)
    task.mm.copy_to_user(address, figures)
    return 0


@syscall("personality", "uint", sleeps=False)
def sys_personality(task: Task, persona: int) -> int:
    """Returns the old one; 0xffffffff only asks."""
    old = task.personality
    if persona != 0xFFFF_FFFF:
        task.personality = persona
    return old


@syscall("umask", "int:oct", sleeps=False, result="oct")
def sys_umask(task: Task, mask: int) -> int:
    """Returns the old mask."""
    old = task.fs.umask
    task.fs.umask = mask & 0o777
    return old


# -- threads -----------------------------------------------------------------------------------------------------


@syscall("set_tid_address", "ptr", sleeps=False)
def sys_set_tid_address(task: Task, address: int) -> int:
    task.clear_child_tid = address
    return task.pid


@syscall("set_robust_list", "ptr size", sleeps=False)
def sys_set_robust_list(task: Task, head: int, length: int) -> int:
    if length != ROBUST_LIST_HEAD[task.abi.bits]:
        raise Errno(EINVAL)
    task.robust_list = (head, length)
    return 0


@syscall("get_robust_list", "pid ptr ptr")
def sys_get_robust_list(task: Task, pid: int, head: int, length: int) -> int:
    target = task if pid == 0 else task.kernel.tasks.get(pid)
    if target is None:
        raise Errno(ESRCH)
    if not may_access(task, target):
        raise Errno(EPERM)
    task.abi.put_word(task.mm, length, ROBUST_LIST_HEAD[task.abi.bits])
    task.abi.put_word(task.mm, head, target.robust_list[0])
    return 0


@syscall("rseq", "ptr uint:x int:x uint:x")
def sys_rseq(task: Task, address: int, length: int, flags: int, signature: int) -> int:
    return rseq_register(task, address, length, flags, signature)


@syscall("arch_prctl", "int:ARCH_ ulong:x")
def sys_arch_prctl(task: Task, option: int, address: int) -> int:
    """EPERM: a base outside user space; EFAULT; EINVAL: unknown (CET and AMX among them); ENODEV."""
    cpu = task.kernel.cpu
    if option == ARCH_GET_CPUID:
        return 1
    if option == ARCH_SET_CPUID:
        raise Errno(ENODEV)
    if task.abi.bits == 32:
        raise Errno(EINVAL)
    if option in (ARCH_SET_FS, ARCH_SET_GS):
        if address >= task.abi.task_size:
            raise Errno(EPERM)
        cpu.set_register(FS_BASE if option == ARCH_SET_FS else GS_BASE, address)
    elif option in (ARCH_GET_FS, ARCH_GET_GS):
        task.mm.put_u64(address, cpu.get_register(FS_BASE if option == ARCH_GET_FS else GS_BASE))
    else:
        raise Errno(EINVAL)
    return 0


@syscall("set_thread_area", "ptr", abi="i386")
def sys_set_thread_area(task: Task, address: int) -> int:
    """Entry -1 asks for a free one, whose number is written back.  ESRCH: none; EINVAL; EFAULT."""
    description = USER_DESC.unpack(task.mm.copy_from_user(address, USER_DESC.size))
    number = set_tls_entry(task.tls_array, description, can_allocate=True)
    if description[0] == 0xFFFF_FFFF:
        task.mm.put_u32(address, number)
    task.kernel.sched.load_tls(task)
    cpu = task.kernel.cpu
    descriptor = task.tls_array[number - GDT_ENTRY_TLS_MIN]
    for segment in (DS, ES, FS, GS):  # one that is loaded with it has the new base at once (do_set_thread_area)
        selector = cpu.get_register(segment) & 0xFFFF
        if selector >> 3 == number:
            cpu.load_segment(segment, selector if descriptor else 0, descriptor)
    return 0


@syscall("get_thread_area", "ptr", abi="i386")
def sys_get_thread_area(task: Task, address: int) -> int:
    number = struct.unpack("<I", task.mm.copy_from_user(address, 4))[0]
    task.mm.copy_to_user(address, USER_DESC.pack(*get_tls_entry(task.tls_array, number)))
    return 0
