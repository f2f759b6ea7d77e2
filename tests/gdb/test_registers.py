"""`monitor registers` in Debian's gdb: what devices hold at a stop, without a read of the bus."""

from __future__ import annotations

import re

from tests.gdb.conftest import HERE, Debugged, line_of, needs_gdb, program

pytestmark = needs_gdb
OPTIONS = ("--attach", f"/dev/mem@0xfe000000={HERE}/board.py:Board")
AT_RESET = """\
board at 0xfe000000
  0x0000  ctrl         rw   0x00000000 (enable=0, mode=slow)
  0x0004  seen         rc   0x0000002a  a read runs its hook
  0x0008  data         rw   0 of 4 entries
  0x0100  palette      64 registers, all hold 0x0
  0x0400  memory       256 bytes of memory
"""
POKED = """\
board at 0xfe000000
  0x0000  ctrl         rw   0x00000009 (enable=1, mode=fast)
  0x0004  seen         rc   0x0000002a  a read runs its hook
  0x0008  data         rw   1 of 4 entries
  0x010c  palette[3]   rw   0x000000aa
  0x0100  palette      64 registers, the others hold 0x0
  0x0400  memory       256 bytes of memory
"""


def test_monitor_registers(target: str) -> None:
    """Before and after three stores of the program; of all devices and of one; a name that there is not.  # F3"""
    with Debugged(program("pokes.c", target), options=OPTIONS) as session:
        text = session.gdb(
            f"break {line_of('pokes.c', 'enabled, fast')}", f"break {line_of('pokes.c', 'printf')}", "continue",
            "monitor registers board", "next", "monitor registers", "continue", "monitor registers board",
            "monitor registers bord", "monitor help", "continue",
        )  # fmt: skip
        status, out, _ = session.end()
    assert AT_RESET in text and POKED in text, text
    stepped = text[text.index(AT_RESET) + len(AT_RESET) : text.index(POKED)]
    assert re.search(r"^board at 0xfe000000\n  0x0000  ctrl +rw   0x00000009 \(enable=1, mode=fast\)$", stepped, re.M)
    assert "0 of 4 entries" in stepped and re.search(r"^\w+ at 0x[0-9a-f]+$", stepped, re.M), text
    assert "there is no device 'bord'; there are: " in text, text
    assert re.search(r"^monitor registers \[DEVICE\] what the registers of devices hold", text, re.M), text
    assert (status, out) == (0, "42 1\n"), "nothing was read by gdb: the register still held 42, its hook ran once"
