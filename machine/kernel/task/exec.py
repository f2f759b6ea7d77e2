"""execve: one program replaces another (fs/exec.c).

`load_program` does all of it for any task; `do_execve` is the system call's way in.  Up to
`begin_new_exec` every error leaves the caller as it was; after it the old program is gone and an
error kills the task.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from machine.events import TaskEvent
from machine.hardware.cpu import RIP, RSP
from machine.kernel.abi.capability import CAP_SYS_PTRACE, SECBIT_KEEP_CAPS
from machine.kernel.abi.errno import EACCES, EFAULT, EIO, ELIBBAD, ELOOP, ENOENT, ENOEXEC, Errno
from machine.kernel.abi.layout import ABI32, ABI64
from machine.kernel.abi.resource import RLIMIT_STACK
from machine.kernel.abi.signal import SIGCHLD, SIGSEGV
from machine.kernel.capability import capabilities, capable, follow_exec
from machine.kernel.fs.namei import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from machine.kernel.fs.permission import in_group
from machine.kernel.mm.space import mm_struct
from machine.kernel.task.binfmt_elf import (
    READ_IMPLIES_EXEC,
    ElfLoader,
    create_stack,
    executable_stack,
    page_zero,
    pick_mmap_layout,
)
from machine.kernel.task.binfmt_script import BINPRM_BUF_SIZE, is_script, parse_script
from machine.kernel.task.binprm import (
    check_limits,
    close_exec,
    kernel_read,
    linux_binprm,
    open_exec,
    open_found,
    read_strings,
)
from machine.kernel.task.elf import ElfFile, parse_header, parse_program, read_program_headers
from machine.kernel.task.signal import force_sig_info

if TYPE_CHECKING:
    from machine.kernel.fs.file import file
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import Task

S_ISUID, S_ISGID, S_IXGRP = 0o4000, 0o2000, 0o0010
MAX_SCRIPT_DEPTH = 5
TASK_COMM_LEN = 16
ADDR_COMPAT_LAYOUT, ADDR_NO_RANDOMIZE, MMAP_PAGE_ZERO = 0x0200000, 0x0040000, 0x0100000
PER_CLEAR_ON_SETID = READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | MMAP_PAGE_ZERO


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
    close_exec(bprm.program)
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
    argv: int,
    envp: int,
    *,
    dirfd: int = AT_FDCWD,
    flags: int = 0,
) -> int:
    """execve(2), execveat(2): 0 when the task's registers are those of the new program.

    `argv` and `envp` are user addresses, read when the program has been found (do_execveat_common).
    Raises Errno while the old program can still be told; afterwards the task is killed by SIGSEGV.
    """
    pid = task.pid
    program, filename, fd_path = _open_program(kernel, task, path, dirfd, flags)
    try:
        strings = read_strings(task, argv, envp)
    except Errno:
        close_exec(program)
        raise
    bprm = linux_binprm(kernel, task, filename, program, *strings)
    bprm.fd_path = fd_path
    _exec(bprm)
    if task.ptrace is not None:
        from machine.kernel.task.ptrace import PTRACE_EVENT_EXEC, ptrace_event

        ptrace_event(kernel, task, PTRACE_EVENT_EXEC, pid)
    return 0


def load_program(kernel: Kernel, task: Task, path: str | bytes, argv: list[bytes], envp: list[bytes]) -> None:
    """Make `path` the program of a task that has run nothing yet, on its kernel stack.  Errors as execve's."""
    name = os.fsencode(path)
    _exec(linux_binprm(kernel, task, name, open_exec(kernel, task, name), argv, envp))


def _exec(bprm: linux_binprm) -> None:
    task = bprm.task
    old, elf = task.mm, None
    try:
        elf = _prepare(bprm)
        _start(bprm, elf)
    except Errno as error:
        if task.mm is old or elf is None:
            raise
        cut_off = _cut_off(bprm, elf) if error.errno == EFAULT else ""  # the zeros behind a segment go nowhere
        task.mm.not_started = cut_off or f"its memory can't be made as its headers want ({error})"
        force_sig_info(bprm.kernel, task, SIGSEGV, default=True)
    finally:
        bprm.release()


