"""``--bind``: read-only without ``:rw``; with it, everything goes to the host and nowhere else."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from guest import INCLUDE
from guest.toolchain import ToolMissing, compile
from machine import Machine
from machine.kernel.abi.errno import ENOSPC, Errno
from machine.kernel.fs.overlay import HostData
from tests.conftest import build


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    place = tmp_path / "shared"
    (place / "dir").mkdir(parents=True)
    (place / "file").write_text("text\n")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (place / "away").symlink_to(outside)
    return place


def shell(machine: Machine, script: str) -> str:
    """Standard output and error of a shell script in the guest."""
    result = machine.run(["sh", "-c", "exec 2>&1; " + script])
    assert not machine.kernel.oopses, machine.kernel.oopses[0].traceback
    return result.stdout.decode()


def test_read_only(machine_clean: Callable[..., Machine], shared: Path) -> None:
    machine = machine_clean(ram=64 << 20, binds=[(str(shared), "/mnt/b", False)])
    script = "cat /mnt/b/file; cd /mnt/b; echo x > file; rm file; mkdir new; chmod 0 file; cat away/secret"
    said = shell(machine, script)
    assert said.startswith("text\n")
    assert said.count("Read-only file system") == 4, said
    assert "secret" not in said.replace("away/secret", "")
    assert (shared / "file").read_text() == "text\n" and sorted(os.listdir(shared)) == ["away", "dir", "file"]


def test_a_file_that_is_replaced(machine_clean: Callable[..., Machine], shared: Path) -> None:
    """One that nobody has open is the new one, also where the bind is the file; an open one stays what it was."""
    file, new = shared / "file", shared / "new"
    machine = machine_clean(ram=64 << 20, binds=[(str(file), "/mnt/f", True)])
    new.write_text("the second\n")
    new.replace(file)
    assert shell(machine, "cat /mnt/f; echo more >> /mnt/f; cat /mnt/f") == "the second\nthe second\nmore\n"
    assert file.read_text() == "the second\nmore\n"
    new.write_text("the third\n")
    script = "exec 3</mnt/f; read line <&3; echo $line; sleep 1; cat <&3; exec 3<&-; cat /mnt/f"
    process = machine.start(["sh", "-c", script])
    process.read_until(b"the second\n", timeout=60)
    new.replace(file)
    assert process.wait(timeout=60).stdout == b"the second\nmore\nthe third\n"


def test_writable(machine_clean: Callable[..., Machine], shared: Path) -> None:
    machine = machine_clean(ram=64 << 20, binds=[(str(shared), "/mnt/b", True)])
    script = """cd /mnt/b
        echo more >> file; mkdir new; echo a > new/a; mv new/a dir/b; ln dir/b dir/c; ln -s b dir/l; chmod 600 file
        touch -d @1000 dir; rmdir new; mkfifo fifo; cat dir/l; echo zz > away/secret; echo over > dir/c
        : > dir/empty; ls dir"""
    said = shell(machine, script)
    assert said.splitlines()[0] == "a", said
    assert said.splitlines()[-4:] == ["b", "c", "empty", "l"], said
    assert (shared / "file").read_text() == "text\nmore\n"
    assert os.stat(shared / "file").st_mode & 0o777 == 0o600
    assert (shared / "dir" / "b").read_text() == "over\n" and os.stat(shared / "dir" / "b").st_nlink == 2
    assert os.readlink(shared / "dir" / "l") == "b"
    assert not (shared / "new").exists() and (shared / "fifo").is_fifo()
    assert (shared.parent / "outside" / "secret").read_text() == "secret", "a link led out of the tree"


def test_a_file_alone(machine_clean: Callable[..., Machine], shared: Path) -> None:
    machine = machine_clean(ram=64 << 20, binds=[(str(shared / "file"), "/etc/motd", True)])
    assert shell(machine, "cat /etc/motd; echo new > /etc/motd; cat /etc/motd; ls /etc/motd; rm /etc/motd").startswith(
        "text\nnew\n/etc/motd\nrm: "
    )
    assert (shared / "file").read_text() == "new\n"


def test_what_the_host_changes_shows(machine_clean: Callable[..., Machine], shared: Path) -> None:
    machine = machine_clean(ram=64 << 20, binds=[(str(shared), "/mnt/b", True)])
    assert shell(machine, "cat /mnt/b/file") == "text\n"
    (shared / "file").write_text("from the host\n")
    (shared / "made").write_text("made\n")
    assert shell(machine, "cat /mnt/b/file /mnt/b/made") == "from the host\nmade\n"
    os.unlink(shared / "made")
    assert "No such file" in shell(machine, "cat /mnt/b/made")


CHANGED = r"""
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>
static void then(const char *what)
{
	char byte;
	fflush(stdout);
	fprintf(stderr, "%s\n", what);
	read(0, &byte, 1);
}
int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR);
	char byte = 0, *shared = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *own = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	catch_faults();
	for (int page = 0; page < 10; page++)
		if (shared[page * PAGE] != 'a' || own[page * PAGE] != 'a')
			return 9;
	shared[0] = 'b';
	own[PAGE] = 'p';
	then("overwrite");
	EQUAL("pread", pread(fd, &byte, 1, 3 * PAGE), 1);
	EQUAL("what the host wrote", byte, 'H');
	EQUAL("mapped", shared[3 * PAGE], 'H');
	EQUAL("privately", own[3 * PAGE], 'H');
	EQUAL("our own", shared[0], 'b');
	EQUAL("our copy", own[PAGE], 'p');
	then("shorten");
	EQUAL("at the end", pread(fd, &byte, 1, 5 * PAGE), 0);
	EQUAL("behind it", touch(shared + 5 * PAGE, -1), SIGBUS);
	EQUAL("behind it, privately", touch(own + 5 * PAGE, -1), SIGBUS);
	EQUAL("longer", ftruncate(fd, 10 * PAGE), 0);
	EQUAL("nothing of before", shared[5 * PAGE], 0);
	then("append");
	EQUAL("more", pread(fd, &byte, 1, 10 * PAGE), 1);
	return done();
}
"""


def _alter(file: Path, what: str) -> None:
    if what == "overwrite":
        with file.open("r+b") as stream:
            stream.seek(3 * 4096)
            stream.write(b"H" * 10)
    elif what == "shorten":
        os.truncate(file, 5000)
    else:
        with file.open("ab") as stream:
            stream.write(b"more")


@pytest.mark.parametrize("where", ["native", "here"])
def test_a_file_that_changes_while_it_is_mapped(
    machine_clean: Callable[..., Machine], tmp_path: Path, where: str
) -> None:
    """Overwritten, cut and appended to on the host: reads and mappings show it, as on the host itself."""
    program = build(CHANGED, flags=[f"-I{INCLUDE}"])
    (tmp_path / "file").write_bytes(b"a" * 40960)
    asks, answers = os.pipe(), os.pipe()
    argv = [str(program), str(tmp_path / "file")]
    if where == "native":
        process = subprocess.Popen(argv, stdin=answers[0], stdout=subprocess.PIPE, stderr=asks[1])
    else:
        machine = machine_clean(ram=64 << 20, binds=[(str(tmp_path), "/mnt", True)])
        spawned = machine.spawn([str(program), "/mnt/file"], stdin=answers[0], stderr=asks[1])

    def play() -> None:
        with os.fdopen(asks[0]) as stream:
            for _ in range(3):
                _alter(tmp_path / "file", stream.readline().strip())
                os.write(answers[1], b".")

    player = threading.Thread(target=play)
    player.start()
    if where == "native":
        output, status = process.communicate()[0], process.returncode
    else:
        result = machine.wait(spawned, timeout=120)
        output, status = result.stdout, result.exit
    player.join()
    for fd in (asks[1], *answers):
        os.close(fd)
    assert status == 0 and b"FAIL" not in output, output.decode()


MAPPED = r"""
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void)
{
	int fd = open("/mnt/b/map", O_RDWR | O_CREAT, 0644);
	char *p, buffer[10] = "";
	if (ftruncate(fd, 10000))
		return 1;
	p = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	strcpy(p + 5000, "synced");
	if (msync(p, 10000, MS_SYNC))
		return 2;
	strcpy(p + 9000, "unmapped");
	pread(fd, buffer, 8, 9000);
	munmap(p, 10000);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	strcpy(p, "at exit");
	return strcmp(buffer, "unmapped") ? 3 : 0;
}
"""


def test_shared_mappings_reach_the_host(machine_clean: Callable[..., Machine], shared: Path, tmp_path: Path) -> None:
    source = tmp_path / "mapped.c"
    source.write_text(MAPPED)
    try:
        program = compile(source)
    except ToolMissing as missing:
        pytest.skip(str(missing))
    machine = machine_clean(ram=64 << 20, binds=[(str(shared), "/mnt/b", True), (str(program), "/mnt/p", False)])
    assert machine.run(["/mnt/p"]).exit == 0
    data = (shared / "map").read_bytes()
    assert len(data) == 10000
    assert data[5000:5006] == b"synced" and data[9000:9008] == b"unmapped" and data[:7] == b"at exit"


FULL = """
#include "check.h"
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
int main(int argc, char **argv)
{
    int fd = open(argv[1], O_RDWR), status;
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    for (int i = 0; i < 4; i++) p[i * PAGE] = 'x';
    ERRNO("fsync", fsync(fd), ENOSPC);
    ERRNO("msync", msync(p, 4 * PAGE, MS_SYNC), ENOSPC);
    ERRNO("syncfs", syscall(SYS_syncfs, fd), ENOSPC);
    ERRNO("syncfs", syscall(SYS_syncfs, open("/", O_RDONLY)), 0);
    sync();
    ERRNO("munmap", munmap(p, PAGE), 0);
    ERRNO("lseek", lseek(fd, 0, SEEK_DATA), 0);
    if (!fork()) exit(7);
    wait(&status);
    EQUAL("exit", status, 7 << 8);
    ERRNO("close", close(fd), 0);
    if (argc > 2) { // there is room again: nothing was lost
        close(open(argv[2], O_WRONLY | O_CREAT, 0600));
        ERRNO("fsync", fsync(open(argv[1], O_RDWR)), 0);
    }
    return done();
}
"""


UNLINKED = """
#include "check.h"
#include <fcntl.h>
int main(int argc, char **argv)
{
    for (int close_first = 0; close_first < 2; close_first++) {
        int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
        ERRNO("ftruncate", ftruncate(fd, 3 * PAGE), 0);
        char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        p[0] = 'x';
        if (close_first) close(fd);
        ERRNO("unlink", unlink(argv[1]), 0);
        for (int i = 0; i < 3; i++) p[i * PAGE] = 'x';
        ERRNO("msync", msync(p, 3 * PAGE, MS_SYNC), 0);
        for (int i = 0; i < 3; i++) p[i * PAGE + 1] = 'y';
        if (!close_first) ERRNO("fsync", fsync(fd), 0);
        sync();
        if (!close_first) {
            char seen[2];
            p[0] = 'z';
            EQUAL("pread", pread(fd, seen, 2, 0), 2);
            EQUAL("seen", seen[0] << 8 | seen[1], 'z' << 8 | 'y');
        }
    }
    return done();
}
"""


def test_an_unlinked_file(tmp_path: Path) -> None:
    """What a mapping wrote to a file that has no name any more goes with it: nobody fails of that."""
    program = build(UNLINKED, static=True)
    subprocess.run([str(program), str(tmp_path / "file")], check=True)
    with Machine(ram=64 << 20, binds=[(str(tmp_path), "/mnt", True)], check_invariants=True) as machine:
        done = machine.run([str(program), "/mnt/file"], timeout=60)
        assert (done.exit, done.stderr) == (0, b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("room", [False, True])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: bool) -> None:
    """What a mapping wrote can't be brought to the host: calls that are asked for it say so, exit and munmap do
    not fail, and the end of the machine tells."""
    (tmp_path / "file").write_bytes(bytes(4 * 4096))
    write = HostData.pwrite

    def pwrite(self: HostData, data: bytes, position: int) -> int:
        if not (tmp_path / "room").exists():
            raise Errno(ENOSPC)
        return write(self, data, position)

    monkeypatch.setattr(HostData, "pwrite", pwrite)
    machine = Machine(ram=64 << 20, binds=[(str(tmp_path), "/mnt", True)], check_invariants=True)
    with nullcontext() if room else pytest.raises(OSError, match="No space left") as told, machine:
        program = build(FULL, static=True)
        assert machine.run([str(program), "/mnt/file", *["/mnt/room"] * room], timeout=60).exit == 0
    if told is not None:
        assert told.value.filename == str(tmp_path / "file")
    assert (tmp_path / "file").read_bytes().count(b"x") == 4 * room


def test_a_write_that_fits_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk has room for some of it: that is written, counted, and the position is behind it."""
    real = os.pwrite

    def pwrite(fd: int, data: bytes, position: int) -> int:
        if position >= 5000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data[: 5000 - position], position)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with Machine(ram=64 << 20, binds=[(str(tmp_path), "/mnt", True)], check_invariants=True) as machine:
        script = "dd if=/dev/zero of=/mnt/file bs=4000 count=2; wc -c < /mnt/file"
        result = machine.run(["sh", "-c", script], timeout=60)
    assert result.stdout == b"5000\n" and b"5000 bytes" in result.stderr and b"No space left" in result.stderr


