"""What the guest sees: the root and everything that is mounted in it.

Without `root` it is the host's /usr and its relatives (/bin, /lib*, /sbin as the host has them) and the
current directory at its own path, all read-only below a layer in memory; /etc is made up.  With `root`
that directory is the whole tree.  Always on top: /proc, /sys, /dev, /dev/shm, /tmp, /run, and the binds.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, Optional

from machine.kernel.abi.errno import ENOTDIR, Errno
from machine.kernel.fs.etc import fill_etc
from machine.kernel.fs.file import MKDEV, S_IFDIR, S_IFMT, S_IFREG, inode, super_block
from machine.kernel.fs.hostbind import bind_root, bind_super
from machine.kernel.fs.hostfs import HostTree
from machine.kernel.fs.namei import Dentry, follow_mount, lookup
from machine.kernel.fs.overlay import export_tree, overlay_dir, overlay_super
from machine.kernel.fs.tmpfs import (
    TMPFS_MAGIC,
    devtmpfs_dir,
    memory_dir,
    memory_file,
    memory_super,
    memory_symlink,
    tmpfs_root,
)
from machine.records import field, record

if TYPE_CHECKING:
    from machine.kernel.kernel import Kernel

SYSTEM_DIRECTORIES = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec")
EMPTY_DIRECTORIES = (("root", 0o700), ("home", 0o755), ("mnt", 0o755), ("opt", 0o755), ("srv", 0o755), ("var", 0o755))
_NOT_EXPORTED = ("/", "/proc", "/dev", "/sys")
"""A current directory that is one of these, or (but for /) below, is not part of the guest's view."""


@record
class Bind:
    """``--bind HOST:GUEST[:rw]``."""

    host: str
    guest: str
    writable: bool = False
    privileged: bool = False
    """Owners and set-user-ID bits are set on the host as root of the guest wants: for copies that nobody else sees."""


@record
class RootView:
    """What of the host the guest sees."""

    root: Optional[str] = None
    """``-L DIR``: this directory is the whole root."""
    cwd: Optional[str] = None
    """A directory that is seen at its own path; None: none."""
    binds: list[Bind] = field(default_factory=list)
    user: tuple[int, int] = (0, 0)
    hostname: str = "nopage"
    force_fallback: bool = False
    """Open host paths without openat2 (tests)."""


@record
class Mount:
    """One line of /proc/mounts."""

    source: str
    path: str
    type: str
    dev: int
    read_only: bool
    root: inode


class Vfs:
    """What the file systems of one machine share."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.covered: dict[inode, inode] = {}
        """Directory or file -> root of what is mounted on it."""
        self.internal_mounts: dict[str, super_block] = {}
        self.host_descriptors: list[Any] = []
        self.foreground = 0
        """Process group that the host's terminal belongs to, as far as the guest knows."""
        self.host_tty: Any = None
        """The host's terminal as a controlling terminal (fs/tty.py), once a program was started on one."""
        self.ptys: dict[int, Any] = {}
        """Number -> slave `tty_struct` of the pseudo terminals whose master is open."""
        self.devpts: Any = None
        """The root of /dev/pts."""
        self.supers: list[memory_super] = []
        self.lock_waiters: dict[Any, Any] = {}
        """Owner of a record lock that somebody waits for: waiter -> holder."""
        self.trees: list[HostTree] = []
        self.dev: Optional[devtmpfs_dir] = None
        """/dev, once it is mounted."""
        self.shmem: Optional[memory_super] = None
        """Where unnamed shared memory and memfds live."""
        self.ucounts: dict[tuple[str, int], int] = {}
        """(what, user) -> how many there are (ucount.py)."""
        self._next_dev = 24

    def new_dev(self) -> int:
        """A device number for a file system without a device."""
        self._next_dev += 1
        return MKDEV(0, self._next_dev)

    def tree(self, path: str, force_fallback: bool = False) -> HostTree:
        """Export a directory of the host, read-only.  OSError if it can't be opened."""
        exported = HostTree(path, False, force_fallback)
        self.trees.append(exported)
        return exported

    def track(self, sb: Any) -> None:
        """A file system whose page cache belongs to this machine."""
        if sb not in self.supers:
            self.supers.append(sb)

    def files(self) -> list[memory_file]:
        """Every regular file that may own frames."""
        return [node for sb in self.supers for node in sb.files]

    def page_cache_frames(self) -> int:
        """Frames of the page cache (`Cached` of /proc/meminfo)."""
        return sum(len(node.i_mapping.pages) + len(node.i_mapping.fallocated) for node in self.files())

    def shmem_frames(self) -> int:
        """Of these, the frames of files in memory (`Shmem`)."""
        files = [node for sb in self.supers if sb.s_magic == TMPFS_MAGIC for node in sb.files]
        return sum(len(node.i_mapping.pages) + len(node.i_mapping.fallocated) for node in files)

    def shrink(self, wanted: int) -> int:
        """Memory is short: drop clean pages of host files; how many frames became free."""
        dropped = 0
        for node in self.files():
            dropped += node.i_mapping.drop_clean_pages()
            if dropped >= wanted:
                break
        return dropped

    def sync(self, sb: Any = None) -> Optional[OSError]:
        """Write what shared mappings changed in ``:rw`` binds to the host (sync(2); of one file system: syncfs(2)); the
        first failure."""
        nodes: list[Any] = list(self.files() if sb is None else getattr(sb, "files", ()))
        failure = None
        for node in nodes:
            if node.i_mapping.write_through:
                try:
                    node.i_mapping.writeback()
                except Errno as error:
                    name = node.data.host_name
                    why = f"{os.strerror(error.errno)}: what programs wrote to it by mapping it is not all there"
                    failure = failure or OSError(error.errno, why, name)
                node.give_back()
        return failure

    def release_all(self) -> Optional[OSError]:
        """The end of the machine: write back, free every frame, close every host descriptor; `sync`'s failure."""
        failure = self.sync()
        for node in self.files():
            node.i_mapping.release()
            data = getattr(node, "data", None)
            if data is not None:
                data.close()
        for sb in self.supers:
            sb.files.clear()
        for exported in self.trees:
            exported.close()
        self.trees.clear()
        self.covered.clear()
        return failure