def _cut_off(bprm: linux_binprm, elf: ElfFile) -> str:
    """Which file is shorter than its own headers say, for the line about the signal; "" when neither is."""
    for headers, source in ((elf, bprm.program), (bprm.interp_elf, bprm.interp_file)):
        if headers is not None and source is not None:
            size, needed = source.f_inode.i_size, max((s.offset + s.filesz for s in headers.loads), default=0)
            if size < needed:
                return f"{source.f_path} is cut off: it has {size} bytes, its segments need {needed}"
    return ""


def _open_program(kernel: Kernel, task: Task, path: bytes, dirfd: int, flags: int) -> tuple[file, bytes, bool]:
    """(open file, what to call it, whether that name is a /dev/fd path that exec closes)."""
    if not path and flags & AT_EMPTY_PATH:
        if dirfd == AT_FDCWD:
            raise Errno(EACCES)
        opened = open_found(task, task.files.fget_raw(dirfd).f_dentry)
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
    if not task.no_new_privs and (task.ptrace is None or capable(task.ptrace.tracer, CAP_SYS_PTRACE)):
        if node.i_mode & S_ISUID:
            bprm.euid = node.i_uid
        if node.i_mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP:
            bprm.egid = node.i_gid
    bprm.secureexec = bprm.euid != task.uid or bprm.egid != task.gid or _changes_ids(bprm)


def _changes_ids(bprm: linux_binprm) -> bool:
    """Whether the program makes its process somebody else (cap_bprm_creds_from_file: id_changed)."""
    return bprm.euid != bprm.task.euid or not in_group(bprm.task, bprm.egid)


def _start(bprm: linux_binprm, elf: ElfFile) -> None:
    """The point of no return and what follows: address space, stack, registers (load_elf_binary)."""
    kernel, task = bprm.kernel, bprm.task
    abi = ABI64 if elf.bits == 64 else ABI32
    mm = _new_mm(kernel, elf.bits)
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


def _new_mm(kernel: Kernel, bits: int) -> mm_struct:
    while True:
        try:
            return mm_struct(kernel, bits)
        except Errno:
            if not kernel.wait_for_memory():
                raise


def begin_new_exec(bprm: linux_binprm, mm: mm_struct) -> None:
    """The other threads die, `mm` takes the old space's place, and what belonged to the old program goes."""
    kernel, task = bprm.kernel, bprm.task
    from machine.kernel.task.exit import de_thread, mm_release

    try:
        de_thread(kernel, task)
    except Errno:
        mm.put()
        raise
    mm_release(kernel, task)
    old = task.mm
    mm.thp_disable = old.thp_disable
    mm.set_exe_file(bprm.program)
    kernel.sched.use_mm(task, mm)
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
        timer.withdraw()  # flush_itimer_signals
        timer.cancel()
    task.signal.posix_timers.clear()
    task.signal.did_exec = True
    task.tls_array = [0, 0, 0]
    bprm.kernel.sched.load_tls(task)
    task.sas_ss_sp = task.sas_ss_size = 0
    task.robust_list = (0, 0)
    task.rseq = (0, 0, 0)
    task.exit_signal = SIGCHLD
    if bprm.secureexec:
        task.pdeath_signal = 0
        task.personality &= ~PER_CLEAR_ON_SETID
    task.securebits &= ~SECBIT_KEEP_CAPS
    task.mm.dumpable = int(not bprm.secureexec)
    sets, changes = capabilities(task), _changes_ids(bprm)
    task.euid = task.suid = task.fsuid = bprm.euid
    task.egid = task.sgid = task.fsgid = bprm.egid
    follow_exec(task, sets, changes)
    task.comm = os.fsdecode(bprm.filename.rsplit(b"/", 1)[-1][: TASK_COMM_LEN - 1])
