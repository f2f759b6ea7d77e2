"""A hostile guest, run as a user runs it, does not reach the host: each attempt of escape.c is a test (SECURITY.md)."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import build

HERE = Path(__file__).parent
ATTEMPTS = re.findall(r"\{\"(\w+)\", \1\}", (HERE / "escape.c").read_text())
TARGETS = ("x86_64", "i386")
SECRET = "the secret of the host\n"
AGES_AGO = 1_000_000_000
Tree = dict[str, tuple[object, ...]]


def snapshot(top: Path) -> Tree:
    """Everything that a guest could change: names, kinds, modes, owners, times of the last access too, bytes."""
    found: Tree = {}
    for directory, names, files in os.walk(top):
        for name in (".", *names, *files):
            path = os.path.join(directory, name)
            info = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(info.st_mode):
                content = hashlib.sha256(_content(path)).hexdigest()
            facts = (info.st_mode, info.st_uid, info.st_gid, info.st_nlink, info.st_rdev, info.st_size)
            found[path] = (*facts, info.st_atime_ns, info.st_mtime_ns, info.st_ctime_ns, content, _attributes(path))
    return found


def _content(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    with open(fd, "rb") as file:
        return file.read()


def _attributes(path: str) -> tuple[str, ...]:
    try:
        return tuple(os.listxattr(path, follow_symlinks=False))
    except OSError:
        return ()


def _fill(place: Path, outside: Path) -> None:
    """What a user may have in a directory: files, and links and nodes that lead elsewhere."""
    for directory in ("dir", "empty"):
        (place / directory).mkdir(parents=True)
    (place / "file").write_text("text\n")
    for name in ("trusted", "trusted2"):
        (place / name).write_text("a program")
        (place / name).chmod(0o6755)
    (place / "relative").symlink_to("../outside/secret")
    (place / "absolute").symlink_to(outside / "secret")
    (place / "away").symlink_to(outside)
    (place / "program").symlink_to("../outside/program")
    (place / "up").symlink_to("..")
    (place / "magic").symlink_to("/proc/self/root")
    os.link(outside / "public", place / "hard")
    os.mkfifo(place / "fifo")
    if os.geteuid() == 0:
        try:
            os.mknod(place / "loop0", stat.S_IFBLK | 0o666, os.makedev(7, 0))
            os.mknod(place / "tun", stat.S_IFCHR | 0o666, os.makedev(10, 200))
        except PermissionError:  # a container may not
            pass


@dataclass
class Run:
    """What became of one run of all attempts."""

    lines: dict[str, str]
    changed: list[str]
    host_alive: bool
    connections: int
    clock: float
    stderr: str
    output_mode: int
    status: int


def _listen(*addresses: str) -> list[socket.socket]:
    made = []
    for address in addresses:
        each = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if "dgram" in address else socket.SOCK_STREAM)
        each.setblocking(False)
        each.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        if each.type == socket.SOCK_STREAM:
            each.listen()
        made.append(each)
    return made


def _arrived(listener: socket.socket) -> int:
    try:
        if listener.type == socket.SOCK_STREAM:
            listener.accept()[0].close()
        else:
            listener.recv(1)
    except BlockingIOError:
        return 0
    return 1


@pytest.fixture(scope="module", params=TARGETS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The program with every attempt, through the command line."""
    program = build(HERE / "escape.c", target=request.param, flags=("-w", "-pthread"))
    top = tmp_path_factory.mktemp("host")
    outside, output = top / "outside", top / "output"
    outside.mkdir()
    (outside / "secret").write_text(SECRET)
    (outside / "public").write_text("seen from inside, by another name\n")
    (outside / "program").write_bytes(Path("/bin/true").read_bytes())
    (outside / "program").chmod(0o755)
    for name in ("ro", "rw", "cwd"):
        _fill(top / name, outside)
    abstract = f"@nopage-{os.getpid()}-{request.param}"
    sockets = _listen(*(f"{top}/{place}/{kind}" for place in ("ro", "rw") for kind in ("stream", "dgram")), abstract)
    sleeper = subprocess.Popen(["sleep", "300"], start_new_session=True)
    snapshot(top)  # it reads the directories itself: their times of access change at the first reading only
    before = {**snapshot(top / "ro"), **snapshot(top / "cwd"), **snapshot(outside)}
    began, clock = time.time(), time.monotonic()
    with open(output, "wb") as stdout:
        os.fchmod(stdout.fileno(), 0o640)
        done = subprocess.run(
            [
                sys.executable, "-m", "machine", "run", "--ram", "64M", "--timeout", "120",
                "--bind", f"{top}/ro:/ro", "--bind", f"{top}/rw:/rw:rw", str(program), str(outside), str(sleeper.pid),
                abstract, str(top / "cwd"),
            ],
            stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=240, check=False,
            cwd=top / "cwd",
            env={**os.environ, "NOPAGE_SECRET": "a token", "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])},
        )  # fmt: skip
    after = {**snapshot(top / "ro"), **snapshot(top / "cwd"), **snapshot(outside)}
    lines = {line.split(" ")[0].rstrip(":"): line for line in output.read_text().splitlines()}
    yield Run(
        lines,
        sorted(path for path in {*before, *after} if before.get(path) != after.get(path)),
        sleeper.poll() is None,
        sum(map(_arrived, sockets)),
        (time.time() - began) - (time.monotonic() - clock),
        done.stderr,
        os.stat(output).st_mode,
        done.returncode,
    )
    sleeper.kill()
    sleeper.wait()
    for each in sockets:
        each.close()


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_attempt(run: Run, attempt: str) -> None:
    assert run.lines.get(attempt) == f"{attempt} ok", run.stderr


def test_the_host_is_as_before(run: Run) -> None:
    """No byte, mode, owner or time of anything but the :rw bind has changed, no process has died, nobody has called."""
    assert not run.changed
    assert run.host_alive
    assert not run.connections
    assert abs(run.clock) < 5, "the guest has set the host's clock"
    assert stat.S_IMODE(run.output_mode) == 0o640
    assert run.status == 0
    assert "Traceback" not in run.stderr
