"""The layer above host trees: what is changed, what is seen, and that the host never notices."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from machine import Machine
from machine.kernel.abi.errno import (
    EACCES,
    EEXIST,
    EFBIG,
    EIO,
    EISDIR,
    ENOENT,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    Errno,
)
from machine.kernel.current import set_current_kernel
from machine.kernel.fs.export import changed_names, save_layer
from machine.kernel.fs.file import O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, file, inode
from machine.kernel.fs.namei import lookup, open_file
from machine.kernel.fs.overlay import overlay_dir, overlay_file
from machine.kernel.fs.tmpfs import RENAME_EXCHANGE, RENAME_NOREPLACE

PAGE = 4096


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The host's directory that becomes the guest's root."""
    (tmp_path / "dir" / "sub").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"0123456789" * 1000)
    (tmp_path / "dir" / "inner").write_text("inner")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "one").write_text("shared")
    os.link(tmp_path / "one", tmp_path / "two")
    os.chmod(tmp_path / "file", 0o640)
    return tmp_path


def snapshot(top: Path) -> dict[str, tuple[Any, ...]]:
    """Everything that a change on the host would change."""
    found = {}
    for path in sorted(top.rglob("*")):
        info = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(info.st_mode) else b""
        found[str(path)] = (info.st_mode, info.st_uid, info.st_size, info.st_mtime_ns, info.st_ino, info.st_nlink, data)
    return found


@pytest.fixture
def machine(host: Path) -> Iterator[Machine]:
    before = snapshot(host)
    made = Machine(ram=32 << 20, root=host)
    previous = set_current_kernel(made.kernel)
    yield made
    set_current_kernel(previous)
    made.close()
    assert snapshot(host) == before, "the host was changed"
    assert not made.kernel.reports


Look = Callable[[str], Any]


@pytest.fixture
def look(machine: Machine) -> Look:
    """The inode at a path."""

    def find(path: str) -> inode:
        return lookup(machine.kernel, machine.kernel.init_task, path, follow=False).d_inode

    return find


@pytest.fixture
def opened(machine: Machine) -> Callable[..., file]:
    """An open file."""

    def make(path: str, flags: int = O_RDONLY, mode: int = 0o644) -> file:
        return open_file(machine.kernel, machine.kernel.init_task, path, flags, mode)

    return make


def names(node: Any) -> list[str]:
    return [name for name, _, _ in node.list()]


def failure(call: Callable[..., Any], *args: Any) -> int:
    with pytest.raises(Errno) as caught:
        call(*args)
    return caught.value.errno


def test_the_host_shows(look: Look, host: Path) -> None:
    node = look("/file")
    assert isinstance(node, overlay_file)
    info = (host / "file").stat()
    assert (node.i_mode, node.i_uid, node.i_size, node.i_mtime) == (info.st_mode, info.st_uid, 10000, info.st_mtime_ns)
    assert node.i_mapping.read(9990, 100) == b"0123456789"
    assert look("/link").readlink() == "file"
    assert set(names(look("/"))) >= {"dir", "file", "link", "one", "two", "proc", "tmp"}
    assert look("/dir").lookup("nothing") is None
    assert look("/file") is node
    assert {n: i for n, i, _ in look("/dir").list()}["inner"] == look("/dir/inner").i_ino


def test_hard_links_of_the_host_are_one_file(look: Look) -> None:
    assert look("/one") is look("/two")
    look("/one").prepare_write()
    look("/one").i_mapping.write(0, b"SH")
    assert look("/two").i_mapping.read(0, 10) == b"SHared"


def test_a_write_stays_in_the_layer(opened: Callable[..., file], look: Look, machine: Machine) -> None:
    filp = opened("/file", O_RDWR)
    number = filp.f_inode.i_ino
    write = filp.f_op.write_iter
    assert write is not None
    assert write(filp, b"abc", 5000) == 3
    node = look("/file")
    assert node is filp.f_inode and node.i_ino == number
    assert node.i_mapping.read(4998, 7) == b"89abc34"
    assert node.i_mapping.read(0, 5) == b"01234"
    assert sorted(node.i_mapping.pages) == [1], "only the changed page is kept"
    assert changed_names(machine.kernel) == (["/file"], [])
    filp.put()


def test_truncation_hides_the_host_for_good(opened: Callable[..., file], look: Look) -> None:
    node = look("/file")
    node.truncate(5000)
    node.truncate(10000)
    data = node.i_mapping.read(0, 20000)
    assert data == (b"0123456789" * 500).ljust(10000, b"\0")
    filp = opened("/file", O_RDWR | O_TRUNC)
    assert node.i_size == 0 and node.i_mapping.read(0, 10) == b""
    node.truncate(100)
    assert node.i_mapping.read(0, 200) == bytes(100)
    filp.put()


