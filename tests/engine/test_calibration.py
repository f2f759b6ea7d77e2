"""The two fields that the register API lacks are found at start-up, or the machine refuses to start."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from machine.hardware.cpu import R15, RAX, RSP, Cpu
from machine.hardware.image import CpuError
from machine.hardware.traps import TrapHooks
from tests.engine.board import Board


def with_images(monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Cpu], None]) -> None:
    """An engine whose register images are not those of 2.1.4: `spoil` edits each one after it was saved."""
    bind = Cpu._bind

    def strange(self: Cpu) -> None:
        bind(self)
        save = self._save_raw

        def save_and_spoil(engine: Any, context: Any) -> int:
            status = int(save(engine, context))
            spoil(self)
            return status

        self._save_raw = save_and_spoil  # type: ignore[assignment]

    probe = Cpu._probe_trap

    def probe_and_spoil(self: Cpu) -> None:
        spoil(self)
        probe(self)

    monkeypatch.setattr(Cpu, "_bind", strange)
    monkeypatch.setattr(Cpu, "_probe_trap", probe_and_spoil)


def test_the_image_is_that_of_2_1_4(board: Board) -> None:
    cpu = board.cpu
    assert cpu._exception_at * 4 > 40 and cpu._error_at * 4 > 40
    assert cpu._exception_at != cpu._error_at
    assert cpu._cr2_at == cpu._cr3_at - 1
    assert len(cpu.image) == ctypes.sizeof(ctypes.c_char * cpu._context_size)


def test_registers_are_zero_after_calibration(board: Board) -> None:
    board.start(b"\x0f\x05")
    assert all(board.cpu.regs[i] == 0 for i in range(RAX, R15 + 1) if i not in (RSP, 1, 11))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda cpu: cpu.image.__setitem__(slice(4000, None), bytes(len(cpu.image) - 4000)), "0 places"),
        (lambda cpu: cpu._ints.__setitem__(slice(1000, 1002), cpu._ints[1384:1386]), "2 places"),
        (lambda cpu: setattr(cpu, "regs", cpu._words[6:]), "RAX is not where it was"),
    ],
    ids=["no field", "two candidates", "registers moved"],
)
def test_another_engine_is_refused(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Cpu], None], complaint: str
) -> None:
    with_images(monkeypatch, change)
    with pytest.raises(CpuError, match="cannot calibrate this Unicorn") as caught:
        Board()
    assert complaint in str(caught.value)
    assert "made for unicorn 2.1.4" in str(caught.value)


def test_an_engine_that_hides_the_length_of_syscall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrapHooks, "pushed", lambda self: [2, 7, 2])
    with pytest.raises(CpuError, match="the length of SYSCALL was found nowhere"):
        Board()


def test_an_engine_without_the_fault_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cpu, "_add_hooks", lambda self: None)
    with pytest.raises(CpuError, match="a deliberate page fault was not reported"):
        Board()
