"""The table in lines/: command lines of Debian's own programs, each run natively and in a machine over the same files.

One line is ``name | programs that it needs | command``; lines without bars belong to the one above.  bash runs it (sh
those of dash.txt) in a working directory with `FILES`, with `ENVIRONMENT` and /dev/null for input.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "USER": "root", "GIT_CONFIG_NOSYSTEM": "1"}

_TEXT = "the quick brown fox jumps over the lazy dog while five wizards box with the daft jinx at dawn"
_WORDS = re.findall(r"\w+", _TEXT)

FILES: dict[str, str | bytes | None] = {
    "numbers": "".join(f"{i * 7919 % 1000}\n" for i in range(500)),
    "words": "".join(f"{_WORDS[i * 7 % 19]} {_WORDS[i * 5 % 19]} {i}\n" for i in range(200)),
    "binary": bytes(i * i % 251 for i in range(20000)),
    "table.csv": "".join(f"{i},name{i % 7},{i * 37 % 101}\n" for i in range(60)),
    "left": "".join(f"k{i:02} left{i}\n" for i in range(0, 40, 2)),
    "right": "".join(f"k{i:02} right{i}\n" for i in range(0, 40, 3)),
    "old.txt": "".join(f"line {i}\n" for i in range(40)),
    "new.txt": "".join(f"line {i}\n" if i % 11 else f"changed {i}\n" for i in range(41)),
    "sub/file": "777\n",
    "sub/deep/er/note": "note\n",
    "sub/empty": None,
    "t.json": '{"a": [1, 2, {"b": null}], "c": "\\u00e9"}\n',
    "script.sh": "#!/bin/sh\necho script $# $1\nexit 7\n",
    "main.c": '#include <stdio.h>\nint f(int);\nint main(void) { printf("%d\\n", f(20)); return 3; }\n',
    "f.c": "int f(int n) { return n < 2 ? n : f(n - 1) + f(n - 2); }\n",
    "Makefile": (
        "OBJS = a.o b.o c.o d.o\nall: out\nout: $(OBJS)\n\tcat $(sort $(OBJS)) > $@\n"
        "%.o: %.in\n\t@sleep 0.02; tr a-z A-Z < $< > $@\nclean:\n\trm -f $(OBJS) out\n"
    ),
    "a.in": "alpha\n", "b.in": "beta\n", "c.in": "gamma\n", "d.in": "delta\n",
    "query.sql": (
        "create table t(k integer primary key, v text, n real);\n"
        "with recursive c(x) as (select 1 union all select x+1 from c where x<300)\n"
        "insert into t select x, 'v'||(x*7%13), x/3.0 from c;\n"
        "create index i on t(v);\nselect v, count(*), round(sum(n),2) from t group by v order by 2 desc, 1 limit 5;\n"
        "begin; delete from t where k%2; rollback; select count(*) from t;\n"
    ),
}  # fmt: skip


class Line(NamedTuple):
    """One row of the table."""

    name: str
    needs: tuple[str, ...]
    command: str
    shell: str


def rows(text: str, shell: str) -> list[Line]:
    """The rows of one part; what follows a row without bars belongs to its command."""
    found: list[list[str]] = []
    for line in text.strip("\n").split("\n"):
        name, bar, rest = line.partition(" | ")
        if bar and name.strip() and " " not in name.strip() and " | " in rest:
            needs, _, command = rest.partition(" | ")
            found.append([name.strip(), needs.strip(), command])
        else:
            found[-1][2] += "\n" + line
    return [Line(name, tuple(needs.split()), command, shell) for name, needs, command in found]


LINES = [
    line
    for path in sorted(Path(__file__).with_name("lines").glob("*.txt"))
    for line in rows(path.read_text(), "sh" if path.stem == "dash" else "bash")
]
