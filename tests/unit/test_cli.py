"""The command line: options and the guest's own words, errors, exit statuses."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from machine import cli, config
from machine.options import WATCH_OPTIONS, chosen_options, split_command
from machine.parsers import run_parser
from tests.conftest import build

TOP = Path(__file__).resolve().parents[2]


def nopage(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    settings: dict[str, object] = {"stdin": subprocess.DEVNULL, "env": environment, "timeout": 120, **options}
    command = [sys.executable, "-m", "machine", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload,no-any-return]


# -- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "options", "program"),
    [
        (["prog"], [], ["prog"]),
        (["prog", "--strace", "-v"], [], ["prog", "--strace", "-v"]),
        (["--strace", "./prog", "--help"], ["--strace=-"], ["./prog", "--help"]),
        (["--strace=out", "prog"], ["--strace=out"], ["prog"]),
        (["--faults", "--strace", "prog"], ["--faults=-", "--strace=-"], ["prog"]),
        (["--env", "-TERM", "prog"], ["--env=-TERM"], ["prog"]),
        (["--env=A=B=C", "prog"], ["--env=A=B=C"], ["prog"]),
        (["-L", "/root", "--", "--prog", "x"], ["--root=/root"], ["--prog", "x"]),
        (["-L/root", "prog"], ["-L/root"], ["prog"]),
        (["-v", "--", "prog", "--", "x"], ["-v"], ["prog", "--", "x"]),
        (["--exec", "ls -l", "--exec", "a 'b c'"], ["--exec=ls -l", "--exec=a 'b c'"], []),
        (["-"], [], ["-"]),
    ],
)
def test_options_end_at_the_program(words: list[str], options: list[str], program: list[str]) -> None:
    assert split_command(words) == (options, program)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--fault", "x"], "unknown option --fault; did you mean --faults?"),
        (["--device"], "option --device needs a value: --device NAME[,prop=val]..."),
        (["--deterministic=1", "x"], "option --deterministic takes no value"),
        (["-x", "x"], "unknown option -x"),
    ],
)
def test_mistakes_in_options(words: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        split_command(words)


VALUES = {
    "--bind": ["/tmp:/x", "/tmp:/y:rw"], "--ram": ["64M"], "--max-tasks": ["7"], "--max-memory": ["1G", "none"],
    "--max-output": ["1M"], "--max-trace": ["1M"], "-e": ["trace=open,%file", "inject=mmap:error=EPERM"],
    "--gdb": ["1234,nowait"], "--break-on": ["fault:driver=scullp"], "--trace-window": ["3,insn"],
    "--filter": ["pid=3"], "--screen": ["a.png"], "--screen-every": ["40ms"], "--cov": ["a.info", "b.xml"],
    "--timeout": ["2.5"], "--max-ticks": ["9"], "--env": ["A=B=C", "-HOME"], "--user": ["1:2"], "--port": ["8000"],
}  # fmt: skip
"""Option -> values that it takes; the others take any word."""
LINES = [
    [word for name in names for value in (VALUES.get(name, ["one", ""]) if option.metavar else [""])
     for word in ([name, value] if option.metavar and option.metavar != "[=FILE]" else [name])]
    for option in WATCH_OPTIONS for names in [option.names, option.names[-1:] * 2]
]  # fmt: skip


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_options_are_read_as_argparse_reads_them(words: list[str]) -> None:
    options, _ = split_command([*words, "--verbose", "--strace=/x=y", "--", "a.out"], "watch")
    quick = chosen_options(options, "watch")
    assert quick is not None
    theirs = run_parser("watch").parse_args(options, namespace=SimpleNamespace())
    for chosen in (quick, theirs):
        chosen.breaks = [each._replace(filters=None) for each in chosen.breaks or ()]  # objects without an equality
    assert quick == theirs


@pytest.mark.parametrize("words", [["--ram=1"], ["-h"], ["--help"], ["-L/root"], ["-etrace=open"], ["--user", "x"]])
def test_help_and_mistakes_are_argparses(words: list[str]) -> None:
    assert chosen_options(split_command([*words, "--", "a.out"])[0]) is None


@pytest.mark.parametrize(
    ("text", "size"),
    [("64M", 64), ("1G", 1024), ("512MiB", 512), ("16mb", 16), ("1.5G", 1536), ("33554432", 32)],
)
def test_sizes_of_ram(text: str, size: int) -> None:
    assert config.parse_ram(text) == size * config.MiB


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lots", "'lots' is not a size; write it like 64M, 512MiB or 1G"),
        ("8M", "8M of RAM is out of range: 16M to 16G"),
        ("64", "64 bytes of RAM is out of range: 16M to 16G; did you mean 64M?"),
        ("17G", "17G of RAM is out of range: 16M to 16G"),
        ("33M", "33M of RAM is not a multiple of 2M; the next below is 32M"),
    ],
)
def test_sizes_that_ram_can_not_have(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        config.parse_ram(text)


def test_binds() -> None:
    assert config.parse_bind("a:/b") == ("a", "/b", False)
    assert config.parse_bind("/a:/b:rw") == ("/a", "/b", True)
    assert config.parse_bind("/a:/b:ro") == ("/a", "/b", False)
    for wrong in ("a", "a:", ":/b", "a:b", "a:/b:rx", "a:/b:c:rw"):
        with pytest.raises(ValueError, match=r"HOST:GUEST|must start with /"):
            config.parse_bind(wrong)


def test_environment() -> None:
    described = config.MachineConfig(env=[config.parse_env("A=1"), config.parse_env("-B"), config.parse_env("C==")])
    assert described.environment({"B": "2", "D": "3"}) == {"A": "1", "C": "=", "D": "3"}
    for wrong in ("A", "=1", "-", ""):
        with pytest.raises(ValueError, match="NAME=VALUE"):
            config.parse_env(wrong)


def test_users() -> None:
    assert config.parse_user("1000") == (1000, 1000)
    assert config.parse_user("1:2") == (1, 2)
    for wrong in ("root", "1:", "-1", "4294967295"):
        with pytest.raises(ValueError, match=r"UID|32 bits"):
            config.parse_user(wrong)


# -- the whole command -----------------------------------------------------------------------------------------


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nopage 0.")
    assert cli.main(["--help"]) == 0
    assert "nopage run hello" in capsys.readouterr().out
    assert cli.main([]) == 2
    assert "usage:" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        cli.main(["run", "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "--strace[=FILE]" in out
    assert max(map(len, out.splitlines())) <= 120


def test_help_does_not_load_the_engine() -> None:
    script = "import sys; from machine.cli import main; main(['--help']); print('unicorn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=TOP, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run"], "no program given"),
        (["run", "--ram", "8M", "x"], "out of range"),
        (["run", "--exec", "it's"], "No closing quotation"),
        (["run", "--exec", ""], "no command"),
        (["run", "--timeout", "-1", "x"], "not a time"),
        (["rum"], "did you mean run?"),
        (["./prog"], "to run a program: nopage run ./prog"),
    ],
)
def test_mistakes_end_with_2(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status: object = cli.main(words)
    except SystemExit as end:
        status = end.code
    assert status == 2
    error = capsys.readouterr().err
    assert error.startswith("nopage: ")
    assert complaint in error
    assert "--help'" in error


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run", "--device", "nosuch", "hello"], "nosuch"),
        (["run", "--device", "scullp,speed=1", "hello"], "speed"),
        (["run", "-L", "/nowhere", "hello"], "/nowhere: the root must be a directory"),
        (["run", "--bind", "/nowhere:/x", "hello"], "/nowhere: No such file or directory"),
        (["run", "--strace=/nowhere/x", "hello"], "/nowhere/x: No such file or directory"),
        (["devices", "skullp"], "did you mean scullp?"),
    ],
)
def test_own_errors_end_with_125(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 125
    error = capsys.readouterr().err
    assert error.startswith("nopage: ")
    assert complaint in error


def test_devices_lists_drivers_with_their_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices"]) == 0
    assert "scullp_order=0  (int)" in capsys.readouterr().out
    assert cli.main(["devices", "scullp"]) == 0
    out = capsys.readouterr().out
    assert "/dev/scullp0 to /dev/scullp3" in out
    assert "parameters:" in out


def test_a_program_and_its_words(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--env", "X=y", "sh", "-c", 'echo "$X-$1"', "sh", "--strace"]) == 0
    assert capfd.readouterr().out == "y---strace\n"
    assert cli.main(["run", "sh", "-c", "exit 7"]) == 7


def test_what_can_not_be_run(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "./nosuch"]) == 127
    assert capfd.readouterr().err == "nopage: ./nosuch: No such file or directory\n"
    assert cli.main(["run", "nosuch"]) == 127
    assert "PATH" in capfd.readouterr().err
    assert cli.main(["run", "/etc/passwd"]) == 126
    assert capfd.readouterr().err == "nopage: /etc/passwd: Permission denied\n"


def test_a_program_that_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("timerctl").write_text("")
    Path("timerctl").chmod(0o755)
    head = "No such file or directory"
    assert cli.main(["run", "timerctl"]) == 127
    assert capfd.readouterr().err == f"nopage: timerctl: {head} in the guest's PATH; did you mean ./timerctl?\n"
    assert cli.main(["run", "./timerclt"]) == 127
    assert capfd.readouterr().err == f"nopage: ./timerclt: {head}; did you mean ./timerctl?\n"


def test_commands_one_after_another_in_one_machine(capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--exec", "sh -c 'echo kept > /root/f; exit 3'", "--exec", "nosuch", "--exec", "cat /root/f", "true"]
    assert cli.main(["run", *words]) == 127
    out, error = capfd.readouterr()
    assert out == "kept\n"
    announced = [line for line in error.splitlines() if line.startswith("nopage: $")]
    assert announced == [
        "nopage: $ sh -c 'echo kept > /root/f; exit 3'", "nopage: $ nosuch", "nopage: $ cat /root/f", "nopage: $ true",
    ]  # fmt: skip


def test_a_program_of_the_host_that_the_guest_would_not_see(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$0"\n')
    program.chmod(0o755)
    assert cli.main(["run", str(program)]) == 0
    assert capfd.readouterr().out == f"{program}\n"


def test_binds_and_who_may_write(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").write_text("text\n")
    write = "cat /mnt/in && echo new > /mnt/out"
    assert cli.main(["run", "--bind", f"{tmp_path}:/mnt", "sh", "-c", write]) != 0
    assert not (tmp_path / "out").exists()
    assert cli.main(["run", "--bind", f"{tmp_path}:/mnt:rw", "sh", "-c", write]) == 0
    assert (tmp_path / "out").read_text() == "new\n"
    assert "Read-only file system" in capfd.readouterr().err


def test_what_the_guest_wrote_to_its_layer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write = "echo text > /root/new"
    assert cli.main(["run", "sh", "-c", write]) == 0
    assert capfd.readouterr().err == (
        "nopage: changes that end with the machine: /root/new (--export DIR keeps them)\n"
    )
    assert cli.main(["run", "--export", str(tmp_path / "kept"), "sh", "-c", write]) == 0
    assert (tmp_path / "kept" / "root" / "new").read_text() == "text\n"
    assert capfd.readouterr().err == ""
    (tmp_path / "file").touch()
    assert cli.main(["run", "--export", str(tmp_path / "file"), "true"]) == 125
    assert "file: File exists" in capfd.readouterr().err


def test_export_from_below_tmp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A current directory below /tmp is a layer of its own."""
    here, kept = tmp_path / "here", tmp_path / "kept"
    here.mkdir()
    (here / "old").touch()
    monkeypatch.chdir(here)
    write = "echo a > q; mkdir d; echo b > d/c; rm old; echo t > /tmp/t"
    assert cli.main(["run", "sh", "-c", write]) == 0
    assert f"{here}/d/c" in capfd.readouterr().err
    assert cli.main(["run", "--export", str(kept), "sh", "-c", write]) == 0
    below = Path(f"{kept}{os.path.realpath(here)}")
    assert (below / "q").read_text() == "a\n" and (below / "d" / "c").read_text() == "b\n"
    assert sorted(path.name for path in kept.rglob("*") if path.is_file()) == ["c", "q"]
    assert os.listdir(here) == ["old"]


