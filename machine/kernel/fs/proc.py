"""The /proc file system: directories made on lookup, files computed when they are read (fs/proc/).

A file's text is taken whole at the first read, and again at every read from position 0, as seq_file
does for texts that fit its buffer; so one `open` sees one state.  What may be long (maps) comes line by line, as far as
it is read.  Inode numbers follow from the path, so
that nothing has to be kept for a file that nobody has open.

The texts themselves are in `proc_task` (/proc/PID) and `proc_misc` (the rest).  A driver adds a
file by ``kernel.proc_entries["name"] = function`` (`create_proc_read_entry` does), where the function
takes nothing and returns the text; a ``/`` in the name makes directories.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Optional, Union
from zlib import crc32

from machine.hardware.ram import PAGE_SIZE
from machine.kernel.abi.errno import EACCES, EINVAL, EIO, ENAMETOOLONG, ENOENT, ENOMEM, ESRCH, Errno
from machine.kernel.fs.file import (
    MKDEV,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    file,
    file_operations,
    inode,
    super_block,
)
from machine.records import NamedTuple

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel
    from machine.kernel.task.task import task_struct

PROC_SUPER_MAGIC = 0x9FA0
PROC_DEV = MKDEV(0, 21)
PROC_ROOT_INO = 1
KMALLOC_MAX_SIZE = 4 << 20
DT_DIR, DT_REG, DT_LNK = 4, 8, 10

Text = Union[str, bytes]
Shown = Union[Text, Iterator[str]]
"""A text, or one that is made piece by piece."""


class Entry(NamedTuple):
    """One file outside /proc/PID: its permission bits, its text and what a write does."""

    mode: int
    show: Callable[[Kernel], Text]
    store: Optional[Callable[[Kernel, bytes], None]] = None
    """Takes the bytes of one write; raises Errno.  None: EIO, as `proc_reg_write` without a method."""


class TaskEntry(NamedTuple):
    """One file of /proc/PID."""

    mode: int
    show: Callable[[task_struct], Shown]
    store: Optional[Callable[[task_struct, bytes], None]] = None


class Subtree(NamedTuple):
    """A directory whose entries are made when somebody looks into it; their paths are relative to it."""

    entries: Callable[[Kernel], Tree]


NodeFactory = Callable[[super_block, str], inode]
TreeEntry = Union[Entry, str, Subtree, NodeFactory]
"""A file; the target of a symbolic link; a directory; or a function of (file system, path) that makes the inode."""
Tree = dict[str, TreeEntry]


def as_bytes(text: Text) -> bytes:
    """`text` as the guest sees it (file names may hold any byte: surrogateescape)."""
    return os.fsencode(text) if isinstance(text, str) else text


class _Pieces:
    """A text of which only what was not read yet is kept."""

    __slots__ = ("left", "pieces", "start")

    def __init__(self, pieces: Iterator[str]) -> None:
        self.pieces = pieces
        self.left = b""
        self.start = 0
        """Where `left` is in the text."""

    def read(self, count: int, position: int) -> bytes:
        """Up to `count` bytes from `position`, which is not before `start` (fs/seq_file.c: traverse, seq_read_iter)."""
        while self.start + len(self.left) <= position:
            self.start += len(self.left)
            self.left = os.fsencode(next(self.pieces, ""))
            if not self.left:
                return b""
        parts = [self.left[position - self.start :]]
        size = len(parts[0])
        while size < count and (piece := os.fsencode(next(self.pieces, ""))):
            parts.append(piece)
            size += len(piece)
        found = b"".join(parts)
        self.start, self.left = position + min(count, size), found[count:]
        return found[:count]


class TextOperations(file_operations):
    """seq_file: the whole text is taken at position 0 and cut up from there."""

    def read_iter(self, filp: file, count: int, position: int) -> bytes:
        shown = filp.private_data
        if shown is None or position == 0 or (type(shown) is _Pieces and position < shown.start):
            node = filp.f_inode
            assert isinstance(node, ProcFile)
            text = node.show()
            shown = filp.private_data = as_bytes(text) if isinstance(text, (str, bytes)) else _Pieces(text)
        if type(shown) is _Pieces:
            return shown.read(count, position)
        whole: bytes = shown
        return whole[position : position + count]

    def write_iter(self, filp: file, data: bytes, position: int) -> int:
        """sysfs takes a page, and says so (fs/kernfs/file.c: kernfs_fop_write_iter)."""
        node = filp.f_inode
        assert isinstance(node, ProcFile)
        if node.i_sb.s_magic != PROC_SUPER_MAGIC:
            data = data[:PAGE_SIZE]
        node.store(data)
        filp.private_data = None
        return len(data)

    def write_most(self, filp: file, count: int) -> int:
        """A sysctl gets all; ENOMEM for more than kmalloc has (fs/proc/proc_sysctl.c: proc_sys_call_handler).  Other
        files look at the beginning: `comm` at 15 bytes."""
        node = filp.f_inode
        assert isinstance(node, ProcFile)
        if node.i_sb.s_magic != PROC_SUPER_MAGIC:
            return PAGE_SIZE + 1
        if not node.path.startswith("sys/"):
            return PAGE_SIZE
        if count >= KMALLOC_MAX_SIZE:
            raise Errno(ENOMEM)
        return count

    def llseek(self, filp: file, offset: int, whence: int) -> int:
        """SEEK_SET and SEEK_CUR only (fs/seq_file.c: seq_lseek)."""
        if whence == 1:
            offset += filp.f_pos
        if whence not in (0, 1) or offset < 0:
            return -EINVAL
        filp.f_pos = offset
        return offset


class _ShownOperations(TextOperations):
    """Of a file that does not open where it could not be read (fs/proc_namespace.c: mounts_open_common)."""

    def open(self, node: Any, filp: file) -> int:
        node.show()
        return 0


class DirOperations(file_operations):
    """A directory of entries that are listed when it is read."""

    def iterate(self, filp: file) -> list[tuple[str, int, int]]:
        node = filp.f_inode
        return [(".", node.i_ino, DT_DIR), ("..", node.i_ino, DT_DIR), *node.list()]


_TEXT = TextOperations()
shown_or_not_opened = _ShownOperations()
_DIRECTORY = DirOperations()


class ProcInode(inode):
    """What all of /proc has in common: no size, the number from the path, the times of now."""

    def __init__(self, kernel: Kernel, sb: super_block, path: str, mode: int, fop: file_operations) -> None:
        super().__init__(sb, proc_ino(path), mode, fop)
        self.kernel = kernel
        self.path = path
        """Path inside the file system, without a leading slash."""
        self.i_atime = self.i_mtime = self.i_ctime = kernel.clock.realtime_ns()

    def truncate(self, length: int) -> None:
        """O_TRUNC on a file of /proc changes nothing (`echo 1 > /proc/sys/…`)."""

    def own(self, task: task_struct) -> None:
        """Belong to the task's user, or to root where it may not be looked at (task_dump_owner)."""
        hidden = self.i_mode != S_IFDIR | 0o555 and getattr(getattr(task, "mm", None), "dumpable", 1) != 1
        self.i_uid, self.i_gid = (0, 0) if hidden else (task.euid, task.egid)


