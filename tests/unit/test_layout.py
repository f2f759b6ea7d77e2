"""Every layout of `machine.kernel.abi` against the host's C compiler and kernel headers."""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from machine.kernel.abi import layout, signal, stat
from machine.kernel.abi.errno import EINVAL, EOVERFLOW, Errno
from machine.kernel.abi.layout import ABI32, ABI64, Abi

HEADERS = """
#include <stddef.h>
#include <stdio.h>
#include <linux/types.h>
#include <linux/time.h>
#include <linux/time_types.h>
#include <linux/uio.h>
#include <linux/resource.h>
#include <linux/sysinfo.h>
#include <linux/times.h>
#include <linux/utsname.h>
#include <asm/stat.h>
#include <linux/stat.h>
#include <asm/statfs.h>
#include <asm/fcntl.h>
#include <asm/signal.h>
#include <asm/siginfo.h>
#include <asm/ldt.h>
#include <asm/termbits.h>
#include <asm/termios.h>
#include <linux/sched.h>
"""

STAT = "st_dev st_ino st_nlink st_mode st_uid st_gid st_rdev st_size st_blksize st_blocks"
TIMES = "st_atime st_atime_nsec st_mtime st_mtime_nsec st_ctime st_ctime_nsec"
STAT32 = f"st_dev st_ino st_mode st_nlink st_uid st_gid st_rdev st_size st_blksize st_blocks {TIMES}"
STAT64_32 = f"st_dev __st_ino st_mode st_nlink st_uid st_gid st_rdev st_size st_blksize st_blocks {TIMES} st_ino"
STATX = (
    "stx_mask stx_blksize stx_attributes stx_nlink stx_uid stx_gid stx_mode stx_ino stx_size stx_blocks "
    "stx_attributes_mask stx_atime.tv_sec stx_atime.tv_nsec stx_btime.tv_sec stx_btime.tv_nsec stx_ctime.tv_sec "
    "stx_ctime.tv_nsec stx_mtime.tv_sec stx_mtime.tv_nsec stx_rdev_major stx_rdev_minor stx_dev_major "
    "stx_dev_minor stx_mnt_id"
)
STATFS = "f_type f_bsize f_blocks f_bfree f_bavail f_files f_ffree f_fsid f_namelen f_frsize f_flags"
RUSAGE = (
    "ru_utime.tv_sec ru_utime.tv_usec ru_stime.tv_sec ru_stime.tv_usec ru_maxrss ru_ixrss ru_idrss ru_isrss "
    "ru_minflt ru_majflt ru_nswap ru_inblock ru_oublock ru_msgsnd ru_msgrcv ru_nsignals ru_nvcsw ru_nivcsw"
)
SYSINFO = (
    "uptime loads[0] loads[1] loads[2] totalram freeram sharedram bufferram totalswap freeswap procs totalhigh "
    "freehigh mem_unit"
)
FLOCK = "l_type l_whence l_start l_len l_pid"
SIGACTION = "sa_handler sa_flags sa_restorer sa_mask"
CLONE = "flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup"