@pytest.mark.parametrize("refused", [0, errno.EPERM, errno.EMLINK])
def test_export_of_a_file_with_more_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], refused: int
) -> None:
    """Its data is there once: a file of a gigabyte with a thousand names does not fill the host.  Where the host makes
    no links, there are copies."""
    kept = tmp_path / "kept"

    def no_link(*args: object, **more: object) -> None:
        raise OSError(refused, "")

    if refused:
        monkeypatch.setattr(os, "link", no_link)
    write = "mkdir /root/d; cd /root; echo a > q; ln q b; ln q d/c; echo other > z"
    assert cli.main(["run", "--export", str(kept), "sh", "-c", write]) == 0
    files = [kept / "root" / name for name in ("b", "q", "d/c")]
    assert [path.read_text() for path in files] == ["a\n"] * 3
    assert {path.stat().st_nlink for path in files} == ({1} if refused else {3})
    assert (kept / "root" / "z").stat().st_nlink == 1
    assert cli.main(["run", "--export", str(kept), "sh", "-c", write.replace("echo a", "echo new")]) == 0
    assert [path.read_text() for path in files] == ["new\n"] * 3


def test_a_deadly_signal_is_explained(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "crash.c"
    source.write_text("int main(void) { *(volatile char *)0x1230 = 1; return 0; }\n")
    program = build(source, flags=("-g", "-O1"))
    assert cli.main(["run", str(program)]) == 128 + signal.SIGSEGV
    error = capfd.readouterr().err
    assert "(pid 2): SIGSEGV (SEGV_MAPERR) at 0x1230, instruction 0x" in error
    assert "mov byte ptr [0x1230], 1 (main" in error
    assert "crash.c:1), in no area" in error
    assert cli.main(["run", "sh", "-c", "kill -TERM $$"]) == 128 + signal.SIGTERM
    assert capfd.readouterr().err == "nopage: sh (pid 2): killed by SIGTERM\n"


def test_ignored_signals_are_inherited() -> None:
    """E3: as exec has it; `nohup nopage run` and a script's ``&`` do what they do for any program."""
    command = [
        sys.executable,
        "-m",
        "machine",
        "run",
        "--",
        "sh",
        "-c",
        "grep SigIgn /proc/self/status; kill -HUP $$; echo on",
    ]
    ignoring = [
        sys.executable,
        "-c",
        "import os, signal, sys; signal.signal(1, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])",
    ]
    done = subprocess.run([*ignoring, *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "SigIgn:\t0000000000000001\non\n"
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("SigIgn:\t0000000000000000\n", 128 + 1)


def test_timeout(capfd: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    assert cli.main(["run", "--timeout", "4", "sleep", "600"]) == 124
    assert time.monotonic() - begun < 60
    said = (
        r"nopage: sleep: still running after 4 seconds; killed\nnopage: sleep \(pid 2\) sleeps in clock_nanosleep\(\), "
    )
    assert re.fullmatch(said + r"called from \S.*\n", capfd.readouterr().err)


def test_an_interrupt_is_for_the_guest() -> None:
    # Short sleeps: a signal that comes just before the shell forks is only handled after the child's end.
    script = "trap 'echo caught; exit 5' INT; echo up; while :; do sleep 0.2; done"
    command = [sys.executable, "-m", "machine", "run", "--timeout=60", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=TOP) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"caught\n"
        assert process.wait(60) == 5


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m machine run --help | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, cwd=TOP, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")


def test_colours_only_on_a_terminal() -> None:
    assert "\x1b[" not in nopage("run", "--faults", "hello").stderr


READS_INTO_A_FRESH_PAGE = """
#include <unistd.h>
char untouched[3 * 4096];
int main(void) {
    int fds[2];
    return pipe(fds) || write(fds[1], "x", 1) != 1 || read(fds[0], untouched + 4096, 1) != 1;
}
"""


def test_views_share_a_file_and_take_turns(tmp_path: Path) -> None:
    source, both = tmp_path / "reader.c", tmp_path / "both"
    source.write_text(READS_INTO_A_FRESH_PAGE)
    program = build(source)
    assert nopage("run", f"--strace={both}", f"--faults={both}", str(program)).returncode == 0
    lines = both.read_text().splitlines()
    begun = next(index for index, line in enumerate(lines) if line == "read(3,  <unfinished ...>")
    assert lines[begun + 1].startswith("fault ")
    assert lines[begun + 1].endswith("by the kernel, in read()")
    ended = next(index for index, line in enumerate(lines) if line.startswith("<... read resumed>"))
    assert lines[ended] == '<... read resumed>"x", 1)               = 1'
    assert begun < ended
    assert lines[-1].startswith(f"{sum(line.startswith('fault ') for line in lines)} page faults: ")
    assert "+++ exited with 0 +++" in lines


@pytest.mark.parametrize("bind", ["/etc/passwd:/usr", "/tmp:/dev/null"])
def test_a_bind_over_something_else(bind: str) -> None:
    done = nopage("run", "--bind", bind, "hello")
    assert done.returncode == 125
    assert done.stderr.startswith(f"nopage: {bind}: ")
    assert "directory" in done.stderr


@pytest.mark.parametrize("option", ["--bind", "--root", "--device"])
def test_two_dashes_are_no_value(option: str) -> None:
    for words in ([f"{option}=--"], [option, "--"]):
        done = nopage("run", *words, "hello")
        assert done.returncode == 2
        assert done.stderr.startswith(f"nopage: option {option} needs a value")


def test_the_process_ends_with_the_command(tmp_path: Path) -> None:
    """At once where the shell has called it; where something below waits for it, as a profiler does, that goes on."""

    def cleaned(*words: str) -> tuple[int, bool]:
        command = [sys.executable, "-v", *words, "machine", "run", "--", "/bin/sh", "-c", "exit 7"]
        done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, "# cleanup" in done.stderr

    assert cleaned("-m") == (7, False)
    profile = tmp_path / "profile"
    assert cleaned("-m", "cProfile", "-o", str(profile), "-m")[1]
    assert profile.stat().st_size > 1000
