"""System calls of Debian's dynamic programs, call by call with results, as strace sees them on the host."""

from __future__ import annotations

import pytest

from machine.compare import FenceError, compare
from tests.differential.lines import ENVIRONMENT, FILES
from tests.differential.test_lines import skip_without

COMMANDS = (
    "true",
    "cat words sub/file none",
    "head -n 3 words",
    "wc words numbers",
    "sort -n numbers",
    "md5sum words binary",
    "cp words copy",
    "mv words moved",
    "rm left right none",
    "ln -s words link",
    "mkdir -p a/b",
    "touch -d @5 words new",
    "chmod 600 words",
    "truncate -s 99 words",
    "dd if=words of=out bs=100 count=3 status=none",
    "od -An -tx1 -N64 binary",
    "grep -c fox words",
    "sed -n 3p words",
    "mawk {s+=$1}END{print(s)} numbers",
    "diff old.txt new.txt",
    "gzip -k words",
    "env",
    "id",
    "sh script.sh one",
    "find sub/deep",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_calls(command: str) -> None:
    argv = command.split()
    skip_without((argv[0],))
    try:
        result = compare(argv, files=FILES, env=ENVIRONMENT, trace=True)
    except FenceError as error:
        pytest.skip(str(error))
    if not result.watched:
        pytest.skip("; ".join(result.notes))
    assert result.same, result.text(every=True)