def rows(abi: Abi) -> list[tuple[str, struct.Struct, str]]:
    """(C type, Struct, C fields) for one ABI."""
    common = [
        ("struct timespec", abi.timespec, "tv_sec tv_nsec"),
        ("struct timeval", abi.timeval, "tv_sec tv_usec"),
        ("struct __kernel_timespec", layout.TIMESPEC64, "tv_sec tv_nsec"),
        ("struct itimerspec", abi.itimerspec,
         "it_interval.tv_sec it_interval.tv_nsec it_value.tv_sec it_value.tv_nsec"),
        ("struct __kernel_itimerspec", layout.ITIMERSPEC64,
         "it_interval.tv_sec it_interval.tv_nsec it_value.tv_sec it_value.tv_nsec"),
        ("struct itimerval", abi.itimerval,
         "it_interval.tv_sec it_interval.tv_usec it_value.tv_sec it_value.tv_usec"),
        ("struct iovec", abi.iovec, "iov_base iov_len"),
        ("struct rlimit", abi.rlimit, "rlim_cur rlim_max"),
        ("struct rlimit64", layout.RLIMIT64, "rlim_cur rlim_max"),
        ("struct rusage", abi.rusage, RUSAGE),
        ("struct sysinfo", abi.sysinfo, SYSINFO),
        ("struct tms", abi.tms, "tms_utime tms_stime tms_cutime tms_cstime"),
        ("struct new_utsname", layout.UTSNAME, "sysname nodename release version machine domainname"),
        ("struct statx", stat.STATX, STATX),
        ("struct flock", abi.flock, FLOCK),
        ("stack_t", abi.stack_t, "ss_sp ss_flags ss_size"),
        ("sigevent_t", abi.sigevent, "sigev_value sigev_signo sigev_notify _sigev_un._tid"),
        ("struct user_desc", layout.USER_DESC, "entry_number base_addr limit"),
        ("struct termios", layout.TERMIOS, "c_iflag c_oflag c_cflag c_lflag c_line c_cc"),
        ("struct winsize", layout.WINSIZE, "ws_row ws_col ws_xpixel ws_ypixel"),
        ("struct clone_args", layout.CLONE_ARGS, CLONE),
    ]  # fmt: skip
    if abi is ABI64:
        return [
            *common,
            ("struct stat", stat.STAT64, f"{STAT} {TIMES}"),
            ("struct statfs", stat.STATFS64, STATFS),
            ("struct sigaction", abi.sigaction, SIGACTION),
        ]
    return [
        *common,
        ("struct stat", stat.STAT_I386, STAT32),
        ("struct stat64", stat.STAT64_I386, STAT64_32),
        ("struct statfs", stat.STATFS_I386, STATFS),
        ("struct statfs64", stat.STATFS64_I386, STATFS),
        ("struct flock64", abi.flock64, FLOCK),
    ]


def python_offsets(layout_: struct.Struct) -> list[int]:
    """Where each member of a Struct starts: found by packing one member at a time as all ones."""
    sizes = layout_.unpack(bytes(layout_.size))
    offsets = []
    for i, zero in enumerate(sizes):
        for ones in (b"\xff", -1, 0xFF) if isinstance(zero, bytes) else (-1, 0xFF):
            values = list(sizes)
            values[i] = ones
            try:
                data = layout_.pack(*values)
            except struct.error:
                continue
            offsets.append(next(at for at, byte in enumerate(data) if byte))
            break
    return offsets


@functools.lru_cache
def c_offsets(bits: int, work: Path) -> dict[str, tuple[int, list[int]]]:
    """C type -> (sizeof, offsets), from a compiled program."""
    abi = ABI64 if bits == 64 else ABI32
    body = ""
    for name, _, fields in rows(abi):
        body += f'printf("{name}|%d", (int)sizeof({name}));'
        for field in fields.split():
            body += f'printf(" %d", (int)__builtin_offsetof({name}, {field}));'
        body += 'puts("");\n'
    source = work / "layout.c"
    source.write_text(f"{HEADERS}\nint main(void) {{\n{body}return 0; }}\n")
    program = work / "layout"
    subprocess.run(["gcc", f"-m{bits}", "-o", program, source], check=True, capture_output=True, text=True)
    result: dict[str, tuple[int, list[int]]] = {}
    for line in subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines():
        name, numbers = line.split("|")
        size, *offsets = map(int, numbers.split())
        result[name] = size, offsets
    return result


def can_compile(bits: int, work: Path) -> bool:
    probe = work / "probe.c"
    probe.write_text('#include <stdio.h>\nint main(void) { return puts("") < 0; }\n')
    if not shutil.which("gcc"):
        return False
    built = subprocess.run(["gcc", f"-m{bits}", "-o", work / "probe", probe], capture_output=True, check=False)
    return built.returncode == 0