def must_access(target: task_struct) -> None:
    """EACCES for who may not look at the process (ptrace_may_access)."""
    from machine.kernel.task.ptrace import may_access

    task = target.kernel.current
    if task is not None and not may_access(task, target):
        raise Errno(EACCES)


def proc_ino(path: str) -> int:
    """The inode number of `path`; the root is 1 as everywhere."""
    return 0x40000000 | crc32(os.fsencode(path)) & 0x3FFFFFFF if path else PROC_ROOT_INO


class ProcFile(ProcInode):
    """A file whose text is computed."""

    def __init__(
        self,
        kernel: Kernel,
        sb: super_block,
        path: str,
        mode: int,
        show: Callable[[], Shown],
        store: Optional[Callable[[bytes], None]] = None,
    ) -> None:
        super().__init__(kernel, sb, path, S_IFREG | mode, _TEXT)
        self.show = show
        self._store = store

    def store(self, data: bytes) -> None:
        """One write; EIO where the file has no write method (fs/proc/inode.c)."""
        if self._store is None:
            raise Errno(EIO)
        self._store(data)


class ProcLink(ProcInode):
    """A symbolic link; `leads` makes it a magic one, which goes to an object and not to a path."""

    def __init__(
        self,
        kernel: Kernel,
        sb: super_block,
        path: str,
        target: Callable[[], str],
        leads: Optional[Callable[[], Optional[tuple[inode, str]]]] = None,
        mode: int = 0o777,
    ) -> None:
        super().__init__(kernel, sb, path, S_IFLNK | mode, file_operations())
        self._target = target
        self._leads = leads

    def readlink(self) -> str:
        """ENAMETOOLONG where a magic link's object has no path that fits a page (fs/proc/base.c: do_proc_readlink)."""
        target = self._target()
        if self._leads is not None and len(os.fsencode(target)) >= PAGE_SIZE:
            raise Errno(ENAMETOOLONG)
        return target

    def follow(self) -> Optional[tuple[inode, str]]:
        return None if self._leads is None else self._leads()


class ProcDirectory(ProcInode):
    """A directory whose entries `names()` lists and `child(name)` makes."""

    def __init__(self, kernel: Kernel, sb: super_block, path: str, mode: int = 0o555) -> None:
        super().__init__(kernel, sb, path, S_IFDIR | mode, _DIRECTORY)
        self.i_nlink = 2

    def below(self, name: str) -> str:
        """The path of the entry `name`."""
        return f"{self.path}/{name}" if self.path else name

    def names(self) -> list[tuple[str, int]]:
        """(name, d_type) of the entries."""
        raise NotImplementedError

    def child(self, name: str) -> Optional[inode]:
        """The entry `name`, or None."""
        raise NotImplementedError

    def lookup(self, name: str) -> Optional[inode]:
        return self.child(name)

    def create(self, name: str, mode: int, rdev: int = 0) -> inode:
        """Nothing is made here: ENOENT, which is what the look-up of a new name gives."""
        raise Errno(ENOENT)

    def mkdir(self, name: str, mode: int) -> inode:
        raise Errno(ENOENT)

    def symlink(self, name: str, target: str) -> inode:
        raise Errno(ENOENT)

    def link(self, name: str, existing: inode) -> None:
        raise Errno(ENOENT)

    def list(self) -> list[tuple[str, int, int]]:
        return [(name, proc_ino(self.below(name)), kind) for name, kind in self.names()]


