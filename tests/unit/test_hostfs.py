"""The door to the host's files: nothing outside a tree can be reached through it, nothing is written without leave."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine.kernel.abi.errno import (
    EACCES,
    EEXIST,
    EINVAL,
    ELOOP,
    ENOENT,
    ENOTDIR,
    EROFS,
    EXDEV,
    Errno,
)
from machine.kernel.fs.hostfs import HostTree, have_openat2

WAYS = [pytest.param(True, id="fallback")]
if have_openat2():
    WAYS.append(pytest.param(False, id="openat2"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory with a secret beside the tree."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_text("secret")
    return place


@pytest.fixture(params=WAYS)
def tree(request: pytest.FixtureRequest, tmp_path: Path, outside: Path) -> Iterator[HostTree]:
    inside = tmp_path / "tree"
    (inside / "dir" / "deep").mkdir(parents=True)
    (inside / "file").write_text("contents")
    (inside / "dir" / "deep" / "file").write_text("deep")
    (inside / "absolute").symlink_to(outside / "secret")
    (inside / "relative").symlink_to("../outside/secret")
    (inside / "away").symlink_to(outside)
    (inside / "up").symlink_to("..")
    (inside / "good").symlink_to("file")
    (inside / "dir" / "root").symlink_to("/")
    (inside / "magic").symlink_to("/proc/self/root")
    (inside / "self").symlink_to(f"/proc/self/fd/{os.open(outside, os.O_RDONLY)}")
    exported = HostTree(str(inside), force_fallback=request.param)
    yield exported
    exported.close()
    os.close(int(os.readlink(inside / "self").rsplit("/", 1)[1]))


def refused(tree: HostTree, path: str, flags: int = os.O_RDONLY) -> int:
    """The errno with which `path` is refused; the test fails if it is opened."""
    with pytest.raises(Errno) as caught:
        fd = tree.open(path, flags)
        pytest.fail(f"{path} was opened: {os.readlink(f'/proc/self/fd/{fd}')}")
    return caught.value.errno


def test_what_is_inside(tree: HostTree) -> None:
    for path, text in (("file", b"contents"), ("/file", b"contents"), ("dir//deep/./file", b"deep")):
        fd = tree.open(path, os.O_RDONLY)
        assert os.read(fd, 100) == text
        os.close(fd)
    assert tree.lstat("").st_ino == os.stat(tree.name).st_ino
    assert [name for name, _, _ in tree.listdir("dir")] == ["deep", "root"]
    assert tree.readlink("good") == "file"
    assert refused(tree, "nothing") == ENOENT
    assert refused(tree, "file/x") == ENOTDIR
    assert tree.try_lstat("nothing") is None
    with pytest.raises(Errno):
        tree.readlink("file")


@pytest.mark.parametrize("link", ["absolute", "relative", "away", "up", "good", "dir/root", "magic", "self"])
def test_no_link_is_followed(tree: HostTree, link: str) -> None:
    assert refused(tree, link) == ELOOP
    assert os.path.islink(os.path.join(tree.name, link))
    assert tree.lstat(link).st_mode & 0o170000 == 0o120000


@pytest.mark.parametrize(
    "path",
    ["away/secret", "up/outside/secret", "dir/root/etc/passwd", "magic/etc/passwd", "self/secret", "up/tree/file"],
)
def test_no_link_on_the_way(tree: HostTree, path: str) -> None:
    assert refused(tree, path) in (ELOOP, ENOTDIR)
    assert refused(tree, path, os.O_PATH) in (ELOOP, ENOTDIR)
    assert tree.try_lstat(path) is None


@pytest.mark.parametrize(
    "path", ["..", "../outside/secret", "dir/../../outside/secret", "dir/..", "/../outside/secret"]
)
def test_no_dot_dot(tree: HostTree, path: str) -> None:
    assert refused(tree, path) == EXDEV


def test_absolute_paths_are_inside(tree: HostTree, outside: Path) -> None:
    assert refused(tree, str(outside / "secret")) == ENOENT


def test_nothing_is_written(tree: HostTree) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_WRONLY | os.O_APPEND):
        assert refused(tree, "file", flags) == EROFS
        assert refused(tree, "new", flags) == EROFS
    with pytest.raises(Errno) as caught:
        tree.open_regular("file", write=True)
    assert caught.value.errno == EROFS
    assert (Path(tree.name) / "file").read_text() == "contents"


def test_only_regular_files_have_data(tree: HostTree) -> None:
    os.mkfifo(os.path.join(tree.name, "fifo"))
    for name, error in (("fifo", EACCES), ("dir", EACCES), ("absolute", ELOOP)):
        with pytest.raises(Errno) as caught:
            tree.open_regular(name)
        assert caught.value.errno == error, name


def test_nul_in_a_name(tree: HostTree) -> None:
    assert refused(tree, "file\0x") == EINVAL


@pytest.mark.parametrize("fallback", [True, False])
def test_a_writable_tree(tmp_path: Path, outside: Path, fallback: bool) -> None:
    inside = tmp_path / "rw"
    inside.mkdir()
    (inside / "away").symlink_to(outside)
    (inside / "dangling").symlink_to(outside / "made")
    tree = HostTree(str(inside), writable=True, force_fallback=fallback)
    fd = tree.open("new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
    os.write(fd, b"text")
    os.close(fd)
    assert (inside / "new").read_text() == "text"
    assert refused(tree, "new", os.O_RDWR | os.O_CREAT | os.O_EXCL) == EEXIST
    assert refused(tree, "away/new", os.O_RDWR | os.O_CREAT) in (ELOOP, ENOTDIR)
    assert refused(tree, "dangling", os.O_RDWR | os.O_CREAT) == ELOOP
    assert refused(tree, "../outside/new", os.O_RDWR | os.O_CREAT) == EXDEV
    assert sorted(os.listdir(outside)) == ["secret"]
    tree.close()


def test_a_race(tree: HostTree, outside: Path) -> None:
    """A directory that keeps turning into a link out of the tree: the secret is never opened."""
    place = os.path.join(tree.name, "race")
    spare = os.path.join(tree.name, "spare")
    os.mkdir(place)
    Path(place, "secret").write_text("harmless")
    os.symlink(outside, spare)
    stop = threading.Event()

    def swap() -> None:
        middle = os.path.join(tree.name, "middle")
        while not stop.is_set():
            os.rename(place, middle)
            os.rename(spare, place)
            os.rename(middle, spare)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for _ in range(3000):
            try:
                fd = tree.open("race/secret", os.O_RDONLY)
            except Errno:
                continue
            data = os.read(fd, 100)
            os.close(fd)
            assert data == b"harmless"
    finally:
        stop.set()
        swapper.join()
