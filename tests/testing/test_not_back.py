"""Drivers and models that no program has called, and that do not come back: init, exit, the file itself, `reset`, an
interrupt that a test raises."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from machine import Machine
from machine.errors import NotBack
from machine.testing import Reg, RegisterBlock

TOP = Path(__file__).parents[2]
DRIVER = """
from machine.kernel.linux import *
where = ""
module_param("where", str, 0)
def loop(place):
    while place == where:
        pass
def handler(irq, dev_id, regs):
    loop("handler")
    return IRQ_HANDLED
def begin():
    loop("init")
    register_chrdev(240, "loops", file_operations())
    return request_irq(5, handler, 0, "loops", handler)
def end():
    loop("exit")
    free_irq(5, handler)
    unregister_chrdev(240, "loops")
loop("file")
module_init(begin)
module_exit(end)
"""


@pytest.fixture
def loops(tmp_path: Path) -> Callable[[str], str]:
    """A driver that loops at one place, as --device has it."""
    path = tmp_path / "loops.py"
    path.write_text(DRIVER)
    return lambda where: f"{path},where={where}"


@pytest.mark.parametrize(("where", "said"), [("init", "come back from init"), ("file", "come back from its file")])
def test_loading(loops: Callable[[str], str], where: str, said: str) -> None:
    """The line that loops is named; the machine can load another one."""
    text = loops(where)
    if where == "file":
        path = Path(text.partition(",")[0])
        path.write_text(DRIVER.replace('where = ""', 'where = "file"'))
        text = str(path)
    with Machine(patience=0.5) as machine:
        with pytest.raises(NotBack, match=said) as caught:
            machine.load(text)
        assert "while place == where" in str(caught.value) or "pass" in str(caught.value)
        machine.load("scullp")
        assert machine.run(["true"], timeout=60).exit == 0


def test_unloading(loops: Callable[[str], str]) -> None:
    """The module is gone all the same."""
    with Machine(devices=[loops("exit")], patience=0.5) as machine:
        with pytest.raises(NotBack, match="did not come back from exit"):
            machine.unload("loops")
        assert "loops" not in machine.kernel.modules


def test_an_interrupt_that_a_test_raises(loops: Callable[[str], str]) -> None:
    with Machine(devices=[loops("handler")], patience=0.5) as machine:
        with pytest.raises(NotBack, match="the driver loops did not come back"):
            machine.raise_irq(5)
        assert machine.run(["true"], timeout=60).exit == 0


def test_what_is_ours_and_takes_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver and no model is in it: it is broken off all the same, and no foreign exception gets out."""

    def endless(_irq: int) -> None:
        while True:
            pass

    with Machine(patience=0.5) as machine:
        with monkeypatch.context() as context:
            context.setattr(machine.kernel.irq, "raise_irq", endless)
            with pytest.raises(NotBack, match=r"the kernel was still at work, in .*\(endless\) when 0.5 seconds"):
                machine.raise_irq(5)
        assert machine.run(["true"], timeout=60).exit == 0


class Resets(RegisterBlock):
    """Never ready."""

    ctrl = Reg(0x00)

    def reset(self) -> None:
        while True:
            pass


def test_a_model() -> None:
    with Machine(patience=0.5) as machine:
        with pytest.raises(NotBack, match="the model Resets did not come back from its __init__"):
            machine.attach("/dev/uio0", Resets)
        assert machine.run(["true"], timeout=60).exit == 0


@pytest.mark.parametrize("where", ["init", "exit"])
def test_the_command_line(loops: Callable[[str], str], where: str) -> None:
    """--timeout is for them, too: 124."""
    done = subprocess.run(
        [sys.executable, "-m", "machine", "run", "--timeout", "4", "--device", loops(where), "true"],
        capture_output=True, timeout=100, check=False, env={**os.environ, "PYTHONPATH": str(TOP)},
    )  # fmt: skip
    assert done.returncode == 124
    assert f"the driver loops did not come back from {where}; interrupted in".encode() in done.stderr