def test_attributes_live_in_the_layer(look: Look) -> None:
    node = look("/file")
    node.setattr(i_mode=0o600, i_uid=7, i_mtime=5)
    node.getattr()
    assert (node.i_mode & 0o7777, node.i_uid, node.i_mtime) == (0o600, 7, 5)
    directory = look("/dir")
    directory.setattr(i_mode=0o700)
    directory.getattr()
    assert directory.i_mode & 0o7777 == 0o700
    assert names(directory) == ["inner", "sub"]


def test_whiteouts(look: Look) -> None:
    top, directory = look("/"), look("/dir")
    top.unlink("file")
    assert failure(look, "/file") == ENOENT
    assert "file" not in names(top)
    assert failure(top.unlink, "file") == ENOENT
    made = top.create("file", 0o644)
    assert made.i_size == 0 and look("/file") is made
    top.unlink("file")
    assert "file" not in names(top)
    assert failure(top.rmdir, "dir") == ENOTEMPTY
    directory.unlink("inner")
    directory.rmdir("sub")
    assert directory.is_empty()
    top.rmdir("dir")
    assert failure(look, "/dir/inner") == ENOENT


def test_a_new_directory_over_an_old_name_is_opaque(look: Look) -> None:
    top, directory = look("/"), look("/dir")
    directory.unlink("inner")
    directory.rmdir("sub")
    top.rmdir("dir")
    top.mkdir("dir", 0o755)
    assert names(look("/dir")) == []
    assert failure(look, "/dir/inner") == ENOENT


def test_rename_of_what_the_host_has(look: Look) -> None:
    top, directory = look("/"), look("/dir")
    node = look("/file")
    top.rename("file", directory, "moved")
    assert look("/dir/moved") is node and failure(look, "/file") == ENOENT
    top.rename("dir", top, "renamed")
    assert look("/renamed") is directory
    assert look("/renamed/inner").i_mapping.read(0, 10) == b"inner"
    assert names(directory) == ["inner", "moved", "sub"]
    assert failure(top.rename, "one", top, "renamed") == EISDIR
    assert failure(top.rename, "renamed", top, "one") == ENOTDIR
    assert failure(top.rename, "one", top, "link", RENAME_NOREPLACE) == EEXIST
    top.rename("link", top, "renamed", RENAME_EXCHANGE)
    assert look("/link") is directory and look("/renamed").readlink() == "file"


def test_an_unlinked_file_lives_while_it_is_open(opened: Callable[..., file], look: Look, machine: Machine) -> None:
    free = machine.kernel.mem.free_frames()
    filp = opened("/new", O_RDWR | O_CREAT)
    node = filp.f_inode
    node.i_mapping.write(0, bytes(10 * PAGE))
    assert machine.kernel.mem.free_frames() == free - 10
    look("/").unlink("new")
    assert node.i_mapping.read(0, 4) == bytes(4)
    filp.put()
    assert machine.kernel.mem.free_frames() == free, "its frames are free again"


def test_an_unlinked_host_file_can_be_read_on(opened: Callable[..., file], look: Look) -> None:
    filp = opened("/file")
    look("/").unlink("file")
    assert filp.f_op.read_iter is not None
    assert filp.f_op.read_iter(filp, 10, 20) == b"0123456789"
    filp.put()


def test_pages_of_the_host_can_be_dropped_and_changed_ones_not(look: Look, machine: Machine) -> None:
    mapping = look("/file").i_mapping
    for index in range(3):
        mapping.find_or_read(index)
    look("/file").prepare_write()
    mapping.write(0, b"X")
    assert machine.kernel.vfs.page_cache_frames() >= 3
    assert machine.kernel.vfs.shrink(100) >= 2
    assert sorted(mapping.pages) == [0]
    assert mapping.read(0, 3) == b"X12" and mapping.read(PAGE, 4) == b"6789"


def test_the_layer_is_limited(look: Look, machine: Machine) -> None:
    node = look("/").create("big", 0o644)
    limit = node.i_sb.max_pages
    assert node.i_mapping.write(0, bytes(1 << 20)) == 1 << 20
    node.i_sb.max_pages = node.i_sb.used_pages + 2
    assert node.i_mapping.write(1 << 20, bytes(10 * PAGE)) == 2 * PAGE
    assert failure(node.i_mapping.write, 2 << 20, b"x") == ENOSPC
    node.i_sb.max_pages = limit
    node.truncate(0)
    assert node.i_sb.used_pages < limit
    assert failure(node.truncate, 1 << 63) == EFBIG


def test_sparse_files_take_no_frames(look: Look, machine: Machine) -> None:
    free = machine.kernel.mem.free_frames()
    node = look("/").create("sparse", 0o644)
    node.i_mapping.write(1 << 30, b"end")
    assert node.i_size == (1 << 30) + 3
    assert node.i_mapping.read(5 << 20, 10) == bytes(10)
    assert free - machine.kernel.mem.free_frames() == 1