@pytest.mark.parametrize("abi", [ABI64, ABI32], ids=lambda abi: abi.name)
def test_layouts_are_those_of_the_c_compiler(abi: Abi, tmp_path: Path) -> None:
    if not can_compile(abi.bits, tmp_path):
        pytest.skip(f"gcc -m{abi.bits} cannot compile here: install gcc and, for i386, gcc-multilib")
    expected = c_offsets(abi.bits, tmp_path)
    wrong = []
    for name, layout_, fields in rows(abi):
        mine = layout_.size, python_offsets(layout_)
        if mine[0] != expected[name][0] or mine[1][: len(fields.split())] != expected[name][1]:
            wrong.append(f"{name}: {mine}, the compiler says {expected[name]}")
    assert not wrong, "\n".join(wrong)


SIGINFO_FIELDS = {
    (signal.SIGUSR1, signal.SI_USER): {"pid": "_kill._pid", "uid": "_kill._uid"},
    (signal.SIGUSR1, signal.SI_QUEUE): {"pid": "_rt._pid", "uid": "_rt._uid", "value": "_rt._sigval"},
    (signal.SIGALRM, signal.SI_TIMER): {
        "tid": "_timer._tid", "overrun": "_timer._overrun", "value": "_timer._sigval",
    },
    (signal.SIGCHLD, signal.CLD_EXITED): {
        "pid": "_sigchld._pid", "uid": "_sigchld._uid", "status": "_sigchld._status",
        "utime": "_sigchld._utime", "stime": "_sigchld._stime",
    },
    (signal.SIGSEGV, signal.SEGV_MAPERR): {
        "addr": "_sigfault._addr", "addr_lsb": "_sigfault._addr_lsb",
        "lower": "_sigfault._addr_bnd._lower", "upper": "_sigfault._addr_bnd._upper",
    },
    (signal.SIGIO, signal.POLL_IN): {"band": "_sigpoll._band", "fd": "_sigpoll._fd"},
    (signal.SIGSYS, signal.SYS_SECCOMP): {
        "addr": "_sigsys._call_addr", "syscall": "_sigsys._syscall", "arch": "_sigsys._arch",
    },
}  # fmt: skip


@pytest.mark.parametrize("abi", [ABI64, ABI32], ids=lambda abi: abi.name)
def test_siginfo_fields_are_where_the_compiler_puts_them(abi: Abi, tmp_path: Path) -> None:
    if not can_compile(abi.bits, tmp_path):
        pytest.skip(f"gcc -m{abi.bits} cannot compile here: install gcc and, for i386, gcc-multilib")
    places = [(key, name, path) for key, fields in SIGINFO_FIELDS.items() for name, path in fields.items()]
    body = "".join(f'printf("%d\\n", (int)__builtin_offsetof(siginfo_t, _sifields.{path}));' for *_, path in places)
    source = tmp_path / "siginfo.c"
    source.write_text(f'{HEADERS}\nint main(void) {{ printf("%d\\n", (int)sizeof(siginfo_t)); {body} return 0; }}\n')
    program = tmp_path / "siginfo"
    subprocess.run(["gcc", f"-m{abi.bits}", "-o", program, source], check=True, capture_output=True, text=True)
    size, *offsets = map(int, subprocess.run([program], check=True, capture_output=True).stdout.split())
    assert size == 128
    for (key, name, _), offset in zip(places, offsets, strict=True):
        data = abi.pack_siginfo(key[0], 0, key[1], {name: -1})
        assert next(at for at, byte in enumerate(data) if byte and at >= 12) == offset, (key, name)


@pytest.mark.parametrize("abi", [ABI64, ABI32], ids=lambda abi: abi.name)
def test_siginfo_survives_a_round_trip(abi: Abi) -> None:
    fields = {"pid": 7, "uid": 1000, "value": 0x1234}
    data = abi.pack_siginfo(signal.SIGRTMIN + 2, 0, signal.SI_QUEUE, fields)
    assert abi.unpack_siginfo(data) == (34, 0, signal.SI_QUEUE, fields)


class FakeSuper:
    s_dev, s_blocksize = 0x801, 4096


class FakeInode:
    """As much of an inode as stat looks at."""

    i_sb = FakeSuper()
    i_ino, i_mode, i_nlink, i_uid, i_gid, i_rdev, i_size = 42, 0o100644, 1, 70000, 0, 0, 5000
    i_atime, i_mtime, i_ctime = 1_000_000_000, 2_500_000_000, -1