# -- mounting --------------------------------------------------------------------------------------


def mount(kernel: Kernel, path: str, root: inode, s_type: str, source: str = "") -> None:
    """Mount `root` at `path`; a missing mount point is made in the file system there."""
    vfs = kernel.vfs
    point = mount_point(kernel, path, root.i_mode & S_IFMT == S_IFDIR)
    vfs.covered[point] = root
    sb = root.i_sb
    kernel.mounts.append(Mount(source or s_type, path, s_type, sb.s_dev, sb.read_only, root))
    if isinstance(sb, memory_super):
        vfs.track(sb)


def mount_point(kernel: Kernel, path: str, is_dir: bool) -> inode:
    """What is at `path`, made with everything above it where it is missing: the machine's doing, not the guest's."""
    here: inode = kernel.root.d_inode
    names = [name for name in path.split("/") if name]
    for depth, name in enumerate(names):
        if here.i_mode & S_IFMT != S_IFDIR:
            raise Errno(ENOTDIR)
        below = here.lookup(name)
        if below is not None and below.i_mode & S_IFMT == stat.S_IFLNK:
            return mount_point(kernel, _resolved(names, depth, below.readlink()), is_dir)
        if below is None:
            last = depth == len(names) - 1
            below = _make_point(here, name, is_dir or not last)
        here = follow_mount(kernel, below)
    return here


def _resolved(names: list[str], depth: int, target: str) -> str:
    above = "/" + "/".join(names[:depth])
    return os.path.normpath(os.path.join(above, target, *names[depth + 1 :]))


def _make_point(here: inode, name: str, is_dir: bool) -> inode:
    """An empty directory or file to mount on; it is the machine's, not the guest's doing."""
    if not isinstance(here, memory_dir) or isinstance(here.i_sb, bind_super):
        return here.mkdir(name, 0o755) if is_dir else here.create(name, S_IFREG | 0o644)
    sb: Any = here.i_sb
    node: inode
    if is_dir:
        node = overlay_dir(sb, 0o755) if isinstance(here, overlay_dir) else memory_dir(sb, 0o755)
    else:
        node = memory_file(sb, S_IFREG | 0o644)
    if isinstance(here, overlay_dir):
        here.place(name, node)
    else:
        here.add(name, node)
    return node


def mount_root(kernel: Kernel, view: RootView) -> None:
    """Build the guest's tree: sets `kernel.root`, fills `kernel.mounts`.  OSError for a path that the host lacks."""
    vfs = kernel.vfs
    sb = overlay_super(kernel, vfs.new_dev())
    vfs.track(sb)
    top = _whole_root(kernel, sb, view) if view.root is not None else _default_root(kernel, sb, view)
    kernel.root = Dentry(top, "", None)
    kernel.mounts.append(Mount("overlay", "/", "overlay", sb.s_dev, False, top))
    _mount_virtual(kernel)
    if view.cwd is not None and view.root is None:
        _export_cwd(kernel, sb, view)
    for each in view.binds:
        node, tree = bind_root(kernel, vfs.new_dev(), each.host, each.writable, view.force_fallback)
        tree.privileged = each.privileged
        vfs.trees.append(tree)
        try:
            mount(kernel, os.path.normpath(each.guest), node, "bind", each.host)
        except Errno as error:  # a directory on a file, or below one
            raise OSError(error.errno, os.strerror(error.errno), f"{each.host}:{each.guest}") from None
        kernel.mounts[-1].type = "ext4"
    kernel.mem.shrinkers.append(vfs.shrink)


