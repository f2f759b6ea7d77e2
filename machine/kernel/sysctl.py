"""The settings below /proc/sys that the kernel obeys and that root can change (kernel/sysctl.c)."""

from __future__ import annotations

DEFAULTS: dict[str, int] = {
    "kernel/core_uses_pid": 0,
    "kernel/pid_max": 32768,
    "kernel/randomize_va_space": 0,
    "vm/overcommit_memory": 0,
    "vm/overcommit_ratio": 50,
    "vm/max_map_count": 65530,
    "vm/mmap_min_addr": 65536,
    "fs/pipe-max-size": 1048576,
    "fs/nr_open": 1048576,
    "fs/mqueue/msg_default": 10,
    "fs/mqueue/msg_max": 10,
    "fs/mqueue/msgsize_default": 8192,
    "fs/mqueue/msgsize_max": 8192,
    "fs/mqueue/queues_max": 256,
}
"""At boot, by their path below /proc/sys: what `kernel.sysctl` starts with."""

RANGES: dict[str, tuple[int, int]] = {
    "kernel/core_uses_pid": (0, 1),
    "kernel/pid_max": (301, 4194304),
    "kernel/randomize_va_space": (0, 0),
    "vm/overcommit_memory": (0, 2),
    "vm/overcommit_ratio": (0, 100),
    "vm/max_map_count": (0, 2147483647),
    "vm/mmap_min_addr": (0, 65536),
    "fs/pipe-max-size": (4096, 1 << 31),
    "fs/nr_open": (8, 1073741816),
    "fs/mqueue/msg_default": (1, 65536),
    "fs/mqueue/msg_max": (1, 65536),
    "fs/mqueue/msgsize_default": (128, 16777216),
    "fs/mqueue/msgsize_max": (128, 16777216),
    "fs/mqueue/queues_max": (0, 2147483647),
}
"""What each may be.  Addresses are never random here: `randomize_va_space` can only be 0."""