class TreeDirectory(ProcDirectory):
    """A directory of a tree given as path -> `TreeEntry`; a path that ends in a slash is an empty directory."""

    def __init__(self, kernel: Kernel, sb: super_block, path: str, tree: Callable[[], Tree]) -> None:
        super().__init__(kernel, sb, path)
        self._tree = tree

    def names(self) -> list[tuple[str, int]]:
        found: dict[str, int] = {}
        prefix = self.path + "/" if self.path else ""
        for path, entry in self._tree().items():
            if path.startswith(prefix):
                name, slash, _rest = path[len(prefix) :].partition("/")
                if name:
                    is_directory = slash or isinstance(entry, Subtree)
                    found[name] = DT_DIR if is_directory else DT_LNK if isinstance(entry, str) else DT_REG
        return list(found.items())

    def child(self, name: str) -> Optional[inode]:
        path = self.below(name)
        tree = self._tree()
        entry = tree.get(path)
        if isinstance(entry, str):
            target = entry
            return ProcLink(self.kernel, self.i_sb, path, lambda: target)
        if isinstance(entry, Entry):
            return self._file(path, entry)
        if isinstance(entry, Subtree):
            return self._subtree(path, entry)
        if entry is not None:
            return entry(self.i_sb, path)
        if any(each.startswith(path + "/") for each in tree):
            return TreeDirectory(self.kernel, self.i_sb, path, self._tree)
        return None

    def _subtree(self, path: str, entry: Subtree) -> inode:
        kernel = self.kernel
        return TreeDirectory(
            kernel, self.i_sb, path, lambda: {f"{path}/{name}": each for name, each in entry.entries(kernel).items()}
        )

    def _file(self, path: str, entry: Entry) -> inode:
        kernel, store = self.kernel, entry.store
        return ProcFile(
            kernel,
            self.i_sb,
            path,
            entry.mode,
            lambda: entry.show(kernel),
            None if store is None else lambda data: store(kernel, data),
        )


class _Root(TreeDirectory):
    """/proc itself: the processes, ``self``, and the tree of `proc_misc`."""

    def __init__(self, kernel: Kernel, sb: super_block) -> None:
        super().__init__(kernel, sb, "", lambda: _everything(kernel))

    def names(self) -> list[tuple[str, int]]:
        leaders = sorted(task.tgid for task in self.kernel.tasks.values() if task.pid == task.tgid)
        links = [("self", DT_LNK), ("thread-self", DT_LNK)]
        return [*super().names(), *links, *((str(pid), DT_DIR) for pid in leaders)]

    def child(self, name: str) -> Optional[inode]:
        from machine.kernel.fs.proc_task import TaskDirectory

        kernel = self.kernel
        if name == "self":
            return ProcLink(kernel, self.i_sb, name, lambda: str(_current(kernel).tgid))
        if name == "thread-self":
            return ProcLink(kernel, self.i_sb, name, lambda: f"{_current(kernel).tgid}/task/{_current(kernel).pid}")
        if name.isdecimal() and not name.startswith("0"):
            task = kernel.tasks.get(int(name))
            return None if task is None else TaskDirectory(kernel, self.i_sb, name, task)
        return super().child(name)

    def getattr(self) -> None:
        """The root's link count is 2 and one a process (fs/proc/root.c: proc_root_getattr)."""
        self.i_nlink = 2 + len(self.kernel.tasks)


def _everything(kernel: Kernel) -> Tree:
    from machine.kernel.fs.proc_misc import TREE

    tree: Tree = dict(TREE)
    for name, show in kernel.proc_entries.items():
        tree[name] = Entry(0o444, _driver_text(show))
    return tree


def _driver_text(show: Callable[[], Text]) -> Callable[[Kernel], Text]:
    return lambda _kernel: show()


def _current(kernel: Kernel) -> task_struct:
    """The task that asks; ENOENT for the machine itself, which is no process."""
    if kernel.current is None:
        raise Errno(ENOENT)
    return kernel.current


def alive(task: task_struct) -> task_struct:
    """`task` unless it was reaped since the file was opened: ESRCH."""
    if task.kernel.tasks.get(task.pid) is not task:
        raise Errno(ESRCH)
    return task


def procfs_root(kernel: Kernel) -> inode:
    """The root directory of a new proc file system, to be mounted at /proc."""
    return _Root(kernel, super_block("proc", PROC_DEV, PROC_SUPER_MAGIC, s_blocksize=1024))


def is_proc(node: inode) -> bool:
    """Whether `node` belongs to a proc file system (exec and mmap of such files are refused)."""
    return node.i_sb.s_magic == PROC_SUPER_MAGIC and node.i_mode & S_IFMT == S_IFREG