def test_stat_of_an_inode() -> None:
    values = stat.STAT64.unpack(ABI64.pack_stat(FakeInode()))
    assert values[:10] == (0x801, 42, 1, 0o100644, 70000, 0, 0, 5000, 4096, 16)
    assert values[10:] == (1, 0, 2, 500_000_000, (1 << 64) - 1, 999_999_999)


def test_old_i386_stat_refuses_what_does_not_fit() -> None:
    node = FakeInode()
    assert stat.STAT_I386.unpack(ABI32.pack_old_stat(node))[4] == 65534  # a uid above 16 bits
    node.i_size = 1 << 31
    with pytest.raises(Errno) as failure:
        ABI32.pack_old_stat(node)
    assert failure.value.errno == EOVERFLOW


@pytest.mark.parametrize(
    ("abi", "name", "length", "type_at"),
    [(ABI64, b"abcd", 24, 23), (ABI64, b"abcde", 32, 31), (ABI32, b"ab", 16, 15), (ABI32, b"abcde", 20, 19)],
)
def test_old_dirent_has_its_type_in_the_last_byte(abi: Abi, name: bytes, length: int, type_at: int) -> None:
    record = abi.pack_dirent(5, 6, 8, name)
    assert len(record) == length
    assert record[abi.dirent_name :].startswith(name + b"\0")
    assert record[type_at] == 8


def test_dirent64_is_padded_to_eight() -> None:
    for size in range(1, 20):
        record = ABI64.pack_dirent64(5, 6, 4, b"x" * size)
        assert len(record) % 8 == 0
        assert struct.unpack_from("<QqHB", record) == (5, 6, len(record), 4)
        assert record[layout.DIRENT64_NAME :].rstrip(b"\0") == b"x" * size
        assert len(record) - layout.DIRENT64_NAME > size


class Memory:
    """User memory that is one bytes object at address 0."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def copy_from_user(self, addr: int, n: int) -> bytes:
        return self.data[addr : addr + n]


def test_iovec_lengths_are_checked_and_cut() -> None:
    memory = Memory(ABI64.iovec.pack(0x1000, 0x7FFF_0000) + ABI64.iovec.pack(0x2000, 0x7FFF_0000))
    assert ABI64.read_iovec(memory, 0, 2) == [(0x1000, 0x7FFF_0000), (0x2000, 0xF000)]  # type: ignore[arg-type]
    bad = Memory(ABI64.iovec.pack(0x1000, 1 << 63))
    with pytest.raises(Errno) as failure:
        ABI64.read_iovec(bad, 0, 1)  # type: ignore[arg-type]
    assert failure.value.errno == EINVAL


def test_rlimits_that_do_not_fit_are_infinity_on_i386() -> None:
    assert ABI32.pack_rlimit(1 << 40, 5) == struct.pack("<II", 0xFFFFFFFF, 5)
    assert ABI32.unpack_rlimit(struct.pack("<II", 0xFFFFFFFF, 5)) == ((1 << 64) - 1, 5)


@pytest.mark.parametrize("abi", [ABI64, ABI32], ids=lambda abi: abi.name)
def test_system_call_numbers_are_those_of_the_host_headers(abi: Abi) -> None:
    header = Path(f"/usr/include/x86_64-linux-gnu/asm/unistd_{abi.bits}.h")
    if not header.exists():
        pytest.skip(f"{header} is not installed (linux-libc-dev)")
    for line in header.read_text().splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "#define" and words[1].startswith("__NR_"):
            assert abi.numbers[words[1][5:]] == int(words[2])
    assert len(set(abi.numbers.values())) == len(abi.numbers)


def test_default_actions() -> None:
    assert signal.default_action(signal.SIGSEGV) == signal.CORE
    assert signal.default_action(signal.SIGCHLD) == signal.IGNORE
    assert signal.default_action(signal.SIGTSTP) == signal.STOP
    assert signal.default_action(signal.SIGKILL) == signal.TERM
    assert signal.name(11) == "SIGSEGV"
    assert signal.name(34) == "SIGRT_2"
