"""Instructions at which the processor stops before it executes them: the engine's code hook, for single addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

_CODE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)


class CodePoints:
    """`add` hooks a callback to an address and returns a handle, `remove` takes that; `stop` and `fail` are the
    processor's."""

    def __init__(
        self,
        add: Callable[[Any, int], int],
        remove: Callable[[int], None],
        stop: Callable[[], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.ask: Callable[[int], bool] = lambda _address: False
        """Called with the address of an instruction that is about to run: True stops there."""
        self._add, self._remove, self._stop, self._fail = add, remove, stop, fail
        self._handles: dict[int, int] = {}
        self._callback = _CODE(self._hook)

    def _hook(self, _uc: int, address: int, _size: int, _data: Any) -> None:
        try:
            if self.ask(address):
                self._stop()
        except BaseException as failure:
            self._fail(failure)

    def watch(self, address: int) -> None:
        """Have `ask` called at a virtual address.  True makes `Cpu.run` return with the instruction still to come; the
        registers are not in the image before that.  Other code runs as before."""
        if address not in self._handles:
            self._handles[address] = self._add(self._callback, address)

    def clear(self) -> None:
        """Ask nowhere any more."""
        for handle in self._handles.values():
            self._remove(handle)
        self._handles.clear()
