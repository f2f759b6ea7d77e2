"""Modes of fallocate(2) (include/uapi/linux/falloc.h)."""

from __future__ import annotations

FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2
