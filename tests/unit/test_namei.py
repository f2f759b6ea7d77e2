"""Path walks inside the kernel: mounts, roots, dentries.  Errno by errno it is done by tests/guest/files/names.c."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.kernel.abi.capability import CAP_FULL_SET
from machine.kernel.abi.errno import EACCES, ELOOP, ENOENT, ENOTDIR, EROFS, ETXTBSY, Errno
from machine.kernel.current import set_current_kernel
from machine.kernel.fs.etc import fill_etc
from machine.kernel.fs.file import O_CREAT, O_PATH, O_RDONLY, O_RDWR, O_WRONLY
from machine.kernel.fs.hostfs import HostTree
from machine.kernel.fs.namei import (
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    allow_write_access,
    d_move,
    deny_write_access,
    inode_permission,
    lookup,
    lookup_parent,
    open_file,
)
from machine.kernel.fs.overlay import overlay_dir
from machine.kernel.fs.read_write import kernel_read_file


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir("/")  # a current directory below /tmp would be one more mount
    with Machine(ram=32 << 20) as machine:
        before = set_current_kernel(machine.kernel)
        yield machine.kernel
        set_current_kernel(before)


def failure(call: Callable[..., Any], *args: Any, **options: Any) -> int:
    with pytest.raises(Errno) as caught:
        call(*args, **options)
    return caught.value.errno


def test_mounts(kernel: Any) -> None:
    task = kernel.init_task
    tmp = lookup(kernel, task, "/tmp")
    assert tmp.path() == "/tmp" and tmp.d_inode.i_sb.s_type == "tmpfs"
    assert lookup(kernel, task, "/tmp/..").d_inode is kernel.root.d_inode
    assert lookup(kernel, task, "/dev/shm").path() == "/dev/shm"
    assert lookup(kernel, task, "/dev/shm/../..").path() == "/"
    devices = {mount.dev for mount in kernel.mounts}
    assert len(devices) == len(kernel.mounts), "every file system has a number of its own"


def test_the_same_name_is_the_same_dentry(kernel: Any) -> None:
    task = kernel.init_task
    tmp = lookup(kernel, task, "/tmp")
    tmp.d_inode.mkdir("d", 0o755)
    first = lookup(kernel, task, "/tmp/d")
    assert lookup(kernel, task, "/tmp/./d/") is first
    tmp.d_inode.rename("d", tmp.d_inode, "e")
    d_move(tmp, "d", tmp, "e")
    assert first.path() == "/tmp/e" and lookup(kernel, task, "/tmp/e") is first
    assert failure(lookup, kernel, task, "/tmp/d") == ENOENT


def test_lookup_parent(kernel: Any) -> None:
    task = kernel.init_task
    where, last, slash = lookup_parent(kernel, task, "/tmp/x/")
    assert (where.path(), last, slash) == ("/tmp", "x", True)
    assert lookup_parent(kernel, task, "/")[1] == ""
    assert lookup_parent(kernel, task, "/tmp/..")[1] == ".."
    assert failure(lookup_parent, kernel, task, "/etc/passwd/x") == ENOTDIR


def test_kernel_read_file(kernel: Any) -> None:
    filp = open_file(kernel, kernel.init_task, "/etc/passwd", O_RDONLY)
    assert kernel_read_file(filp).startswith(b"root:x:0:0:")
    filp.put()


def test_made_up_etc(kernel: Any) -> None:
    task = kernel.init_task
    names = {name for name, _, _ in lookup(kernel, task, "/etc").d_inode.list()}
    assert {"passwd", "group", "hosts", "nsswitch.conf", "mtab"} <= names
    assert not names & {"shadow", "ssh", "sudoers", "machine-id"}
    assert lookup(kernel, task, "/etc/mtab", follow=False).d_inode.readlink() == "/proc/self/mounts"


def test_permissions(kernel: Any) -> None:
    class User:
        uid = euid = fsuid = 1000
        gid = egid = fsgid = 1000
        caps = None
        cap_bset = CAP_FULL_SET
        groups = (50,)

    user: Any = User()
    node = lookup(kernel, kernel.init_task, "/tmp").d_inode.create("f", 0o754)
    for uid, gid, mask, allowed in (
        (1000, 0, 7, True), (0, 0, MAY_READ, True), (0, 0, MAY_WRITE, False), (0, 50, MAY_READ | MAY_EXEC, True),
        (0, 50, MAY_WRITE, False), (0, 1000, MAY_READ, True),
    ):  # fmt: skip
        node.i_uid, node.i_gid = uid, gid
        if allowed:
            inode_permission(user, node, mask)
        else:
            assert failure(inode_permission, user, node, mask) == EACCES
    root: Any = type("Root", (User,), {"uid": 0, "euid": 0})()
    node.i_mode = 0o100600
    inode_permission(root, node, MAY_READ | MAY_WRITE)
    assert failure(inode_permission, root, node, MAY_EXEC) == EACCES
    node.i_sb.read_only = True
    assert failure(inode_permission, root, node, MAY_WRITE) == EROFS


def test_a_running_program_is_not_written(kernel: Any) -> None:
    task = kernel.init_task
    filp = open_file(kernel, task, "/tmp/prog", O_RDWR | O_CREAT, 0o755)
    assert failure(deny_write_access, filp) == ETXTBSY
    filp.put()
    filp = open_file(kernel, task, "/tmp/prog", O_RDONLY)
    deny_write_access(filp)
    assert failure(open_file, kernel, task, "/tmp/prog", O_WRONLY) == ETXTBSY
    allow_write_access(filp)
    open_file(kernel, task, "/tmp/prog", O_WRONLY).put()
    filp.put()


def test_o_path_gives_no_data(kernel: Any) -> None:
    filp = open_file(kernel, kernel.init_task, "/etc/passwd", O_PATH)
    assert filp.f_mode == 0 and filp.f_op.read_iter is None
    filp.put()


def test_a_loop(kernel: Any) -> None:
    tmp = lookup(kernel, kernel.init_task, "/tmp").d_inode
    tmp.symlink("loop", "loop")
    assert failure(lookup, kernel, kernel.init_task, "/tmp/loop") == ELOOP
    assert lookup(kernel, kernel.init_task, "/tmp/loop", follow=False).d_inode.readlink() == "loop"


def test_etc_of_the_host(kernel: Any, tmp_path: Path) -> None:
    """How programs find their files, where the host has them; nothing that holds somebody's passwords.  F1"""
    for name in ("ld-musl-i386.path", "manpath.config", "shadow", "gitconfig", "profile"):
        (tmp_path / name).write_text(name)
    (tmp_path / "ssl" / "private").mkdir(parents=True)
    (tmp_path / "ssl" / "openssl.cnf").write_text("")
    directory = overlay_dir(lookup(kernel, kernel.init_task, "/etc").d_inode.i_sb, 0o755)
    fill_etc(directory, "here", (0, 0), HostTree(str(tmp_path)))
    names = {name for name, _, _ in directory.list()}
    assert {"ld-musl-i386.path", "manpath.config", "passwd"} <= names
    assert not {"shadow", "gitconfig", "profile"} & names
    ssl: Any = directory.lookup("ssl")
    assert {name for name, _, _ in ssl.list()} == {"openssl.cnf"}