def test_a_program_in_a_bind_runs_on_the_host_too(tmp_path: Path) -> None:
    """Who reads it here is not in its way there (ETXTBSY), and who has written and closed it neither; to write one that
    runs there is refused when it is opened."""
    program = tmp_path / "program"
    shutil.copy("/bin/sleep", program)
    with Machine(ram=64 << 20, binds=[(str(tmp_path), "/mnt", True)], check_invariants=True) as machine:
        machine.spawn(["sh", "-c", "exec 3< /mnt/program; read -r x <&3; sleep 1000"])
        assert shell(machine, "head -c 4 /mnt/program | tail -c 3") == "ELF"
        subprocess.run([str(program), "0"], check=True)
        running = subprocess.Popen([str(program), "1000"])
        try:
            said = shell(machine, "(: >> /mnt/program); (: > /mnt/program); cp /bin/true /mnt/program")
        finally:
            running.kill()
            running.wait()
        assert said.count("Text file busy") == 3, said
        assert (
            shell(machine, "cp /bin/true /mnt/new; chmod 755 /mnt/new; : >> /mnt/new; /mnt/new && echo ran") == "ran\n"
        )
        subprocess.run([str(tmp_path / "new")], check=True)


def test_what_has_no_name_any_more(machine_clean: Callable[..., Machine], tmp_path: Path) -> None:
    """An O_PATH descriptor's object stays what it is, though the host gives its name and number to another."""
    program = build(Path(__file__).parents[1] / "guest/files/opath_gone.c")
    machine = machine_clean(ram=64 << 20, binds=[(str(tmp_path), "/mnt", True)])
    result = machine.run([str(program), "/mnt"], timeout=60)
    assert (result.exit, b"FAIL" in result.stdout) == (0, False), result.stdout.decode()


def test_a_link_that_the_host_makes_anew(machine_clean: Callable[..., Machine], tmp_path: Path) -> None:
    """It may have the number of the one before."""
    machine = machine_clean(ram=64 << 20, binds=[(str(tmp_path), "/mnt", True)])
    for target in ("one", "two", "three"):
        (tmp_path / "link").unlink(missing_ok=True)
        (tmp_path / "link").symlink_to(target)
        assert shell(machine, "readlink /mnt/link") == f"{target}\n"
