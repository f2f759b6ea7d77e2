"""Write docs/events.md from the records of machine/events.py and the forms of machine/observe/jsonl.py.

python docs/gen_events.py            write the file
python docs/gen_events.py --check    exit 1 when it is not what would be written
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
TARGET = TOP / "docs" / "events.md"

HEAD = """\
# Events

Written by `python docs/gen_events.py` from `machine/events.py`: don't edit.

Whatever happens in a machine is an event of one stream. `nopage run --events FILE` writes them as JSON lines, one
object a line; in Python `machine.events.listen(kind, function)` gives the record with the same fields, as numbers.

* `seq` counts the events that somebody hears, from 1: the order in which they happened. A `fault_enter`,
  `syscall_enter` or `driver_enter` comes before what happens inside, its `fault`, `syscall_exit` or `driver_call`
  after it.
* `pid`, `comm` and `rip` are the task for which the machine worked, and the address of its instruction; in a system
  call, of the instruction behind (but `syscall_enter` has the call itself). 0 and "" where there was none.
* With `--deterministic` there is no `host_ns`, and two runs of a program write the same bytes.
* `--filter KEY=VALUE[,KEY=VALUE]...` chooses: `driver`, `addr` (an address for its page, or FIRST-END), `pid`, `comm`,
  `kind`. All keys must fit, of one key that is given twice one value; of several filters one.
  `--filter kind=fault,driver=scullp --filter kind=signal` leaves the faults of a driver's areas and all signals.

* With `--trace-window` lines of the kind `window` follow a fault, which are no events: `seq` and `fault` (its `number`)
  say of which, `part` is `before`, `at` (with `insn`) or `after`, `lines` a list of strings, as `--faults` shows them.

| form | in JSON |
| --- | --- |
| integer, string, boolean | as they are |
| hex | a string, `"0x7ffff7ff8000"` |
| bytes | a string of two digits a byte |
| list of hex, list of strings | a list of those; objects of the kernel as a text like `"vma 0x7f0000-0x7f1000"` |
| walk | the four levels as far as the MMU gets: a list of `["physical address of the entry", "entry"]`, both hex |
| mapping | `{"path": string, "vm_start": hex, "offset": hex}` |
| call | `{"seq": integer, "name": string}` of the `syscall_enter` |
| object of integers | `{"name": integer}` |

Every event has these fields:

| field | form | |
| --- | --- | --- |
| `seq` | integer | its place in the stream |
| `kind` | string | the heading below |
| `time_ns` | integer | the machine's clock, nanoseconds since its start; virtual with `--deterministic` |
| `host_ns` | integer | the host's monotonic clock, nanoseconds |
| `pid` | integer | process or thread |
| `comm` | string | its name |
| `rip` | hex | instruction address |
"""
COMMON = ("seq", "time_ns", "host_ns", "pid", "comm", "rip")


def _documented(record: type) -> tuple[str, dict[str, str]]:
    """(docstring, field -> the text below it) of a record."""
    source = Path(inspect.getsourcefile(sys.modules[record.__module__]) or "").read_text()
    tree = next(n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == record.__name__)
    fields: dict[str, str] = {}
    name = ""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            fields[name] = ""
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            fields[name] = " ".join(str(node.value.value).replace("``", "`").split())
    return " ".join((ast.get_docstring(tree) or "").replace("``", "`").split()), fields


def document() -> str:
    """The text of docs/events.md."""
    from machine.events import RECORDS
    from machine.observe.jsonl import FORMS

    text = HEAD
    for kind, record in RECORDS.items():
        about, fields = _documented(record)
        text += f"\n## {kind}\n\n{about}\n\n"
        own = [name for name in FORMS[kind] if name not in COMMON]
        if own:
            text += "| field | form | |\n| --- | --- | --- |\n"
            cell = {name: fields.get(name, "").replace("|", "\\|") for name in own}
            text += "".join(f"| `{name}` | {FORMS[kind][name].name} | {cell[name]} |\n" for name in own)
    return text


def main(words: list[str]) -> int:
    """The exit code."""
    sys.path.insert(0, str(TOP))
    text = document()
    if "--check" not in words:
        TARGET.write_text(text)
        return 0
    if not TARGET.exists() or TARGET.read_text() != text:
        print(f"{TARGET} is not current: run python docs/gen_events.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
