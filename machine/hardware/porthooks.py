"""`in` and `out` in the engine: it has no I/O permission map and checks nothing, so each of them comes here.

The hook sees exact registers, but the rest of the block has been translated already: what a handler does to the image
has no effect.  It can give a value, and ask for a stop at the next block.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from machine.hardware.cpu import Cpu

_IN = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p)
_OUT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)


class PortHooks:
    """Calls ``cpu.on_port(port, width, value or None)``; `kind` and the others are the engine's numbers."""

    def __init__(self, cpu: Cpu, kind: int, ins_in: int, ins_out: int) -> None:
        self._cpu = cpu
        self.active = False
        """A handler runs: who changes the memory map can't leave the engine at once."""
        self._in_cb, self._out_cb = _IN(self._in), _OUT(self._out)
        cpu._hook(kind, self._in_cb, ctypes.c_int(ins_in))
        cpu._hook(kind, self._out_cb, ctypes.c_int(ins_out))

    def _in(self, _uc: int, port: int, width: int, _data: Any) -> int:
        return self._call(port, width, None)

    def _out(self, _uc: int, port: int, width: int, value: int, _data: Any) -> None:
        self._call(port, width, value & (1 << 8 * width) - 1)

    def _call(self, port: int, width: int, value: Optional[int]) -> int:
        cpu = self._cpu
        cpu.save_image()
        self.active = True
        try:
            return cpu.on_port(port & 0xFFFF, width, value)
        except BaseException as failure:
            cpu._fail(failure)
            return 0
        finally:
            self.active = False
