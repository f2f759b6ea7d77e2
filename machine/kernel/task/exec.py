"""execve: one program replaces another (fs/exec.c).

`load_program` does all of it for any task; `do_execve` is the system call's way in.  Up to
`begin_new_exec` every error leaves the caller as it was; after it the old program is gone and an
error kills the task.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Optional

from machine.events import TaskEvent
from machine.hardware.cpu import RIP, RSP
from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.errno import (
    E2BIG, EACCES, EFAULT, EIO, ELIBBAD, ELOOP, ENAMETOOLONG, ENOENT, ENOEXEC, Errno,
)  # fmt: skip
from machine.kernel.abi.layout import ABI32, ABI64
from machine.kernel.abi.resource import RLIMIT_STACK, STACK_LIMIT
from machine.kernel.abi.signal import SIGSEGV
from machine.kernel.fs.file import O_RDONLY, S_IFLNK, S_IFMT, S_IFREG
from machine.kernel.fs.file import file as open_file
from machine.kernel.fs.namei import MAY_EXEC, allow_write_access, deny_write_access, inode_permission, lookup
from machine.kernel.mm.space import mm_struct
from machine.kernel.task.binfmt_elf import (
    READ_IMPLIES_EXEC, ElfLoader, create_stack, executable_stack, page_zero, pick_mmap_layout, stack_strings,
)  # fmt: skip
from machine.kernel.task.binfmt_script import BINPRM_BUF_SIZE, is_script, parse_script
from machine.kernel.task.elf import ElfFile, parse_header, parse_program, read_program_headers

if TYPE_CHECKING:
    from machine.kernel.fs.file import dentry, file
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

AT_FDCWD = -100
S_ISUID, S_ISGID, S_IXGRP = 0o4000, 0o2000, 0o0010
AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH = 0x100, 0x1000
MAX_ARG_STRLEN = 32 * PAGE_SIZE
"""The longest single argument, its NUL included, bytes."""
ARG_MAX = 131072
"""Arguments and environment may always take this much, whatever the stack limit."""
MAX_ARG_STRINGS = 0x7FFF_FFFF
MAX_SCRIPT_DEPTH = 5
TASK_COMM_LEN = 16
MMAP_PAGE_ZERO = 0x0100000
PER_CLEAR_ON_SETID = READ_IMPLIES_EXEC | 0x0040000 | 0x0200000 | MMAP_PAGE_ZERO


class linux_binprm:
    """`struct linux_binprm`: the program that is about to be."""

    __slots__ = (
        "argv", "egid", "envp", "euid", "fd_path", "filename", "interp_elf", "interp_file", "kernel", "program",
        "secureexec", "task",
    )  # fmt: skip

    def __init__(
        self, kernel: Kernel, task: Task, filename: bytes, program: file, argv: list[bytes], envp: list[bytes]
    ) -> None:
        self.kernel = kernel
        self.task = task
        self.filename = filename
        """As execve was told: AT_EXECFN, and where `comm` comes from, also for a script."""
        self.program = program
        """The file to map; this object owns a reference."""
        self.argv = argv or [b""]
        self.envp = envp
        self.fd_path = False
        """`filename` is a /dev/fd path that the new program will not be able to open."""
        self.interp_elf: Optional[ElfFile] = None
        self.interp_file: Optional[file] = None
        self.euid, self.egid = task.euid, task.egid
        self.secureexec = False

    def read(self, position: int, count: int) -> bytes:
        """Bytes of the program's file."""
        return kernel_read(self.program, position, count)

    def release(self) -> None:
        """Drop the files that were opened on the way."""
        _close_exec(self.program)
        if self.interp_file is not None:
            _close_exec(self.interp_file)
            self.interp_file = None


def kernel_read(filp: file, position: int, count: int) -> bytes:
    """Up to `count` bytes of an open file, fewer only at its end (fs/read_write.c)."""
    read_iter = filp.f_op.read_iter
    if read_iter is None:
        raise Errno(EACCES)
    parts: list[bytes] = []
    while count > 0:
        piece = read_iter(filp, count, position)
        if not piece:
            break
        parts.append(piece)
        position += len(piece)
        count -= len(piece)
    return b"".join(parts)


