"""The strace view: its decoders on made-up memory, the table's types, and what a machine's run looks like."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from machine import Machine
from machine.events import Events, Signal, SyscallEnter, SyscallExit, TaskEvent
from machine.kernel.syscalls import load_families
from machine.kernel.syscalls.table import ROWS
from machine.observe import strace_args, strace_structs
from machine.observe.output import Output
from machine.observe.strace import Strace
from machine.observe.strace_args import DECODERS, Call, argument, quote
from machine.observe.strace_flags import BITS, VALUES, flags

BASE = 0x1000


class Memory:
    """A kernel's `peek_user` on a few bytes at BASE."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.cpu = SimpleNamespace(regs=[0] * 32)

    def peek_user(self, mm: object, address: int, count: int) -> bytes:
        offset = address - BASE
        return self.data[offset : offset + count] if offset >= 0 else b""

    def vma_at(self, address: int) -> None:
        return None


def make_task(data: bytes = b"") -> Any:
    memory = Memory(data)
    return SimpleNamespace(mm=memory, kernel=memory, pid=2)


def shown(
    types: str, *values: int, data: bytes = b"", result: int | None = None, abi: str = "x86_64", name: str = "x"
) -> str:
    """The arguments of a call as text; those that are left out are missing."""
    call = Call(make_task(data), abi, name, tuple(types.split()), values)
    call.result = result
    texts = (argument(call, index) for index in range(len(call.types)))
    return ", ".join(text for text in texts if text is not None)


# -- one argument -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("types", "value", "text"),
    [
        ("int", 0xFFFF_FFFF, "-1"), ("uint", 0xFFFF_FFFF, "4294967295"), ("fd", 3, "3"),
        ("long", (1 << 64) - 5, "-5"), ("ptr", 0, "NULL"), ("ptr", 0x10, "0x10"), ("atfd", 0xFFFF_FF9C, "AT_FDCWD"),
        ("atfd", 4, "4"), ("mode", 0o644, "0644"), ("mode", 0o22, "022"), ("mode", 0, "000"),
        ("mode", 0o1777, "01777"), ("uid", 0xFFFF_FFFF, "-1"), ("ulong:x", 0, "0"), ("ulong:x", 16, "0x10"),
        ("int:signal", 11, "SIGSEGV"), ("int:signal", 34, "SIGRT_2"), ("int:signal", 0, "0"),
        ("uint:SEEK_", 2, "SEEK_END"), ("uint:SEEK_", 9, "0x9 /* SEEK_??? */"), ("flags:PROT_", 0, "PROT_NONE"),
        ("flags:_OK", 0, "F_OK"), ("flags:PROT_", 7, "PROT_READ|PROT_WRITE|PROT_EXEC"), ("flags:O_", 0, "O_RDONLY"),
        ("flags:O_", 0o4000, "O_RDONLY|O_NONBLOCK"), ("flags:O_", 0o102101, "O_WRONLY|O_CREAT|O_APPEND|O_LARGEFILE"),
        ("flags:O_", 0o20200002, "O_RDWR|O_TMPFILE"), ("flags:MAP_", 0x22, "MAP_PRIVATE|MAP_ANONYMOUS"),
        ("flags:MAP_", 0x11, "MAP_SHARED|MAP_FIXED"), ("flags:AT_", 0x1100, "AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH"),
        ("flags:AT_STATX", 0x100, "AT_STATX_SYNC_AS_STAT|AT_SYMLINK_NOFOLLOW"), ("flags:MADV_", 4, "MADV_DONTNEED"),
        ("flags:MADV_", 999, "0x3e7 /* MADV_??? */"), ("int:CLOCK_", 1, "CLOCK_MONOTONIC"), ("flags:GRND_", 0, "0"),
        ("int:RUSAGE_", 0xFFFF_FFFF, "RUSAGE_CHILDREN"), ("uint:ioctl", 0x5413, "TIOCGWINSZ"),
        ("uint:ioctl", 0x80046B01, "_IOC(_IOC_READ, 0x6b, 0x1, 0x4)"),
        ("uint:ioctl", 0x6B00, "_IOC(_IOC_NONE, 0x6b, 0, 0)"),
    ],
)  # fmt: skip
def test_numbers_and_flags(types: str, value: int, text: str) -> None:
    assert shown(types, value) == text


