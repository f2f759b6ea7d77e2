"""Capabilities (include/uapi/linux/capability.h)."""

from __future__ import annotations

CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 6, 7, 8
CAP_SYS_ADMIN, CAP_CHECKPOINT_RESTORE = 21, 40
CAP_LAST_CAP = 40
CAP_FULL_SET = (1 << CAP_LAST_CAP + 1) - 1