# -- finding the file -----------------------------------------------------------------------------------


def open_exec(kernel: Kernel, task: Task, path: bytes, dirfd: int = AT_FDCWD, follow: bool = True) -> file:
    """Open a program (fs/exec.c: do_open_execat).

    EACCES: no regular file, or not executable; ETXTBSY: somebody has it open for writing; ELOOP: a symbolic link that must not be followed;
    and what the path look-up says (ENOENT, ENOTDIR, ENAMETOOLONG, EACCES).  An empty path from inside a
    file means the current directory, which is EACCES.
    """
    found = lookup(kernel, task, os.fsdecode(path), follow=follow, dirfd=dirfd, empty=True)
    return _open_found(task, found)


def _open_found(task: Task, found: dentry) -> file:
    """Open for reading what may be executed, whatever its read permission."""
    node = found.d_inode
    node.getattr()
    if node.i_mode & S_IFMT == S_IFLNK:
        raise Errno(ELOOP)
    if node.i_mode & S_IFMT != S_IFREG:
        raise Errno(EACCES)
    inode_permission(task, node, MAY_EXEC)
    opened = open_file(found, O_RDONLY, node.i_fop, found.path())
    if node.i_fop.open is not None:
        error = node.i_fop.open(node, opened)
        if error:
            raise Errno(-error)
    try:
        deny_write_access(opened)
    except Errno:
        opened.put()
        raise
    return opened


def _close_exec(opened: file) -> None:
    """Undo `open_exec`: writers may come again."""
    allow_write_access(opened)
    opened.put()


# -- the arguments ---------------------------------------------------------------------------------------


def read_strings(task: Task, address: int) -> list[bytes]:
    """The strings of a NULL-terminated array in user memory, argv or envp (count, copy_strings).

    NULL for the array itself counts as empty.  EFAULT; E2BIG for one string above 128 KiB or more
    than could ever fit.
    """
    if not address:
        return []
    mm, abi = task.mm, task.abi
    strings: list[bytes] = []
    total = 0
    while True:
        pointer = abi.get_word(mm, address)
        if not pointer:
            return strings
        try:
            string = mm.read_string(pointer, MAX_ARG_STRLEN)
        except Errno as error:
            raise Errno(E2BIG if error.errno == ENAMETOOLONG else EFAULT) from None
        total += len(string) + 1 + abi.word
        if total > STACK_LIMIT:
            raise Errno(E2BIG)
        strings.append(string)
        address += abi.word