def test_the_arguments_of_i386_are_32_bits_and_an_off64_takes_two() -> None:
    assert shown("fd off64 long", 3, 0xFFFF_FFFE, 0xFFFF_FFFF, 0xFFFF_FFFF, abi="i386") == "3, -2, -1"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", '"plain"'),
        (b'a"b\\c\n\t\r\v\f', r'"a\"b\\c\n\t\r\v\f"'),
        (b"\0\1\x7f\xff", r'"\0\1\177\377"'),
        (b"\0001", r'"\0001"'),
        (b"\x019\x01a", r'"\0019\1a"'),
    ],
)
def test_strings_are_quoted_as_in_c(data: bytes, text: str) -> None:
    assert quote(data) == text


def test_buffers_are_cut_at_32_bytes() -> None:
    data = bytes(range(0x41, 0x41 + 40))
    assert shown("buf size", BASE, 32, data=data) == '"ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\\\]^_`", 32'
    assert shown("buf size", BASE, 33, data=data) == '"ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\\\]^_`"..., 33'
    assert shown("buf size", BASE, 0, data=data) == '"", 0'
    assert shown("buf size", 0x9999, 8, data=data) == "0x9999, 8"
    assert shown("ptr:data> size", BASE, 100, data=data, result=3) == '"ABC", 100'
    assert shown("ptr:data> size", BASE, 100, data=data, result=-11) == "0x1000, 100"


def test_strings() -> None:
    assert shown("str", BASE, data=b"/etc/passwd\0junk") == '"/etc/passwd"'
    assert shown("str", BASE, data=b"no end") == "0x1000"
    assert shown("str", 0) == "NULL"
    assert shown("ptr:str> int", BASE, 100, data=b"usr/bin?", result=7) == '"usr/bin", 100'
    assert shown("ptr:cwd> size", BASE, 100, data=b"/tmp\0", result=5) == '"/tmp", 100'
    assert shown("ptr:random> size", BASE, 2, data=b"\x41\xff", result=2) == r'"\x41\xff", 2'


def test_the_mode_of_open_only_when_it_makes_a_file() -> None:
    assert shown("str flags:O_ mode:creat", 0, 0, 0o644) == "NULL, O_RDONLY"
    assert shown("str flags:O_ mode:creat", 0, 0o101, 0o644) == "NULL, O_WRONLY|O_CREAT, 0644"
    assert shown("str flags:O_ mode:creat", 0, 0o20200001, 0o600) == "NULL, O_WRONLY|O_TMPFILE, 0600"
    assert shown("str flags:O_ mode:creat", 0, 0o200000, 0o600) == "NULL, O_RDONLY|O_DIRECTORY"


def test_vectors_of_strings() -> None:
    strings = b"cat\0" + b"x" * 40 + b"\0"
    data = struct.pack("<4Q", BASE + 32, BASE + 36, 0, 0) + strings
    assert shown("ptr:argv", BASE, data=data) == '["cat", "' + "x" * 32 + '"...]'
    assert shown("ptr:envp", BASE, data=data) == "0x1000 /* 2 vars */"
    assert shown("ptr:envp", BASE + 16, data=data) == "0x1010 /* 0 vars */"
    assert shown("ptr:envp", BASE + 8, data=data) == "0x1008 /* 1 var */"
    assert shown("ptr:argv", BASE, data=struct.pack("<2I", BASE + 8, 0) + b"ls\0", abi="i386") == '["ls"]'


def test_vectors_of_buffers() -> None:
    data = struct.pack("<4Q", BASE + 32, 3, BASE + 35, 4) + b"abcdefg"
    assert shown("ptr:iov ulong", BASE, 2, data=data) == (
        '[{iov_base="abc", iov_len=3}, {iov_base="defg", iov_len=4}], 2'
    )
    assert shown("ptr:iov> ulong", BASE, 2, data=data, result=4) == (
        '[{iov_base="abc", iov_len=3}, {iov_base="d", iov_len=4}], 2'
    )


