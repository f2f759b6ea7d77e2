"""What uname(2) and /proc say the system is (include/generated/utsrelease.h)."""

from __future__ import annotations

UTS_SYSNAME = "Linux"
UTS_RELEASE = "6.1.0-nopage"
UTS_VERSION = "#1 PREEMPT nopage"
