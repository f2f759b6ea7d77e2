"""The two ABIs: sizes of words, layouts of structures, limits of the address space.

`ABI64` is x86_64; `ABI32` is an i386 program under a 64-bit kernel (the compat layer: asm/compat.h).
``tests/unit/test_layout.py`` compares every layout with what the host's C compiler says.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from machine.kernel.abi import siginfo, stat, unistd_32, unistd_64
from machine.kernel.abi.errno import EFAULT, EINVAL, Errno
from machine.kernel.abi.resource import RLIM_INFINITY
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.mm.space import mm_struct

NSEC_PER_SEC = 1_000_000_000
NSEC_PER_USEC = 1_000
UIO_MAXIOV = 1024
MAX_RW_COUNT = 0x7FFF_F000
"""The most that one read or write moves, bytes: INT_MAX rounded down to a page."""
USER_HZ = 100
"""Ticks a second of `clock_t` (times(2), AT_CLKTCK)."""

# The same in both ABIs.
TIMESPEC64 = struct.Struct("<qq")
ITIMERSPEC64 = struct.Struct("<qqqq")
RLIMIT64 = struct.Struct("<QQ")
UTSNAME = struct.Struct("<65s65s65s65s65s65s")
WINSIZE = struct.Struct("<HHHH")
TERMIOS = struct.Struct("<IIIIB19s")
"""`struct termios` of TCGETS: four flag words, line discipline, control characters."""
USER_DESC = struct.Struct("<IIII")
"""`struct user_desc`: entry_number, base_addr, limit, flag bits (asm/ldt.h)."""
CLONE_ARGS = struct.Struct("<11Q")
CLONE_ARGS_SIZE_VER0, CLONE_ARGS_SIZE_VER1, CLONE_ARGS_SIZE_VER2 = 64, 80, 88
SCHED_PARAM = struct.Struct("<i")
RSEQ_SIZE = 32
DIRENT64_NAME = 19
"""Offset of `d_name` in `struct linux_dirent64`."""


class clone_args(NamedTuple):
    """`struct clone_args` of clone3(2) (linux/sched.h)."""

    flags: int
    pidfd: int
    child_tid: int
    parent_tid: int
    exit_signal: int
    stack: int
    stack_size: int
    tls: int
    set_tid: int = 0
    set_tid_size: int = 0
    cgroup: int = 0


class rusage(NamedTuple):
    """`struct rusage`: times in nanoseconds, `maxrss` in KiB; fields that Linux leaves 0 are left out."""

    utime: int
    stime: int
    maxrss: int = 0
    minflt: int = 0
    majflt: int = 0
    inblock: int = 0
    oublock: int = 0
    nvcsw: int = 0
    nivcsw: int = 0


class sigaction(NamedTuple):
    """`struct sigaction` as the kernel sees it."""

    handler: int
    flags: int
    restorer: int
    mask: int


KTIME_MAX = (1 << 63) - 1
"""The longest time in nanoseconds (ktime_t): 292 years."""


def timespec_ns(seconds: int, nanoseconds: int) -> int:
    """Nanoseconds of a timespec that must be valid: EINVAL if negative or not normal (timespec64_valid).

    Seconds beyond 64 bits are negative ones to C.  What ktime_t can't hold is its largest value.
    """
    if not 0 <= seconds < 1 << 63 or not 0 <= nanoseconds < NSEC_PER_SEC:
        raise Errno(EINVAL)
    return min(seconds * NSEC_PER_SEC + nanoseconds, KTIME_MAX)


class Abi:
    """Numbers and layouts of one kind of program."""

    __slots__ = (
        "bits", "compat", "dirent_name", "elf_class", "flock", "flock64", "iovec", "itimerspec", "itimerval",
        "machine", "mask", "name", "numbers", "old_sigaction", "platform", "rlimit", "rusage", "sigaction",
        "sigevent", "sign",
        "stack_t", "sysinfo", "task_size", "timespec", "timeval", "tms", "word",
    )  # fmt: skip

    def __init__(self, bits: int) -> None:
        wide = bits == 64
        w, u = ("q", "Q") if wide else ("i", "I")
        self.name = "x86_64" if wide else "i386"
        self.bits = bits
        self.compat = not wide
        self.word = bits // 8
        """Bytes of a pointer or a long."""
        self.mask = (1 << bits) - 1
        self.sign = 1 << (bits - 1)
        self.numbers = unistd_64.NUMBERS if wide else unistd_32.NUMBERS
        self.elf_class = 2 if wide else 1
        self.machine = 62 if wide else 3  # EM_X86_64, EM_386
        self.platform = b"x86_64" if wide else b"i686"
        self.task_size = 0x7FFF_FFFF_F000 if wide else 0xFFFF_E000
        """One past the highest address of user space (TASK_SIZE, IA32_PAGE_OFFSET)."""
        self.timespec = struct.Struct("<" + w * 2)
        self.timeval = struct.Struct("<" + w * 2)
        self.itimerspec = struct.Struct("<" + w * 4)
        self.itimerval = struct.Struct("<" + w * 4)
        self.iovec = struct.Struct("<" + u * 2)
        self.rlimit = struct.Struct("<" + u * 2)
        self.rusage = struct.Struct("<" + w * 18)
        self.tms = struct.Struct("<" + w * 4)
        self.sysinfo = struct.Struct("<qQQQQQQQQQH6xQQI4x" if wide else "<iIIIIIIIIIH2xIII8x")
        self.flock = struct.Struct("<hh4xqqi4x" if wide else "<hhiii")
        self.flock64 = struct.Struct("<hh4xqqi4x" if wide else "<hhqqi")
        self.sigaction = struct.Struct("<QQQQ" if wide else "<IIIQ")
        self.old_sigaction = struct.Struct("<IIII")
        """i386 only, sigaction(2): handler, mask, flags, restorer."""
        self.stack_t = struct.Struct("<Qi4xQ" if wide else "<IiI")
        self.sigevent = struct.Struct("<Qiii44x" if wide else "<Iiii48x")
        """value, signo, notify, thread id."""
        self.dirent_name = 2 * self.word + 2
        """Offset of `d_name` in `struct linux_dirent`."""

    def __repr__(self) -> str:
        return f"<ABI {self.name}>"

    # words -----------------------------------------------------------------------------------
    def get_word(self, mm: mm_struct, addr: int) -> int:
        """The unsigned long at `addr`; EFAULT."""
        return mm.get_u64(addr) if self.bits == 64 else mm.get_u32(addr)

    def put_word(self, mm: mm_struct, addr: int, value: int) -> None:
        """Write a long at `addr`, cut to its size; EFAULT."""
        if self.bits == 64:
            mm.put_u64(addr, value & 0xFFFF_FFFF_FFFF_FFFF)
        else:
            mm.put_u32(addr, value & 0xFFFF_FFFF)

    def signed(self, value: int) -> int:
        """A long of this ABI as Python's signed int (cut to its size)."""
        return ((value & self.mask) ^ self.sign) - self.sign

    # time ------------------------------------------------------------------------------------
    def pack_timespec(self, ns: int) -> bytes:
        """`struct timespec` (of time32 on i386) for nanoseconds."""
        seconds, rest = divmod(ns, NSEC_PER_SEC)
        return self.timespec.pack(self.signed(seconds), rest)

    def pack_timeval(self, ns: int) -> bytes:
        """`struct timeval` for nanoseconds."""
        seconds, rest = divmod(ns, NSEC_PER_SEC)
        return self.timeval.pack(self.signed(seconds), rest // NSEC_PER_USEC)

    def get_timespec(self, mm: mm_struct, addr: int) -> tuple[int, int]:
        """(seconds, nanoseconds) at `addr`, unchecked; EFAULT."""
        seconds, ns = self.timespec.unpack(mm.copy_from_user(addr, self.timespec.size))
        return seconds, ns

    def get_timespec64(self, mm: mm_struct, addr: int) -> tuple[int, int]:
        """The same for `struct __kernel_timespec`; i386 leaves rubbish above 32 bits of tv_nsec
        (kernel/time/time.c: get_timespec64)."""
        seconds, ns = TIMESPEC64.unpack(mm.copy_from_user(addr, 16))
        return seconds, ns & 0xFFFF_FFFF if self.compat else ns

    def get_timeval(self, mm: mm_struct, addr: int) -> tuple[int, int]:
        """(seconds, microseconds) at `addr`, unchecked; EFAULT."""
        seconds, us = self.timeval.unpack(mm.copy_from_user(addr, self.timeval.size))
        return seconds, us

    # memory and files ----------------------------------------------------------------------
    def iovec_from_user(self, mm: mm_struct, addr: int, count: int) -> list[tuple[int, int]]:
        """(base, length) of each vector, whose memory may be another process's (lib/iov_iter.c).

        EINVAL when count is not 0..1024 or a length is negative; EFAULT for the array.
        """
        if not 0 <= count <= UIO_MAXIOV:
            raise Errno(EINVAL)
        if count == 0:
            return []
        vectors: list[tuple[int, int]] = list(self.iovec.iter_unpack(mm.copy_from_user(addr, count * self.iovec.size)))
        if any(length & self.sign for _, length in vectors):
            raise Errno(EINVAL)
        return vectors

    def read_iovec(self, mm: mm_struct, addr: int, count: int) -> list[tuple[int, int]]:
        """(base, length) of each vector, of this process (lib/iov_iter.c: import_iovec).

        As `iovec_from_user`; EFAULT, too, for a base outside user space.  The lengths' sum is cut to MAX_RW_COUNT.
        """
        vectors: list[tuple[int, int]] = []
        left = MAX_RW_COUNT
        for base, length in self.iovec_from_user(mm, addr, count):
            if base + length > self.task_size:
                raise Errno(EFAULT)
            length = min(length, left)
            left -= length
            vectors.append((base, length))
        return vectors

    def pack_stat(self, node: Any) -> bytes:
        """`struct stat` of x86_64; `struct stat64` of i386."""
        return stat.pack_stat_64(node) if self.bits == 64 else stat.pack_stat64_i386(node)

    def pack_old_stat(self, node: Any) -> bytes:
        """What stat(2), lstat(2) and fstat(2) by their first numbers give (i386: 16-bit uids); EOVERFLOW."""
        return stat.pack_stat_64(node) if self.bits == 64 else stat.pack_stat_i386(node)

    def pack_statx(self, node: Any, mask: int = stat.STATX_BASIC_STATS) -> bytes:
        """`struct statx`."""
        return stat.pack_statx(node, mask)

    def pack_statfs(self, info: stat.kstatfs) -> bytes:
        """`struct statfs` of statfs(2); EOVERFLOW on i386."""
        return stat.pack_statfs_64(info) if self.bits == 64 else stat.pack_statfs_i386(info)

    def pack_statfs64(self, info: stat.kstatfs) -> bytes:
        """`struct statfs64` of statfs64(2), 84 bytes on i386."""
        return stat.pack_statfs_64(info) if self.bits == 64 else stat.pack_statfs64_i386(info)

    def pack_dirent64(self, ino: int, off: int, d_type: int, name: bytes) -> bytes:
        """One `struct linux_dirent64`, padded to 8 bytes (fs/readdir.c: filldir64)."""
        length = (DIRENT64_NAME + len(name) + 1 + 7) & ~7
        return struct.pack("<QqHB", ino, off, length, d_type) + name.ljust(length - DIRENT64_NAME, b"\0")

    def pack_dirent(self, ino: int, off: int, d_type: int, name: bytes) -> bytes:
        """One `struct linux_dirent`: the type is its last byte (fs/readdir.c: filldir)."""
        length = (self.dirent_name + len(name) + 2 + self.word - 1) & -self.word
        head = struct.pack("<QQH" if self.bits == 64 else "<IIH", ino & self.mask, off & self.mask, length)
        return head + name.ljust(length - self.dirent_name - 1, b"\0") + bytes([d_type])

    # processes -----------------------------------------------------------------------------
    def pack_rusage(self, usage: rusage) -> bytes:
        """`struct rusage` (kernel/sys.c: getrusage)."""
        cut = self.signed
        user, system = divmod(usage.utime, NSEC_PER_SEC), divmod(usage.stime, NSEC_PER_SEC)
        return self.rusage.pack(
            cut(user[0]), user[1] // 1000, cut(system[0]), system[1] // 1000, cut(usage.maxrss), 0, 0, 0,
            cut(usage.minflt), cut(usage.majflt), 0, cut(usage.inblock), cut(usage.oublock), 0, 0, 0,
            cut(usage.nvcsw), cut(usage.nivcsw),
        )  # fmt: skip

    def pack_rlimit(self, soft: int, hard: int) -> bytes:
        """`struct rlimit`: what does not fit in 32 bits is that ABI's RLIM_INFINITY (put_compat_rlimit)."""
        return self.rlimit.pack(min(soft, self.mask), min(hard, self.mask))

    def unpack_rlimit(self, data: bytes) -> tuple[int, int]:
        """(soft, hard), RLIM_INFINITY widened."""
        soft, hard = self.rlimit.unpack(data)
        return (
            RLIM_INFINITY if soft == self.mask else soft,
            RLIM_INFINITY if hard == self.mask else hard,
        )

    def pack_sigaction(self, action: sigaction) -> bytes:
        """`struct sigaction` of rt_sigaction(2)."""
        mask = self.mask
        return self.sigaction.pack(action.handler & mask, action.flags & mask, action.restorer & mask, action.mask)

    def unpack_sigaction(self, data: bytes) -> sigaction:
        """The other way."""
        handler, flags, restorer, mask = self.sigaction.unpack(data)
        return sigaction(handler, flags & 0xFFFF_FFFF, restorer, mask)

    def pack_siginfo(self, signo: int, errno: int, code: int, fields: dict[str, int]) -> bytes:
        """`siginfo_t`, 128 bytes; the names of `fields` by layout stand in `abi/siginfo.py`."""
        return siginfo.pack_siginfo(self.bits, signo, errno, code, fields)

    def unpack_siginfo(self, data: bytes) -> tuple[int, int, int, dict[str, int]]:
        """(signo, errno, code, fields)."""
        return siginfo.unpack_siginfo(self.bits, data)


ABI64 = Abi(64)
ABI32 = Abi(32)
