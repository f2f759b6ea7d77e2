"""gdb's own numbers of signals (include/gdb/signals.def), which the protocol uses."""

from __future__ import annotations

_PLAIN = {
    1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 10, 8: 8, 9: 9, 10: 30, 11: 11, 12: 31, 13: 13, 14: 14, 15: 15, 17: 20,
    18: 19, 19: 17, 20: 18, 21: 21, 22: 22, 23: 16, 24: 24, 25: 25, 26: 26, 27: 27, 28: 28, 29: 23, 30: 32, 31: 12,
}  # fmt: skip
"""Linux's number on x86 -> gdb's: SIGHUP to SIGSYS."""
_UNKNOWN = 143
_REALTIME = {32: 77, 64: 78} | {number: number + 12 for number in range(33, 64)}
_TO_GDB = _PLAIN | _REALTIME
_FROM_GDB = {theirs: ours for ours, theirs in _TO_GDB.items()}


def to_gdb(signo: int) -> int:
    """gdb's number of a signal of Linux; GDB_SIGNAL_UNKNOWN for one without."""
    return _TO_GDB.get(signo, _UNKNOWN) if signo else 0


def from_gdb(number: int) -> int:
    """The other way; 0 for one that Linux does not have."""
    return _FROM_GDB.get(number, 0)
