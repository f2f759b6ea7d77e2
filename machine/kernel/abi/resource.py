"""Resource limits, usage and scheduling numbers (include/uapi/asm-generic/resource.h, linux/resource.h)."""

from __future__ import annotations

RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_STACK = 0, 1, 2, 3
RLIMIT_CORE, RLIMIT_RSS, RLIMIT_NPROC, RLIMIT_NOFILE = 4, 5, 6, 7
RLIMIT_MEMLOCK, RLIMIT_AS, RLIMIT_LOCKS, RLIMIT_SIGPENDING = 8, 9, 10, 11
RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO, RLIMIT_RTTIME = 12, 13, 14, 15
RLIM_NLIMITS = 16
RLIM_INFINITY = 0xFFFF_FFFF_FFFF_FFFF
"""``~0UL``; a 32-bit program sees its own ``~0UL``, 0xffffffff."""

STACK_LIMIT = 8 << 20
"""_STK_LIM: the soft stack limit of the first process, bytes."""

DEFAULT_RLIMITS: tuple[tuple[int, int], ...] = (
    (RLIM_INFINITY, RLIM_INFINITY),  # CPU seconds
    (RLIM_INFINITY, RLIM_INFINITY),  # FSIZE bytes
    (RLIM_INFINITY, RLIM_INFINITY),  # DATA bytes
    (STACK_LIMIT, RLIM_INFINITY),  # STACK bytes
    (0, RLIM_INFINITY),  # CORE bytes
    (RLIM_INFINITY, RLIM_INFINITY),  # RSS bytes
    (RLIM_INFINITY, RLIM_INFINITY),  # NPROC
    (1024, 4096),  # NOFILE
    (8 << 20, 8 << 20),  # MEMLOCK bytes (MLOCK_LIMIT)
    (RLIM_INFINITY, RLIM_INFINITY),  # AS bytes
    (RLIM_INFINITY, RLIM_INFINITY),  # LOCKS
    (1024, 1024),  # SIGPENDING
    (819200, 819200),  # MSGQUEUE bytes (MQ_BYTES_MAX)
    (0, 0),  # NICE
    (0, 0),  # RTPRIO
    (RLIM_INFINITY, RLIM_INFINITY),  # RTTIME microseconds
)
"""(soft, hard) by number: INIT_RLIMITS of include/asm-generic/resource.h."""

RUSAGE_SELF, RUSAGE_CHILDREN, RUSAGE_THREAD = 0, -1, 1

PRIO_PROCESS, PRIO_PGRP, PRIO_USER = 0, 1, 2

SCHED_NORMAL, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, SCHED_DEADLINE = 0, 1, 2, 3, 5, 6
SCHED_RESET_ON_FORK = 0x40000000
