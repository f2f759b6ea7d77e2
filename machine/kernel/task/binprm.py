"""What execve works on: the file, its arguments and environment (include/linux/binfmts.h, fs/exec.c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Optional

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.errno import E2BIG, EACCES, EFAULT, EINTR, ELOOP, ENAMETOOLONG, Errno
from machine.kernel.abi.resource import RLIMIT_STACK, STACK_LIMIT
from machine.kernel.fs.file import O_RDONLY, S_IFLNK, S_IFMT, S_IFREG
from machine.kernel.fs.file import file as open_file
from machine.kernel.fs.namei import (
    AT_FDCWD,
    MAY_EXEC,
    allow_write_access,
    deny_write_access,
    inode_permission,
    lookup,
)

if TYPE_CHECKING:
    from machine.kernel.fs.file import dentry, file
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.elf import ElfFile
    from machine.kernel.task.task import Task

MAX_ARG_STRLEN = 32 * PAGE_SIZE
"""The longest single argument, its NUL included, bytes."""
ARG_MAX = 131072
"""Arguments and environment may always take this much, whatever the stack limit."""


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

    def string_bytes(self) -> int:
        """What the strings take on the stack, NULs included."""
        return sum(len(s) + 1 for s in (*self.argv, *self.envp, self.filename))

    def release(self) -> None:
        """Drop the files that were opened on the way."""
        close_exec(self.program)
        if self.interp_file is not None:
            close_exec(self.interp_file)
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

    EACCES: no regular file, or not executable; ETXTBSY: somebody has it open for writing; ELOOP: a symbolic
    link that must not be followed; and what the path look-up says (ENOENT, ENOTDIR, ENAMETOOLONG, EACCES).
    An empty path from inside a file means the current directory, which is EACCES.
    """
    found = lookup(kernel, task, os.fsdecode(path), follow=follow, dirfd=dirfd, empty=True)
    return open_found(task, found)


def open_found(task: Task, found: dentry) -> file:
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


def close_exec(opened: file) -> None:
    """Undo `open_exec`: writers may come again."""
    allow_write_access(opened)
    opened.put()


# -- the arguments ---------------------------------------------------------------------------------------


def read_strings(task: Task, argv: int, envp: int) -> tuple[list[bytes], list[bytes]]:
    """The strings of argv and envp, NULL-terminated arrays in user memory (do_execveat_common).

    NULL for an array itself counts as empty.  EFAULT; E2BIG for one string above 128 KiB, or when pointers and strings
    are more than `argument_limit`: the pointers first, then envp and argv, each from its end.
    """
    arrays = _pointers(task, argv), _pointers(task, envp)
    left = argument_limit(task) - 8 * (max(len(arrays[0]), 1) + len(arrays[1]))
    if left <= 0:
        raise Errno(E2BIG)
    environment, left = _copy_strings(task, arrays[1], left)
    return _copy_strings(task, arrays[0], left)[0], environment


def _pointers(task: Task, address: int) -> list[int]:
    """The pointers of an array up to its NULL, which may be far away; of more than any limit only the first (count)."""
    mm, word = task.mm, task.abi.word
    found: list[int] = []
    while address:
        room = (-address & PAGE_SIZE - 1) // word * word or word
        data = mm.read_some(address, room)
        if len(data) < room:
            raise Errno(EFAULT)
        pointers = memoryview(data).cast("Q" if word == 8 else "I").tolist()
        if 0 in pointers:
            return found + pointers[: pointers.index(0)]
        if len(found) < STACK_LIMIT // 8:
            found += pointers
        address += room
        if task.kernel.sched.break_off():
            raise Errno(EINTR)
    return found


def _copy_strings(task: Task, pointers: list[int], left: int) -> tuple[list[bytes], int]:
    """The strings, and how many of `left` bytes are left then (copy_strings)."""
    mm = task.mm
    strings: list[bytes] = []
    for pointer in reversed(pointers):
        try:
            string = mm.read_string(pointer, MAX_ARG_STRLEN)
        except Errno as error:
            raise Errno(E2BIG if error.errno == ENAMETOOLONG else EFAULT) from None
        left -= len(string) + 1
        if left < 0:
            raise Errno(E2BIG)
        strings.append(string)
        if not len(strings) & 0x3FF and task.kernel.sched.break_off():
            raise Errno(EINTR)
    strings.reverse()
    return strings, left


def argument_limit(task: Task) -> int:
    """Bytes for arguments, environment and their pointers: a quarter of the stack limit, at most 6 MiB, at least
    128 KiB (bprm_stack_limits)."""
    return max(min(STACK_LIMIT // 4 * 3, task.signal.rlimits[RLIMIT_STACK][0] // 4), ARG_MAX)


def check_limits(bprm: linux_binprm) -> None:
    """E2BIG: strings and pointers take more than `argument_limit`, or the strings, with the word above them, more pages
    than the stack may have (acct_stack_growth); the first page is there anyhow."""
    limit = argument_limit(bprm.task)
    pages = -(-(bprm.string_bytes() + 8) // PAGE_SIZE)
    if pages > 1 and pages * PAGE_SIZE > bprm.task.signal.rlimits[RLIMIT_STACK][0]:
        raise Errno(E2BIG)
    pointers = (len(bprm.argv) + len(bprm.envp)) * 8
    if any(len(s) >= MAX_ARG_STRLEN for s in (*bprm.argv, *bprm.envp)):
        raise Errno(E2BIG)
    if pointers >= limit or bprm.string_bytes() > limit - pointers:
        raise Errno(E2BIG)
