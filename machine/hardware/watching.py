"""What the processor tells to views that ask for it, and that costs nothing otherwise: TLB flushes, blocks of code."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from machine.hardware.cpu import Cpu

_BLOCK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)


def watch_flushes(cpu: Cpu, told: Callable[[], None] | None) -> None:
    """Call `told` after each flush of the TLB from now on; None: no more."""
    cpu.__dict__.pop("_flush_now", None)
    if told is None:
        return
    flush, listener = cpu._flush_now, told

    def flush_and_tell() -> None:
        flush()
        try:
            listener()
        except BaseException as failure:
            cpu._fail(failure)

    cpu._flush_now = flush_and_tell  # type: ignore[method-assign]


def watch_blocks(cpu: Cpu, told: Callable[[int, int], None]) -> None:
    """Call `told` with address and bytes of each block of user code before it runs, until `unwatch_blocks`.

    Code runs some fifty times as slowly meanwhile.  Not while the processor runs.
    """
    if cpu._blocks is not None:
        cpu._blocks[2].append(told)
        return
    listeners = [told]

    def block(_uc: int, address: int, size: int, _data: Any) -> None:
        try:
            for listener in listeners:
                listener(address, size)
        except BaseException as failure:
            cpu._fail(failure)

    callback = _BLOCK(block)
    cpu._blocks = cpu.hook_blocks(callback), callback, listeners


def unwatch_blocks(cpu: Cpu, told: Callable[[int, int], None]) -> None:
    """Don't call `told` any more."""
    if cpu._blocks is not None and told in cpu._blocks[2]:
        cpu._blocks[2].remove(told)
        if not cpu._blocks[2]:
            cpu._unhook_code(cpu._blocks[0])
            cpu._blocks = None
