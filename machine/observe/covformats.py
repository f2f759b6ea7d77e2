"""Coverage for lcov's tools (geninfo(1)) and as Cobertura's XML (coverage-04.dtd)."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from machine.observe.output import one_line

if TYPE_CHECKING:
    from machine.observe.coverage import Coverage, SourceFile

_DTD = "http://cobertura.sourceforge.net/xml/coverage-04.dtd"


def lcov(coverage: Coverage) -> str:
    """A tracefile: SF, FN, FNDA, DA and the totals of each source."""
    return "".join(_record(one_line(path), each) for path, each in sorted(coverage.files.items()))


def _record(path: str, source: SourceFile) -> str:
    functions = sorted((line, one_line(name), calls) for name, (line, calls) in source.functions.items())
    lines = ["TN:", f"SF:{path}"]
    lines += [f"FN:{line},{name}" for line, name, _ in functions]
    lines += [f"FNDA:{calls},{name}" for _, name, calls in functions]
    lines += [f"FNF:{len(functions)}", f"FNH:{sum(calls > 0 for _, _, calls in functions)}"]
    lines += [f"DA:{line},{count}" for line, count in sorted(source.lines.items())]
    lines += [f"LF:{len(source.lines)}", f"LH:{sum(count > 0 for count in source.lines.values())}", "end_of_record"]
    return "\n".join(lines) + "\n"


def cobertura(coverage: Coverage) -> str:
    """One package, a class a source; paths are relative to the current directory where they are below it."""
    here = os.getcwd()
    ran, all_lines = coverage.totals()
    rate = _rate(ran, all_lines)
    rows = [
        '<?xml version="1.0" ?>',
        f'<!DOCTYPE coverage SYSTEM "{_DTD}">',
        (
            f'<coverage line-rate="{rate}" branch-rate="0" lines-covered="{ran}" lines-valid="{all_lines}" '
            'branches-covered="0" branches-valid="0" complexity="0" version="nopage" '
            f'timestamp="{int(time.time())}">'
        ),
        f"<sources><source>{_escaped(here)}</source></sources>",
        f'<packages><package name="" line-rate="{rate}" branch-rate="0" complexity="0"><classes>',
    ]
    for path, each in sorted(coverage.files.items()):
        rows += _class(one_line(os.path.relpath(path, here) if path.startswith(here + os.sep) else path), each)
    return "\n".join([*rows, "</classes></package></packages>", "</coverage>", ""])


def _class(path: str, source: SourceFile) -> list[str]:
    rate = _rate(sum(count > 0 for count in source.lines.values()), len(source.lines))
    names = f"name={quoteattr(os.path.basename(path))} filename={quoteattr(path)}"
    rows = [f'<class {names} line-rate="{rate}" branch-rate="0" complexity="0">', "<methods>"]
    for name, (line, calls) in sorted(source.functions.items(), key=lambda item: item[1]):
        rows.append(
            f'<method name={quoteattr(one_line(name))} signature="" line-rate="{1 if calls else 0}" branch-rate="0" '
            f'complexity="0"><lines><line number="{line}" hits="{calls}"/></lines></method>'
        )
    rows += ["</methods>", "<lines>"]
    rows += [f'<line number="{line}" hits="{count}"/>' for line, count in sorted(source.lines.items())]
    return [*rows, "</lines>", "</class>"]


def _rate(part: int, whole: int) -> str:
    return f"{part / whole if whole else 1:.4g}"


def _escaped(text: str) -> str:
    return quoteattr(text)[1:-1]
