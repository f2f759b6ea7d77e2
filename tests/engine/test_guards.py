"""What keeps a hostile program from ending or reading the host's process is there, or the kernel's log says so."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from machine import Machine
from machine.hardware import cpu
from machine.hardware.divides import guard_divides
from machine.hardware.patches import guard_lengths
from tests.engine.board import Board


def test_all_are_there(board: Board) -> None:
    assert board.cpu.unguarded == []


def test_another_build_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not guard_lengths(SimpleNamespace())
    another = ctypes.CDLL(None).qsort
    assert not guard_lengths(SimpleNamespace(helper_pcmpestri_xmm_x86_64=another, helper_pcmpestrm_xmm_x86_64=another))
    monkeypatch.setattr("machine.hardware.divides._divides", None)
    assert guard_divides(SimpleNamespace()) is None
    monkeypatch.setattr(cpu, "guard_lengths", lambda library: False)
    with Machine() as machine:
        log = [line.text for line in machine.kernel.log.since(0)]
    assert "Unicorn: this build is another one: no guard against PCMPESTRI (SECURITY.md)" in log
