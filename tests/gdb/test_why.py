"""Why did it fault here?  For a fault in a hole of scullp: the line of C, the instruction, the device offset and what
the driver said, in each of the views."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.gdb.conftest import TOP, gdb, line_of, needs_gdb, program

SAID = r"scullp\.nopage returned NOPAGE_SIGBUS \(scullp\.py:\d+\)"


@needs_gdb
def test_in_each_view(target: str, tmp_path: Path) -> None:
    """The one-line message, --faults, --report, gdb and the core (`nopage core`).  # F1 F2 F3 F4"""
    hole = program("hole.c", target)
    faults, report, core = tmp_path / "faults", tmp_path / "report.html", tmp_path / "core"
    line = f"hole.c:{line_of('hole.c', '/* the hole')}"
    process = subprocess.Popen(
        [sys.executable, "-m", "machine", "run", "--device", "scullp", f"--faults={faults}", "--report", report,
         "--core", core, "--gdb", "0", hole],
        cwd=TOP, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    port = int(process.stderr.readline().split(" on 127.0.0.1:")[1].split(":")[0])
    shown = gdb(
        f"target extended-remote 127.0.0.1:{port}", "continue", "x/i $pc", "p $_siginfo._sifields._sigfault.si_addr",
        'eval "monitor page %p", $_siginfo._sifields._sigfault.si_addr', "continue",
    )  # fmt: skip
    message = process.communicate(timeout=60)[1]

    assert re.search(rf"instruction 0x[0-9a-f]+ mov[sz]x eax, byte ptr \[.*touch\S* {line}\)", message), message
    assert re.search(rf"/dev/scullp0, offset 0x1000 of /dev/scullp0: {SAID}", message), message

    text = faults.read_text()
    assert re.search(rf"touch\S* {line}   mov", text) and re.search(rf"{SAID}, offset 0x1000 of /dev/scullp0", text), (
        text
    )

    assert f"{line_of('hole.c', '/* the hole')}" in shown and re.search(r"=> 0x.*mov[sz]", shown), shown
    assert "offset 0x1000 of /dev/scullp0" in shown and re.search(f"refused {SAID}", shown), shown

    (found,) = core.iterdir()
    text = gdb("bt 1", "x/i $pc", "info proc mappings", files=[hole, found])
    assert line in text and re.search(r"=> 0x.*mov[sz]", text) and "/dev/scullp0" in text, text
    command = [sys.executable, "-m", "machine", "core", found]
    text = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=60, check=True).stdout
    why = next(each for each in text.splitlines() if each.startswith("  why "))
    assert why.removeprefix("  why").strip() in message, (why, message)
    assert f"  gdb      gdb {hole} {found}\n" in text and f"pid 2), {target.replace('_', '-')}" in text, text

    page = report.read_text()
    assert line in page and "byte 0x1000 (4,096) of /dev/scullp0" in page, "the report"
    assert "returned NOPAGE_SIGBUS" in page and re.search(r"instruction mov[sz]x eax, byte ptr", page)