GIVES_WAY = ("dmesg",)
"""Programs that are not shown where the guest's own system has one of the name, which can do more."""


def show_programs(kernel: Kernel, directory: str, where: str = "/usr/local/bin", suffix: str = "") -> None:
    """Show the files of a host directory, read-only, in the guest's directory `where` as NAME + `suffix`."""
    sb: Any = kernel.root.d_inode.i_sb
    point: Any = mount_point(kernel, where, True)
    source = export_tree(sb, kernel.vfs.tree(directory))
    for name, _ino, _kind in source.list():
        if name + suffix in GIVES_WAY and any(_has(kernel, f"{path}/{name}") for path in ("/usr/bin", "/bin")):
            continue
        node = source.lookup(name)
        if node is not None and node.i_mode & S_IFMT == S_IFREG:
            point.place(name + suffix, node)


def _has(kernel: Kernel, path: str) -> bool:
    try:
        return lookup(kernel, kernel.init_task, path).d_inode is not None
    except Errno:
        return False


def _whole_root(kernel: Kernel, sb: overlay_super, view: RootView) -> overlay_dir:
    assert view.root is not None
    top = export_tree(sb, kernel.vfs.tree(view.root, view.force_fallback))
    if top.lookup("etc") is None:
        etc = overlay_dir(sb, 0o755)
        fill_etc(etc, view.hostname, view.user, None)
        top.place("etc", etc)
    return top


def _default_root(kernel: Kernel, sb: overlay_super, view: RootView) -> overlay_dir:
    vfs = kernel.vfs
    top = overlay_dir(sb, 0o755)
    for name in SYSTEM_DIRECTORIES:
        path = "/" + name
        if os.path.islink(path):
            top.place(name, memory_symlink(sb, os.readlink(path)))
        elif os.path.isdir(path):
            top.place(name, export_tree(sb, vfs.tree(path, view.force_fallback)))
    for name, mode in EMPTY_DIRECTORIES:
        top.place(name, overlay_dir(sb, mode))
    var: Any = top.children["var"]
    var.place("tmp", overlay_dir(sb, 0o1777))
    var.place("run", memory_symlink(sb, "/run"))
    etc = overlay_dir(sb, 0o755)
    tree = vfs.tree("/etc", view.force_fallback) if os.path.isdir("/etc") else None
    fill_etc(etc, view.hostname, view.user, tree)
    top.place("etc", etc)
    return top


def _mount_virtual(kernel: Kernel) -> None:
    from machine.kernel.fs.proc import procfs_root
    from machine.kernel.fs.sysfs import sysfs_root
    from machine.kernel.fs.tty import devpts_root, tty_init

    vfs = kernel.vfs
    mount(kernel, "/proc", procfs_root(kernel), "proc")
    mount(kernel, "/sys", sysfs_root(kernel), "sysfs")
    dev = vfs.dev = devtmpfs_dir(memory_super(kernel, "devtmpfs", vfs.new_dev()), 0o755)
    for name, target in (
        ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):  # fmt: skip
        dev.make_link(name, target)
    mount(kernel, "/dev", dev, "devtmpfs", "devtmpfs")
    tty_init(kernel)
    kernel.chrdevs.publish_all()
    vfs.devpts = devpts_root(kernel)
    mount(kernel, "/dev/pts", vfs.devpts, "devpts", "devpts")
    mount(kernel, "/dev/shm", tmpfs_root(kernel, vfs.new_dev()), "tmpfs")
    mount(kernel, "/tmp", tmpfs_root(kernel, vfs.new_dev()), "tmpfs")
    mount(kernel, "/run", tmpfs_root(kernel, vfs.new_dev(), 0o755), "tmpfs")


def _export_cwd(kernel: Kernel, sb: overlay_super, view: RootView) -> None:
    """The current directory at its own path, unless the guest sees it anyway."""
    assert view.cwd is not None
    path = os.path.realpath(view.cwd)
    if path in _NOT_EXPORTED or path.startswith(tuple(each + "/" for each in _NOT_EXPORTED[1:])):
        return
    first = path.split("/")[1]
    if first in SYSTEM_DIRECTORIES and os.path.isdir("/" + first) and not os.path.islink("/" + first):
        return
    node = export_tree(sb, kernel.vfs.tree(path, view.force_fallback))
    point = mount_point(kernel, os.path.dirname(path), True)
    name = os.path.basename(path)
    if isinstance(point, overlay_dir) and point.lookup(name) is None:
        point.place(name, node)
    else:
        mount(kernel, path, node, "overlay")
