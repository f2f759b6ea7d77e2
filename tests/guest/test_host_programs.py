"""The host's own dynamic programs, as they are: shells, pipelines, core utilities, interpreters, a compiler.

Each command runs here and in the machine, over the same small tree; output and exit status are the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/", "LC_ALL": "C"}

COMMANDS = {
    "true": ["true"],
    "false": ["false"],
    "echo": ["echo", "one", "two  three"],
    "ls": ["ls", "-ln", "--time-style=+", "."],
    "find": ["sh", "-c", "find . | sort"],
    "sort": ["sort", "-rn", "numbers"],
    "checksum": ["md5sum", "numbers", "words"],
    "od": ["od", "-Ax", "-tx1", "-N64", "words"],
    "grep": ["grep", "-c", "7", "numbers", "words", "sub/file"],
    "sed": ["sed", "-n", "s/[0-9]*7$/<&>/p", "numbers"],
    "awk": ["awk", "{ sum += $1 } END { print sum, NR }", "numbers"],
    "pipeline": ["sh", "-c", "cat numbers | sort -n | head -3 | tr '\\n' ,; echo; exit 3"],
    "background": ["sh", "-c", "sleep 0.05 & wait $!; echo $?; (exit 5); echo $?"],
    "signal": ["bash", "-c", "trap 'echo caught' USR1; kill -USR1 $$; kill -9 $BASHPID"],
    "substitution": ["bash", "-c", "diff <(echo a) <(echo b); cat <<< $(ls | wc -l)"],
    "files": [
        "sh",
        "-c",
        (
            "cd /tmp && mkdir n-a && echo hi > n-a/b && tar cf n-t.tar n-a && rm -r n-a && tar xf n-t.tar &&"
            " cat n-a/b && ln -s n-a n-l && readlink n-l && chmod 640 n-a/b && touch -d @99 n-a/b &&"
            " stat -c '%a %Y %s' n-a/b && mv n-a n-c && cat n-c/b; rm -r n-c n-l n-t.tar"
        ),
    ],
    "timeout": ["timeout", "0.1", "sleep", "10"],
    "perl": ["perl", "-e", "print join(',', map { $_ * 2 } 1..10), qq(\\n)"],
    "python": ["python3", "-c", "import json, re, zlib; print(json.dumps([zlib.crc32(open('words','rb').read())]))"],
    "python-threads": [
        "python3",
        "-c",
        (
            "import threading as t; r=[]; l=[t.Thread(target=r.append, args=(i,)) for i in range(4)];"
            " [i.start() for i in l]; [i.join() for i in l]; print(sorted(r))"
        ),
    ],
    "python-processes": [
        "python3",
        "-c",
        "import subprocess as s; print(s.check_output(['cat'], input=b'x' * 99999)[-5:])",
    ],
    "compiler": [
        "sh",
        "-c",
        "cp hello.c /tmp/n-h.c && cd /tmp && gcc -O2 n-h.c -o n-h && ./n-h; e=$?; rm -f n-h*; exit $e",
    ],
}


LARGE = {"compiler", "python", "python-threads", "python-processes"}
"""Checking the address space after each of their faults would take minutes."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tree")
    (directory / "numbers").write_text("".join(f"{i * 7919 % 1000}\n" for i in range(500)))
    (directory / "words").write_bytes(bytes(i * i % 251 for i in range(20000)))
    (directory / "sub").mkdir()
    (directory / "sub" / "file").write_text("777\n")
    (directory / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("compiled"); return 4; }\n')
    for path in (directory, directory / "sub"):
        os.utime(path, (0, 0))
    return directory


@pytest.mark.parametrize("name", COMMANDS)
def test_command(machine_clean: Callable[..., Machine], tree: Path, name: str) -> None:
    command = COMMANDS[name]
    wanted = {"compiler": "gcc"}.get(name, command[0])
    program = shutil.which(wanted, path=ENVIRONMENT["PATH"])
    if program is None:
        pytest.skip(f"{wanted} is not installed")
    here = subprocess.run(
        command, cwd=tree, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    machine = machine_clean(env=ENVIRONMENT, binds=[(str(tree), str(tree), False)], check_invariants=name not in LARGE)
    there = machine.run(command, cwd=str(tree), timeout=200)
    assert there.stderr == here.stderr
    assert there.stdout == here.stdout
    assert there.exit == (here.returncode if here.returncode >= 0 else 128 - here.returncode)


def test_a_user_keeps_permissions(machine_clean: Callable[..., Machine]) -> None:
    """cp and install set an ACL first: a file system without any says EOPNOTSUPP to the owner, too, and they go on."""
    if shutil.which("cp", path=ENVIRONMENT["PATH"]) is None:
        pytest.skip("cp is not installed")
    machine = machine_clean(user=(1000, 1000))
    script = "cd /tmp; mkdir a; echo x > a/f; chmod 640 a/f; cp -a a b; install -m 600 a/f c; stat -c %a b/f c"
    result = machine.run(["sh", "-c", script], timeout=60)
    assert (result.exit, result.stdout, result.stderr) == (0, b"640\n600\n", b"")