def check_limits(bprm: linux_binprm) -> None:
    """E2BIG: strings and pointers take more than a quarter of the stack limit, at most 6 MiB, at least
    128 KiB (bprm_stack_limits)."""
    soft = bprm.task.signal.rlimits[RLIMIT_STACK][0]
    limit = max(min(STACK_LIMIT // 4 * 3, soft // 4), ARG_MAX)
    pointers = (len(bprm.argv) + len(bprm.envp)) * 8
    if any(len(s) >= MAX_ARG_STRLEN for s in (*bprm.argv, *bprm.envp)):
        raise Errno(E2BIG)
    if pointers >= limit or len(stack_strings(bprm)) > limit - pointers:
        raise Errno(E2BIG)


# -- what kind of file ------------------------------------------------------------------------------------


def resolve(bprm: linux_binprm) -> ElfFile:
    """Follow `#!` lines to a program that can be mapped (exec_binprm, search_binary_handler).

    ENOEXEC: no format that we know; ELOOP: more than five scripts in a row.
    """
    path = bprm.filename
    for _depth in range(MAX_SCRIPT_DEPTH + 1):
        head = bprm.read(0, BINPRM_BUF_SIZE)
        if not is_script(head):
            return _resolve_elf(bprm)
        path = _resolve_script(bprm, head, path)
    raise Errno(ELOOP)


def _resolve_script(bprm: linux_binprm, head: bytes, path: bytes) -> bytes:
    """Replace argv[0] by the interpreter, its argument and the script's `path`; returns the interpreter's path."""
    script = parse_script(head)
    if bprm.fd_path:
        raise Errno(ENOENT)
    front = [script.interpreter] + ([script.argument] if script.argument is not None else [])
    bprm.argv = [*front, path, *bprm.argv[1:]]
    check_limits(bprm)
    program = open_exec(bprm.kernel, bprm.task, script.interpreter)
    _close_exec(bprm.program)
    bprm.program = program
    return script.interpreter


def _resolve_elf(bprm: linux_binprm) -> ElfFile:
    """The ELF headers, and those of the interpreter, which is opened here."""
    elf = parse_program(bprm.read)
    if bprm.program.f_op.mmap is None:
        raise Errno(ENOEXEC)
    if elf.interp is not None:
        bprm.interp_file = open_exec(bprm.kernel, bprm.task, elf.interp)
        bprm.interp_elf = _interpreter_headers(bprm.interp_file, elf)
    return elf


def _interpreter_headers(interpreter: file, elf: ElfFile) -> ElfFile:
    """EIO: shorter than an ELF header; ELIBBAD: anything else that is wrong with it."""
    head = kernel_read(interpreter, 0, 64)
    if len(head) < (64 if elf.bits == 64 else 52):
        raise Errno(EIO)
    try:
        found = parse_header(head)
        read_program_headers(found, lambda position, count: kernel_read(interpreter, position, count))
    except Errno:
        raise Errno(ELIBBAD) from None
    if found.bits != elf.bits:
        raise Errno(ELIBBAD)
    return found


# -- the change -------------------------------------------------------------------------------------------


def do_execve(
    kernel: Kernel,
    task: Task,
    path: bytes,
    argv: list[bytes],
    envp: list[bytes],
    *,
    dirfd: int = AT_FDCWD,
    flags: int = 0,
) -> int:
    """execve(2), execveat(2): 0 when the task's registers are those of the new program.

    Raises Errno while the old program can still be told; afterwards the task is killed by SIGSEGV.
    """
    from machine.kernel.task.signal import force_sig_info

    program, filename, fd_path = _open_program(kernel, task, path, dirfd, flags)
    bprm = linux_binprm(kernel, task, filename, program, argv, envp)
    bprm.fd_path = fd_path
    try:
        elf = _prepare(bprm)
        old = task.mm
        try:
            _start(bprm, elf)
        except Errno:
            if task.mm is old:
                raise
            force_sig_info(kernel, task, SIGSEGV, default=True)
    finally:
        bprm.release()
    return 0


def load_program(kernel: Kernel, task: Task, path: str | bytes, argv: list[bytes], envp: list[bytes]) -> None:
    """Make `path` the program of a task that has none yet.  Raises Errno as execve would."""
    name = os.fsencode(path)
    bprm = linux_binprm(kernel, task, name, open_exec(kernel, task, name), argv, envp)
    try:
        _start(bprm, _prepare(bprm))
    finally:
        bprm.release()


def _open_program(kernel: Kernel, task: Task, path: bytes, dirfd: int, flags: int) -> tuple[file, bytes, bool]:
    """(open file, what to call it, whether that name is a /dev/fd path that exec closes)."""
    if not path and flags & AT_EMPTY_PATH:
        if dirfd == AT_FDCWD:
            raise Errno(EACCES)
        opened = _open_found(task, task.files.fget_raw(dirfd).f_dentry)
        return opened, b"/dev/fd/%d" % dirfd, dirfd in task.files.cloexec
    if not path:
        raise Errno(ENOENT)
    program = open_exec(kernel, task, path, dirfd, not flags & AT_SYMLINK_NOFOLLOW)
    if dirfd == AT_FDCWD or path.startswith(b"/"):
        return program, path, False
    return program, b"/dev/fd/%d/%s" % (dirfd, path), dirfd in task.files.cloexec


def _prepare(bprm: linux_binprm) -> ElfFile:
    """Everything that can fail without harm."""
    check_limits(bprm)
    elf = resolve(bprm)
    _fill_uid(bprm)
    return elf


def _fill_uid(bprm: linux_binprm) -> None:
    """Set-user-ID and set-group-ID programs (bprm_fill_uid)."""
    task, node = bprm.task, bprm.program.f_inode
    if not task.no_new_privs:
        if node.i_mode & S_ISUID:
            bprm.euid = node.i_uid
        if node.i_mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP:
            bprm.egid = node.i_gid
    bprm.secureexec = bprm.euid != task.uid or bprm.egid != task.gid


def _start(bprm: linux_binprm, elf: ElfFile) -> None:
    """The point of no return and what follows: address space, stack, registers (load_elf_binary)."""
    kernel, task = bprm.kernel, bprm.task
    abi = ABI64 if elf.bits == 64 else ABI32
    mm = mm_struct(kernel, elf.bits)
    begin_new_exec(bprm, mm)
    task.abi = abi
    executable, implies = executable_stack(elf)
    task.personality = task.personality & ~READ_IMPLIES_EXEC | (READ_IMPLIES_EXEC if implies else 0)
    pick_mmap_layout(mm, task.signal.rlimits[RLIMIT_STACK][0])
    loaded = ElfLoader(mm, implies).load(elf, bprm.program, bprm.interp_elf, bprm.interp_file)
    sp = create_stack(bprm, mm, abi, elf, loaded, executable)
    if task.personality & MMAP_PAGE_ZERO:
        page_zero(mm)
    kernel.cpu.fresh_image(elf.bits, mm.tables.cr3)
    kernel.cpu.regs[RIP] = loaded.start
    kernel.cpu.regs[RSP] = sp
    if kernel.sched.loaded is not task:
        task.image = bytearray(kernel.cpu.image)
    if kernel.events.task is not None:
        detail = os.fsdecode(b" ".join(bprm.argv))
        kernel.events.task(TaskEvent(task.pid, task.comm, "exec", detail, 0, kernel.clock.monotonic_ns()))


def begin_new_exec(bprm: linux_binprm, mm: mm_struct) -> None:
    """The other threads die, `mm` takes the old space's place, and what belonged to the old program goes."""
    kernel, task = bprm.kernel, bprm.task
    old: Optional[mm_struct] = getattr(task, "mm", None)
    if old is not None:
        from machine.kernel.task.exit import de_thread, mm_release

        try:
            de_thread(kernel, task)
        except Errno:
            mm.put()
            raise
        mm_release(kernel, task)
    kernel.sched.use_mm(task, mm)
    if old is not None:
        old.put()
    task.exe = bprm.program  # for its path and inode alone; the areas hold the references
    _reset_task(bprm)


def _reset_task(bprm: linux_binprm) -> None:
    """Signals, descriptors, thread area, credentials and name of the new program (begin_new_exec, flush_thread)."""
    task = bprm.task
    task.sighand.reset_on_exec()
    shared = task.files
    if shared.users > 1:
        task.files = shared.copy()
        shared.put()
    task.files.close_on_exec()
    for timer in task.signal.posix_timers.values():
        timer.cancel()
    task.signal.posix_timers.clear()
    task.signal.did_exec = True
    task.tls_array = [0, 0, 0]
    bprm.kernel.sched.load_tls(task)
    task.sas_ss_sp = task.sas_ss_size = 0
    task.sas_ss_flags = 2
    task.robust_list = (0, 0)
    task.rseq = (0, 0, 0)
    task.exit_signal = 17
    if bprm.secureexec:
        task.pdeath_signal = 0
        task.personality &= ~PER_CLEAR_ON_SETID
    task.mm.dumpable = int(not bprm.secureexec)
    task.euid = task.suid = task.fsuid = bprm.euid
    task.egid = task.sgid = task.fsgid = bprm.egid
    task.comm = os.fsdecode(bprm.filename.rsplit(b"/", 1)[-1][: TASK_COMM_LEN - 1])