@pytest.mark.parametrize(
    ("types", "data", "text"),
    [
        ("ptr:ts", struct.pack("<qq", -1, 5), "{tv_sec=-1, tv_nsec=5}"),
        ("ptr:tv>", struct.pack("<qq", 1, 5), "{tv_sec=1, tv_usec=5}"),
        ("ptr:fds>", struct.pack("<ii", 3, 4), "[3, 4]"),
        ("ptr:sigset", struct.pack("<Q", 1 << 9 | 1 << 16), "[USR1 CHLD]"),
        ("ptr:sigset", bytes(8), "[]"),
        ("ptr:sigset", struct.pack("<Q", (1 << 64) - 1 & ~(1 << 8 | 1 << 18)), "~[KILL STOP]"),
        ("ptr:sigaction", struct.pack("<QQQQ", 1, 0x10000000, 0, 2),
         "{sa_handler=SIG_IGN, sa_mask=[INT], sa_flags=SA_RESTART}"),
        ("ptr:sigaction", struct.pack("<QQQQ", 0x400, 0x04000004, 0x500, 0),
         "{sa_sigaction=0x400, sa_mask=[], sa_flags=SA_RESTORER|SA_SIGINFO, sa_restorer=0x500}"),
        ("ptr:wstatus>", struct.pack("<I", 0x300), "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]"),
        ("ptr:wstatus>", struct.pack("<I", 11), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV}]"),
        ("ptr:wstatus>", struct.pack("<I", 0x8B), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}]"),
        ("ptr:wstatus>", struct.pack("<I", 0x137F), "[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}]"),
        ("ptr:wstatus>", struct.pack("<I", 0xFFFF), "[{WIFCONTINUED(s)}]"),
        ("ptr:rlimit64", struct.pack("<QQ", 8 << 20, (1 << 64) - 1), "{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}"),
        ("ptr:rlimit", struct.pack("<QQ", 1024, 100), "{rlim_cur=1024, rlim_max=100}"),
        ("ptr:itv", struct.pack("<qqqq", 1, 2, 3, 4),
         "{it_interval={tv_sec=1, tv_usec=2}, it_value={tv_sec=3, tv_usec=4}}"),
    ],
)  # fmt: skip
def test_structures(types: str, data: bytes, text: str) -> None:
    assert shown(types, BASE, data=data, result=1) == text
    assert shown(types, BASE, data=data[:-1], result=1) == "0x1000", "what can't be read is an address"


def test_commands_choose_how_the_argument_is_shown() -> None:
    fcntl, ioctl = "fd uint:F_ ulong:fcntl_arg>", "fd uint:ioctl ulong:ioctl_arg>"
    assert shown(fcntl, 3, 1, 77) == "3, F_GETFD"
    assert shown(fcntl, 3, 2, 1) == "3, F_SETFD, FD_CLOEXEC"
    assert shown(fcntl, 3, 4, 0o4000, result=-9) == "3, F_SETFL, O_RDONLY|O_NONBLOCK"
    assert shown(fcntl, 3, 0, 0) == "3, F_DUPFD, 0"
    lock = struct.pack("<hh4xqqi4x", 1, 0, 5, 10, 9)
    assert (
        shown(fcntl, 3, 6, BASE, data=lock, result=0)
        == "3, F_SETLK, {l_type=F_WRLCK, l_whence=SEEK_SET, l_start=5, l_len=10}"
    )
    assert shown(ioctl, 0, 0x5413, BASE, data=struct.pack("<4H", 24, 80, 0, 0), result=0) == (
        "0, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}"
    )
    assert shown(ioctl, 0, 0x5413, BASE, data=bytes(8), result=-25) == "0, TIOCGWINSZ, 0x1000"
    assert shown(ioctl, 0, 0x541B, BASE, data=struct.pack("<i", 7), result=0) == "0, FIONREAD, [7]"


def test_poll_and_select_tell_what_is_ready() -> None:
    data = struct.pack("<ihhihh", 3, 1, 0, 4, 4, 4)
    call = Call(make_task(data), "x86_64", "poll", ("ptr:poll", "uint", "int"), (BASE, 2, 0))
    assert argument(call, 0) == "[{fd=3, events=POLLIN}, {fd=4, events=POLLOUT}]"
    call.result = 1
    assert strace_structs.poll_result(call, 0) == " ([{fd=4, revents=POLLOUT}])"
    call.result = 0
    assert strace_structs.poll_result(call, 0) == " (Timeout)"