def test_a_file_that_the_host_replaces(tmp_path: Path) -> None:
    """Until the guest changes it, the host's file shows as it is now."""
    (tmp_path / "f").write_text("old")
    with Machine(ram=32 << 20, root=tmp_path) as machine:
        node: Any = lookup(machine.kernel, machine.kernel.init_task, "/f").d_inode
        assert node.i_mapping.read(0, 10) == b"old"
        (tmp_path / "g").write_text("newer")
        os.replace(tmp_path / "g", tmp_path / "f")
        again: Any = open_file(machine.kernel, machine.kernel.init_task, "/f", O_RDONLY)
        assert again.f_inode.i_mapping.read(0, 10) == b"newer"
        again.put()
        (tmp_path / "f").unlink()
        node.data.close()
        assert failure(node.data.open) in (ENOENT, EIO)


NOBODY = 65534


def test_what_the_host_forbids(tmp_path: Path) -> None:
    """A file that the user of the host may not read is EACCES, whoever the guest is; root looks as nobody here."""
    tmp_path.chmod(0o755)
    for name, mode in (("closed", 0), ("open", 0o644)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)
    with Machine(ram=32 << 20, root=tmp_path) as machine:
        before = os.geteuid()
        if before == 0:
            os.seteuid(NOBODY)
        try:
            assert failure(open_file, machine.kernel, machine.kernel.init_task, "/closed", O_RDONLY) == EACCES
            open_file(machine.kernel, machine.kernel.init_task, "/open", O_RDONLY).put()
        finally:
            if before == 0:
                os.seteuid(before)


@pytest.mark.parametrize("fallback", [False, True])
def test_links_out_of_the_tree_stay_inside_the_guest(tmp_path: Path, fallback: bool) -> None:
    """An absolute link of the host is followed by the guest, in the guest's tree."""
    from machine.kernel.fs.rootfs import Vfs

    secret = tmp_path / "secret"
    secret.write_text("secret")
    root = tmp_path / "root"
    root.mkdir()
    for name, target in (("a", str(secret)), ("b", "../secret"), ("c", "/proc/self/root" + str(secret))):
        (root / name).symlink_to(target)
    with Machine(ram=32 << 20, root=root) as machine:
        assert isinstance(machine.kernel.vfs, Vfs)
        for tree in machine.kernel.vfs.trees:
            tree._openat2 = tree._openat2 and not fallback
        for name in ("a", "b", "c"):
            assert failure(open_file, machine.kernel, machine.kernel.init_task, "/" + name, O_RDONLY) == ENOENT


def test_the_default_view(
    machine_clean: Callable[..., Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").write_text("here")
    monkeypatch.chdir(tmp_path)
    machine = machine_clean(ram=64 << 20)
    script = "pwd; cat here; echo changed > here; cat here; ls -d /home/* /etc/shadow /boot; test -d /usr/bin; echo $?"
    result = machine.run(["sh", "-c", script])
    assert result.stdout.decode().split("\n") == [str(tmp_path), "herechanged", "0", ""]
    assert (tmp_path / "here").read_text() == "here"


def test_overlay_dir_is_what_the_root_is(look: Look) -> None:
    assert isinstance(look("/"), overlay_dir)


def test_what_the_guest_wrote_can_be_kept(
    look: Look, machine: Machine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert changed_names(machine.kernel) == ([], []), "what was made at boot is not the guest's"
    place = tmp_path_factory.mktemp("kept")
    outside = tmp_path_factory.mktemp("outside")
    (place / "dir").mkdir()
    (place / "dir" / "evil").symlink_to(outside)
    look("/dir").mkdir("evil", 0o755).create("x", 0o644)
    look("/dir/inner").prepare_write()
    look("/dir/inner").i_mapping.write(5, b" changed")
    look("/").mkdir("new", 0o700).symlink("l", "../dir")
    look("/").unlink("file")
    changed, removed = changed_names(machine.kernel)
    assert changed == ["/dir/evil", "/dir/evil/x", "/dir/inner", "/new", "/new/l"] and removed == ["/file"]
    with pytest.raises(NotADirectoryError):
        save_layer(machine.kernel, str(place))
    assert os.listdir(outside) == []
    (place / "dir" / "evil").unlink()
    assert save_layer(machine.kernel, str(place)) == 5
    assert (place / "dir" / "inner").read_text() == "inner changed"
    assert os.readlink(place / "new" / "l") == "../dir" and (place / "dir" / "evil" / "x").read_bytes() == b""


def test_the_end_frees_every_frame(tmp_path: Path) -> None:
    machine = Machine(ram=32 << 20, root=tmp_path)
    before = set_current_kernel(machine.kernel)
    open_file(machine.kernel, machine.kernel.init_task, "/kept", O_RDWR | O_CREAT, 0o644).f_inode.i_mapping.write(
        0, bytes(5 * PAGE)
    )
    assert machine.kernel.mem.used_frames()["page cache"] == machine.kernel.vfs.page_cache_frames()
    machine.kernel.vfs.release_all()
    assert "page cache" not in machine.kernel.mem.used_frames()
    assert machine.kernel.mem.check_free_lists() == []
    set_current_kernel(before)
    machine.close()
