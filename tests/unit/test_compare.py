"""`machine.compare` and ``nopage compare``: what is found, how it is shown, and what the native side may not do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from machine.cli import main
from machine.compare import Comparison, FenceError, compare
from machine.compare.calls import alike, processes
from machine.compare.difference import Difference, Ignore, as_lines, first_difference
from machine.compare.sides import Job, run_native
from machine.compare.tree import populate, snapshot
from machine.errors import ConfigError

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
HERE = "case $(uname -r) in *-nopage) {};; esac"
"""A line that does something in a machine alone: a difference made to order."""


def shell(command: str, **options: object) -> Comparison:
    try:
        return compare(["sh", "-c", command], env=ENVIRONMENT, **options)  # type: ignore[arg-type]
    except FenceError as error:
        pytest.skip(str(error))


def only(result: Comparison) -> Difference:
    assert len(result.differences) == 1, result.text(every=True)
    return result.differences[0]


# -- what is compared ----------------------------------------------------------------------------------------------


def test_the_same() -> None:
    result = shell("sort numbers > sorted; cat; exit 3", files={"numbers": "2\n1\n"}, stdin=b"input\n")
    assert result.same, result.text()
    assert (result.native.exit, result.native.stdout) == (3, b"input\n") == (result.nopage.exit, result.nopage.stdout)
    assert result.text() == "the same: exit status 3, 6 bytes of output, 0 of errors, 2 files"


@pytest.mark.parametrize("part", ["stdout", "stderr"])
def test_output_differs(part: str) -> None:
    redirection = ">&2" if part == "stderr" else ""
    result = shell(f"seq 9 {redirection}; {HERE.format(f'echo here {redirection}')}; echo last {redirection}")
    difference = only(result)
    assert (difference.part, difference.at) == (part, 9)
    text = difference.text(80).splitlines()
    assert text[0] == f"standard {'error' if part == 'stderr' else 'output'} differs from line 10 on"
    assert [line.split() for line in text[1:]] == [
        ["native", "|", "nopage"],
        *([str(n), str(n), "|", str(n)] for n in (7, 8, 9)),
        [">", "10", "last", "|", "here"],
        [">", "11", "(end)", "|", "last"],
    ]


def test_the_end_differs() -> None:
    difference = only(shell(HERE.format("exit 4")))
    assert (difference.part, difference.native, difference.nopage) == ("status", ["exit status 0"], ["exit status 4"])
    difference = only(shell(HERE.format("kill -TERM $$")))
    assert difference.nopage == ["killed by SIGTERM"]


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("echo x > made", "only in nopage there is a file made"),
        ("rm data", "only natively there is a file data"),
        ("chmod 600 data", "data differs"),
        ("ln data other", "data differs"),
        ("echo more >> data", "the file data differs from line 2 on"),
        ("rm data; mkdir data", "data differs"),
        ("mkdir -m 700 d; mkfifo d/p", "only in nopage there is a directory d"),
        ("ln -s b l", "only in nopage there is a symbolic link l"),
    ],
)
def test_files_differ(command: str, what: str) -> None:
    result = shell(HERE.format(command), files={"data": "one\n"})
    assert result.differences[0].what == what
    assert {each.part for each in result.differences} == {"files"}


def test_system_calls_differ() -> None:
    result = shell("cd /usr; cd /; exit 0", trace=True)
    if not result.watched:
        pytest.skip("; ".join(result.notes))
    assert result.same, result.text()
    assert "system calls of 1 task" in result.text()
    difference = only(shell("test -e /usr/local/bin/mapper; exit 0", trace=True))
    assert difference.part == "calls" and difference.at is not None
    assert difference.native[difference.at].endswith("= -1 ENOENT (No such file or directory)")
    assert (
        "/usr/local/bin/mapper" in difference.nopage[difference.at] and difference.nopage[difference.at][-4:] == " = 0"
    )


def test_ignored() -> None:
    command = HERE.format("echo 12 ms; echo x > a.log; exit 3")
    assert [each.part for each in shell(command).differences] == ["stdout", "status", "files"]
    assert [each.part for each in shell(command, ignore=["stdout", "file:*.log"]).differences] == ["status"]
    assert shell("echo took $(uname -r) ms", ignore=["text:took .* ms"]).same
    for wrong in ("output", "file:", "call", "text:("):
        with pytest.raises(ValueError):
            Ignore.parse([wrong])


def test_a_side_that_does_not_end() -> None:
    result = shell(HERE.format("while :; do :; done"), timeout=4)
    assert result.timed_out and not result.native.timed_out
    assert result.differences[0].what == "the program does not end in nopage"
    result = shell("while :; do :; done", timeout=0.5)
    assert result.native.timed_out and result.nopage.timed_out


def test_a_program_that_is_not_there() -> None:
    result = compare(["no-such-program"], env=ENVIRONMENT)
    assert result.same and result.native.status() == "could not be started: No such file or directory"


def test_processes_that_outlive_the_program() -> None:
    """They have a second on both sides, and then they are gone."""
    result = shell("(sleep 0.2; echo late; sleep 100; echo never) & echo early")
    assert result.same, result.text()
    assert result.native.stdout == b"early\nlate\n"


# -- the fence -----------------------------------------------------------------------------------------------------


def test_the_native_side_is_fenced(tmp_path: Path) -> None:
    """It can't change the host's files, see its processes, or reach its network; its copy and /tmp are its own."""
    work, victim = tmp_path / "work", Path.home() / f".nopage-fence-{os.getpid()}"
    work.mkdir()
    command = (
        f"echo x > {victim}; echo x > /tmp/{victim.name} && cat /tmp/{victim.name}; echo mine > own;"
        f" kill -0 {os.getpid()} || echo alone; ls /sys/class/net | tr '\\n' ' '; pwd"
    )
    job = Job(["sh", "-c", command], ENVIRONMENT, work, Path(os.devnull), 20)
    try:
        run = run_native(job)
    except FenceError as error:
        pytest.skip(str(error))
    assert run.stdout.decode().splitlines()[:2] == ["x", "alone"] and str(work) in run.stdout.decode()
    assert b"Read-only file system" in run.stderr
    assert not victim.exists() and not Path("/tmp", victim.name).exists()
    assert (work / "own").read_text() == "mine\n"


def test_the_given_files_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("before\n")
    result = shell("echo after > data; rm -r sub", files=tmp_path)
    assert result.same and (tmp_path / "data").read_text() == "before\n"
    assert not list(Path(os.path.realpath(os.environ.get("TMPDIR", "/tmp"))).glob("nopage-compare-*/work/data"))


def test_both_sides_know_the_same_users_and_hosts() -> None:
    result = shell("cat /etc/passwd /etc/hosts; uname -n; id; nproc; echo $$; umask; ulimit -n")
    assert result.same, result.text(every=True)


# -- pieces --------------------------------------------------------------------------------------------------------


def test_files_from_a_mapping(tmp_path: Path) -> None:
    populate(tmp_path, {"a/b": "text", "a/c": b"\0", "empty": None})
    found = snapshot(tmp_path)
    assert {name: entry.kind for name, entry in found.items()} == {
        ".": "a directory", "a": "a directory", "a/b": "a file", "a/c": "a file", "empty": "a directory",
    }  # fmt: skip
    assert found["a/b"].same(snapshot(tmp_path)["a/b"]) and not found["a/b"].same(found["a/c"])
    with pytest.raises(ConfigError, match="outside"):
        populate(tmp_path, {"../x": "y"})
    with pytest.raises(ConfigError, match="not a directory"):
        populate(tmp_path, tmp_path / "none")


TRACE = """\
100 execve("/bin/sh", ["sh"], 0x7ffe1234abcd /* 2 vars */) = 0
100 brk(NULL)                         = 0x55d0c0ffe000
100 clone(child_stack=NULL, flags=SIGCHLD) = 107
107 getpid( <unfinished ...>
100 wait4(-1,  <unfinished ...>
107 <... getpid resumed>)             = 107
107 clock_gettime(CLOCK_REALTIME, {tv_sec=1, tv_nsec=2}) = 0
107 kill(100, SIGUSR1)                = 0
107 +++ exited with 3 +++
100 <... wait4 resumed>[{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = 107
100 --- SIGCHLD {si_signo=SIGCHLD, si_pid=107} ---
100 --- SIGUSR1 {si_signo=SIGUSR1, si_pid=107, si_utime=3} ---
100 openat(AT_FDCWD, "/proc/100/stat", O_RDONLY) = 3
100 read(3, "100 (sh)", 4096)         = 300
100 exit_group(0 <unfinished ...>
100 +++ exited with 0 +++
"""


def test_a_trace_is_parted_by_task_and_normalised() -> None:
    first, second = processes(TRACE)
    assert (first.place, second.place) == ("1", "1.1")
    assert first.lines == [
        'execve("/bin/sh", ["sh"], ADDRESS /* 2 vars */) = 0',
        "brk(...",
        "clone(child_stack=NULL, flags=SIGCHLD) = TASK1.1",
        "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 3}], 0, NULL) = TASK1.1",
        "--- SIGUSR1 {si_signo=SIGUSR1, si_pid=TASK1.1, si_utime=...} ---",
        'openat(AT_FDCWD, "/proc/TASK1/stat", O_RDONLY) = 3',
        "read(3, ...",
        "exit_group(0) = ?",
        "+++ exited with 0 +++",
    ]
    assert second.lines == ["getpid() = TASK1.1", "kill(TASK1, SIGUSR1) = 0", "+++ exited with 3 +++"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('read(3, "a, b", 9) = 4', 'read(3, "a, b", 9) = 4', True),
        ('read(3, "a, b", 9) = 4', 'read(3, "a, c", 9) = 4', False),
        ("close(3) = 0", "close(3) = -1 EBADF (Bad file descriptor)", False),
        ("close(3) = 0", "close(4) = 0", False),
        ("close(3) = 0", "dup(3) = 0", False),
        ("f(A|B, ADDRESS) = 0", "f(B|A, {x=1, y=2}) = 0", True),
        ("sched(SCHED_FIFO) = 99", "sched(1) = 99", True),
        ("ftruncate(3, 18446744073709551615) = -1 EINVAL (x)", "ftruncate(3, -1) = -1 EINVAL (x)", True),
        ("chmod(644) = 0", "chmod(0644) = 0", False),
        ("--- SIGTERM {si_pid=0} ---", "--- SIGTERM {si_pid=TASK1} ---", True),
        ("--- SIGTERM {si_pid=0} ---", "--- SIGHUP {si_pid=0} ---", False),
    ],
)
def test_what_two_lines_say(one: str, other: str, same: bool) -> None:
    assert alike(one, other) is same is alike(other, one)


def test_lines_of_any_bytes() -> None:
    assert as_lines(b"a\n\x00\xff\t\xc3\xa9\nend") == ["a", "\\x00\\xff→   é", "end⏎̸"]
    assert as_lines(b"") == []
    assert first_difference(["a"], ["a", "b"]) == 1 and first_difference(["a"], ["a"]) is None
    long = Difference("stdout", "it differs", ["x" * 300 + "one"], ["x" * 300 + "two"], 0)
    assert "one" in long.text(80) and "two" in long.text(80) and max(map(len, long.text(80).splitlines())) <= 80


# -- the command ---------------------------------------------------------------------------------------------------

Capture = pytest.CaptureFixture[str]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def nopage(capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")

    def run(*words: str) -> tuple[int, str, str]:
        try:
            status = main(["compare", *words])
        except SystemExit as end:
            status = int(str(end.code))
        out, err = capfd.readouterr()
        if "no fence" in err:
            pytest.skip(err)
        return status, out, err

    return run


def test_command(nopage: Run, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("b\na\n")
    assert nopage("--no-trace", "--", "sort", "words") == (
        0,
        "the same: exit status 0, 4 bytes of output, 0 of errors, 1 file\n",
        "",
    )
    status, out, _ = nopage("--no-trace", "uname", "-r")
    assert status == 1 and out.startswith("standard output differs from line 1 on\n") and "6.1.0-nopage" in out
    assert nopage("--ignore", "stdout", "--ignore", "calls", "uname", "-r")[0] == 0
    assert nopage("--no-trace", "--no-files", "--env", "A=b", "sh", "-c", 'test "$A" = b -a ! -e words')[0] == 0
    assert nopage("--no-trace", "--stdin", "words", "cat")[1].startswith("the same: exit status 0, 4 bytes")
    (tmp_path / "other").mkdir()
    assert nopage("--no-trace", "--bind", f"{tmp_path}/words:/tmp/w", "--files", "other", "cat", "/tmp/w")[0] == 0


def test_command_says_what_is_wrong(nopage: Run) -> None:
    assert nopage("--no-trace", "no-such-program")[0] == 125
    assert nopage("--no-trace", "--timeout", "0.5", "sleep", "9")[0] == 124
    assert nopage()[::2] == (2, "nopage: no program given\nTry 'nopage compare --help'.\n")
    assert nopage("--bind", "/a:/b:rw", "true")[0] == 2
    assert nopage("--ignore", "everything", "true")[0] == 2
    assert nopage("--files", "/no/such", "true")[::2] == (125, "nopage: /no/such: not a directory\n")
    assert nopage("--bind", "/no/such:/b", "true")[0] == 125
    assert nopage("--unfenced", "--bind", "/usr:/b", "true")[0] == 125
    status, _, err = nopage("--unfenced", "--no-trace", "true")
    assert status == 0 and err == "nopage: true runs natively without a fence: it can change whatever you can\n"
    assert "exit status: 0 the same" in nopage("--help")[1]


def test_command_in_json(nopage: Run) -> None:
    status, out, _ = nopage("--no-trace", "--json", "uname", "-r")
    told = json.loads(out)
    assert status == 1 and told["same"] is False and told["system_calls_compared"] is False
    assert told["differences"][0]["part"] == "stdout" and told["differences"][0]["line"] == 1
    assert told["differences"][0]["nopage"] == ["6.1.0-nopage"]
    assert told["native"]["exit"] == told["nopage"]["exit"] == 0