# -- the table -------------------------------------------------------------------------------------------------


CONVERSIONS = {
    "int", "fd", "pid", "atfd", "uint", "mode", "uid", "flags", "long", "off", "ulong", "ptr", "size", "addr", "str",
    "buf", "off64",
}  # fmt: skip


def test_every_type_in_the_table_of_system_calls_is_known() -> None:
    load_families()
    known = {"O_", "MAP_", "AT_STATX", *BITS, *VALUES, *DECODERS}
    wrong = []
    for rows in ROWS.values():
        for row in rows.values():
            for word in row.types:
                conversion, colon, how = word.partition(":")
                if conversion not in CONVERSIONS or (colon and how not in known):
                    wrong.append(f"{row.name}: {word}")
            last = row.types[-1:]
            if last and last[0] in ("buf", "ptr:data", "ptr:iov", "ptr:iov>", "ptr:poll"):
                wrong.append(f"{row.name}: {last[0]} without its length")
    assert wrong == []


@pytest.mark.parametrize("abi", ["x86_64", "i386"])
def test_what_is_shown_is_what_the_handler_gets(abi: str) -> None:
    """`convert` here and `_converter` in the table agree on every row, for numbers that show signs and widths."""
    load_families()
    bits = 64 if abi == "x86_64" else 32
    raw = tuple((0x8123_4567_89AB_CDEF * (i + 3)) & ((1 << bits) - 1) | 1 << (bits - 1) for i in range(6))
    from machine.kernel.syscalls.table import ARGUMENTS, _invoker

    registers = [0] * 32
    for index, value in zip(ARGUMENTS[abi], raw, strict=True):
        registers[index] = value
    for row in ROWS[abi].values():
        got: list[tuple[int, ...]] = []

        def handler(task: object, *values: int, got: list[tuple[int, ...]] = got) -> int:
            got.append(values)
            return 0

        _invoker(handler, row.types, abi)(None, registers)
        assert list(got[0]) == strace_args.convert(row.types, raw, bits), row.name


# -- lines --------------------------------------------------------------------------------------------------------


class Script:
    """A view that is fed made-up events."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.output = Output(self.stream)
        self.events = Events()
        self.view = Strace(self.events, self.output)

    def enter(self, name: str, *args: int, pid: int = 2, data: bytes = b"") -> SyscallEnter:
        load_families()
        event = SyscallEnter(pid, "p", "x86_64", 0, name, (*args, *(0,) * (6 - len(args))), 0, make_task(data))
        assert self.events.syscall_enter is not None
        self.events.syscall_enter(event)
        return event

    def leave(self, event: SyscallEnter, result: int) -> None:
        assert self.events.syscall_exit is not None
        self.events.syscall_exit(SyscallExit(event.pid, event, result))

    def call(self, name: str, *args: int, result: int = 0, pid: int = 2, data: bytes = b"") -> None:
        self.leave(self.enter(name, *args, pid=pid, data=data), result)

    def task(self, what: str, pid: int = 2, detail: str = "", status: int = 0) -> None:
        assert self.events.task is not None
        self.events.task(TaskEvent(pid, "p", what, detail, status))

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_results() -> None:
    script = Script()
    script.call("getpid", result=2)
    script.call("mmap", 0, 8192, 3, 0x22, 0xFFFF_FFFF, 0, result=0x7FFFF7FB1000)
    script.call("openat", 0xFFFF_FF9C, BASE, 0o2000000, result=-2, data=b"/none\0")
    script.call("umask", 0o22, result=0o22)
    script.call("pause", result=-514)
    script.call("fcntl", 3, 3, result=0o4002)
    script.call("brk", 0, result=0x555555559000)
    assert script.lines() == [
        "getpid()                                = 2",
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7ffff7fb1000",
        'openat(AT_FDCWD, "/none", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)',
        "umask(022)                              = 022",
        "pause()                                 = ? ERESTARTNOHAND (To be restarted if no handler)",
        "fcntl(3, F_GETFL)                       = 0x802 (flags O_RDWR|O_NONBLOCK)",
        "brk(NULL)                               = 0x555555559000",
    ]


def test_calls_of_two_tasks_that_interleave() -> None:
    script = Script()
    script.call("getpid", result=2)
    script.task("fork", detail="3")
    waiting = script.enter("wait4", 3, BASE, 0, 0, data=struct.pack("<I", 0x100))
    script.call("getppid", pid=3, result=2)
    script.enter("exit_group", 1, pid=3)
    script.task("exit", pid=3, detail="process", status=0x100)
    script.leave(waiting, 3)
    assert script.lines() == [
        "getpid()                                = 2",
        "[pid     2] wait4(3,  <unfinished ...>",
        "[pid     3] getppid()                   = 2",
        "[pid     3] exit_group(1)               = ?",
        "[pid     3] +++ exited with 1 +++",
        "<... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 1}], 0, NULL) = 3",
    ]


def test_signals_and_ends() -> None:
    script = Script()
    for event in (
        Signal(2, "p", 11, 1, 0x10, "core", 0), Signal(2, "p", 11, 0x80, 0, "core", 0),
        Signal(2, "p", 17, 1, 0, "handler", 0, 0, {"pid": 3, "uid": 0, "status": 7}),
        Signal(2, "p", 17, 2, 0, "handler", 0, 0, {"pid": 3, "uid": 0, "status": 9}),
        Signal(2, "p", 10, 0, 0, "handler", 0, 0, {"pid": 5, "uid": 1000}), Signal(2, "p", 14, 0x80, 0, "handler", 0),
        Signal(2, "p", 9, 0, 0, "terminate", 0),
    ):  # fmt: skip
        assert script.events.signal is not None
        script.events.signal(event)
    script.task("exit", status=0x8B)
    script.task("exit", status=0)
    assert script.lines() == [
        "--- SIGSEGV {si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=0x10} ---",
        "--- SIGSEGV {si_signo=SIGSEGV, si_code=SI_KERNEL, si_addr=NULL} ---",
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=3, si_uid=0, si_status=7} ---",
        "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid=3, si_uid=0, si_status=SIGKILL} ---",
        "--- SIGUSR1 {si_signo=SIGUSR1, si_code=SI_USER, si_pid=5, si_uid=1000} ---",
        "--- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---",
        "+++ killed by SIGSEGV (core dumped) +++",
        "+++ exited with 0 +++",
    ]


def test_calls_that_are_not_implemented_are_counted() -> None:
    script = Script()
    script.call("syscall_0x1c7", 1, 2, result=-38)
    script.call("io_uring_setup", 1, result=-38)
    script.call("syscall_0x1c7", 1, result=-38)
    script.view.close()
    assert script.lines()[0] == "syscall_0x1c7(0x1, 0x2, 0, 0, 0, 0)     = -1 ENOSYS (Function not implemented)"
    assert script.lines()[-1] == "not implemented (ENOSYS): syscall_0x1c7 (2), io_uring_setup (1)"
    assert script.events.syscall_enter is None, "nobody listens any more"


CLONE_THREAD = 0x3D0F00
THREAD_FLAGS = (
    "CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM|CLONE_SETTLS|CLONE_PARENT_SETTID|"
    "CLONE_CHILD_CLEARTID"
)


@pytest.mark.parametrize(
    ("name", "args", "data", "text"),
    [
        ("clone", (0x01200011, 0, 0, 0x7F10), b"",
         "child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f10"),
        ("clone", (CLONE_THREAD, 0x10, 0x20, 0x30, 0x40), b"",
         f"child_stack=0x10, flags={THREAD_FLAGS}, parent_tid=0x20, tls=0x40, child_tidptr=0x30"),
        ("futex", (0x10, 0x80, 2, 0), b"", "0x10, FUTEX_WAIT_PRIVATE, 2, NULL"),
        ("futex", (0x10, 1, 5), b"", "0x10, FUTEX_WAKE, 5"),
        ("futex", (0x10, 0x189, 0, 0, 0, 0xFFFF_FFFF), b"",
         "0x10, FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME, 0, NULL, FUTEX_BITSET_MATCH_ANY"),
        ("futex", (0x10, 0, 2, BASE), struct.pack("<qq", 1, 2), "0x10, FUTEX_WAIT, 2, {tv_sec=1, tv_nsec=2}"),
        ("futex", (0x10, 4, 1, 7, 0x20, 3), b"", "0x10, FUTEX_CMP_REQUEUE, 1, 7, 0x20, 3"),
        ("prctl", (15, BASE), b"worker\0", 'PR_SET_NAME, "worker"'),
        ("prctl", (38, 1, 0, 0, 0), b"", "PR_SET_NO_NEW_PRIVS, 0x1, 0, 0, 0"),
    ],
)  # fmt: skip
def test_calls_with_arguments_that_depend_on_each_other(
    name: str, args: tuple[int, ...], data: bytes, text: str
) -> None:
    script = Script()
    script.call(name, *args, data=data)
    assert script.lines()[0].startswith(f"{name}({text})")


def test_flag_tables_have_no_two_names_for_one_bit() -> None:
    for name, table in BITS.items():
        single = [value for value in table if value & (value - 1) == 0]
        assert len(single) == len(set(single)), name
    assert flags("nothing", 5) == "0x5"


# -- a machine -------------------------------------------------------------------------------------------------------

PROGRAM = """
#include <fcntl.h>
#include <unistd.h>
int main(void) {
    int fd = open("/etc/hostname", O_RDONLY);
    char text[40];
    long n = read(fd, text, sizeof text);
    write(1, text, n);
    return access("/nowhere", R_OK) == 0;
}
"""


@pytest.mark.parametrize("target", ["x86_64", "i386"])
def test_a_program(target: str, machine_clean: Callable[..., Machine], tmp_path: Any) -> None:
    from tests.conftest import build

    source = tmp_path / "program.c"
    source.write_text(PROGRAM)
    program = build(source, target=target, static=True, flags=("-Wno-unused-result",))
    machine = machine_clean(binds=[(str(program), "/mnt/program", False)])
    stream = io.StringIO()
    view = Strace(machine.events, Output(stream))
    assert machine.run(["/mnt/program", "an argument"]).exit == 0
    view.close()
    text = stream.getvalue()
    lines = text.splitlines()
    assert re.fullmatch(
        r'execve\("/mnt/program", \["/mnt/program", "an argument"\], 0x[0-9a-f]+ /\* 3 vars \*/\) = 0', lines[0]
    )
    assert re.search(r'^open(at)?\((AT_FDCWD, )?"/etc/hostname", O_RDONLY(\|O_LARGEFILE)?\) = 3$', text, re.M)
    assert 'read(3, "nopage\\n", 40)                 = 7' in lines
    assert 'write(1, "nopage\\n", 7)                 = 7' in lines
    assert re.search(
        r'^f?access(at)?\((AT_FDCWD, )?"/nowhere", R_OK\) += -1 ENOENT \(No such file or directory\)$', text, re.M
    )
    assert lines[-2:] == ["exit_group(0)                           = ?", "+++ exited with 0 +++"]


WRITES_FROM_A_DEVICE = """
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void) {
    char *page = mmap(0, 4096, PROT_READ, MAP_SHARED, open("/dev/scullp0", O_RDWR), 0);
    return write(1, page, 4) != 4;
}
"""


def test_watching_a_call_does_not_call_a_driver(machine_clean: Callable[..., Machine], tmp_path: Any) -> None:
    from tests.conftest import build

    source = tmp_path / "program.c"
    source.write_text(WRITES_FROM_A_DEVICE)
    program = build(source)
    machine = machine_clean(devices=["scullp"], binds=[(str(program), "/mnt/program", False)])
    assert machine.run(["sh", "-c", "printf text > /dev/scullp0"]).exit == 0
    order: list[str] = []
    machine.events.listen("driver_call", lambda call: order.append(call.operation))
    stream = io.StringIO()
    view = Strace(machine.events, Output(stream))
    machine.events.listen("syscall_enter", lambda call: order.append(call.name))
    result = machine.run(["/mnt/program"])
    view.close()
    assert result.stdout == b"text"
    assert order.index("nopage") > order.index("write"), "the driver is called by the call, not by who watches it"
    assert re.search(r"^write\(1, 0x[0-9a-f]+, 4\) +=", stream.getvalue(), re.M)
