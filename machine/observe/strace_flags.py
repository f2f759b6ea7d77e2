"""Names of flags and of values, as strace prints them.

Taken from the numbers in include/uapi/linux and asm-generic.  `BITS` are sets of flags, printed joined by ``|``;
`VALUES` are enumerations.  The keys are what follows the colon in a row's types: ``flags:PROT_``, ``uint:SEEK_``.
"""

from __future__ import annotations

from machine.kernel.abi import mman

Names = dict[int, str]


def _of(source: object, prefix: str, *leave_out: str) -> Names:
    """{value: name} of the constants of a module that begin with `prefix`."""
    return {v: k for k, v in vars(source).items() if k.startswith(prefix) and k not in leave_out}


def _bits(first: int, *names: str) -> Names:
    """Consecutive bits from ``1 << first``."""
    return {1 << (first + i): name for i, name in enumerate(names) if name}


def _count(*names: str, start: int = 0) -> Names:
    return {start + i: name for i, name in enumerate(names) if name}


OPEN_BITS: Names = {
    0o100: "O_CREAT", 0o200: "O_EXCL", 0o400: "O_NOCTTY", 0o1000: "O_TRUNC", 0o2000: "O_APPEND", 0o4000: "O_NONBLOCK",
    0o4010000: "O_SYNC", 0o10000: "O_DSYNC", 0o20000: "FASYNC", 0o40000: "O_DIRECT", 0o100000: "O_LARGEFILE",
    0o400000: "O_NOFOLLOW", 0o1000000: "O_NOATIME", 0o2000000: "O_CLOEXEC", 0o10000000: "O_PATH",
    0o20200000: "O_TMPFILE", 0o200000: "O_DIRECTORY",
}  # fmt: skip
OPEN_MODES = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")

BITS: dict[str, Names] = {
    "OBITS_": OPEN_BITS,
    "PROT_": {1: "PROT_READ", 2: "PROT_WRITE", 4: "PROT_EXEC", 8: "PROT_SEM", 1 << 24: "PROT_GROWSDOWN",
              1 << 25: "PROT_GROWSUP"},
    "MREMAP_": _of(mman, "MREMAP_"),
    "MS_": {mman.MS_SYNC: "MS_SYNC", mman.MS_ASYNC: "MS_ASYNC", mman.MS_INVALIDATE: "MS_INVALIDATE"},
    "MCL_": _of(mman, "MCL_"),
    "MLOCK_": _of(mman, "MLOCK_"),
    "GRND_": _bits(0, "GRND_NONBLOCK", "GRND_RANDOM", "GRND_INSECURE"),
    "CLOSE_RANGE_": _bits(1, "CLOSE_RANGE_UNSHARE", "CLOSE_RANGE_CLOEXEC"),
    "COPY_": {},
    "EFD_": {1: "EFD_SEMAPHORE", 0o4000: "EFD_NONBLOCK", 0o2000000: "EFD_CLOEXEC"},
    "PIDFD_": {0o4000: "PIDFD_NONBLOCK"},
    "SFD_": {0o4000: "SFD_NONBLOCK", 0o2000000: "SFD_CLOEXEC"},
    "TFD_": {0o4000: "TFD_NONBLOCK", 0o2000000: "TFD_CLOEXEC"},
    "TFD_TIMER_": {1: "TFD_TIMER_ABSTIME", 2: "TFD_TIMER_CANCEL_ON_SET"},
    "UFFD_": {1: "UFFD_USER_MODE_ONLY", 0o4000: "O_NONBLOCK", 0o2000000: "O_CLOEXEC"},
    "EPOLL_": {0o2000000: "EPOLL_CLOEXEC"},
    "MFD_": _bits(0, "MFD_CLOEXEC", "MFD_ALLOW_SEALING", "MFD_HUGETLB", "MFD_NOEXEC_SEAL", "MFD_EXEC"),
    "FALLOC_FL_": _bits(
        0, "FALLOC_FL_KEEP_SIZE", "FALLOC_FL_PUNCH_HOLE", "FALLOC_FL_NO_HIDE_STALE", "FALLOC_FL_COLLAPSE_RANGE",
        "FALLOC_FL_ZERO_RANGE", "FALLOC_FL_INSERT_RANGE", "FALLOC_FL_UNSHARE_RANGE",
    ),
    "LOCK_": {1: "LOCK_SH", 2: "LOCK_EX", 8: "LOCK_UN", 4: "LOCK_NB"},
    "RENAME_": _bits(0, "RENAME_NOREPLACE", "RENAME_EXCHANGE", "RENAME_WHITEOUT"),
    "RWF_": _bits(0, "RWF_HIPRI", "RWF_DSYNC", "RWF_SYNC", "RWF_NOWAIT", "RWF_APPEND"),
    "SYNC_FILE_RANGE_": _bits(
        0, "SYNC_FILE_RANGE_WAIT_BEFORE", "SYNC_FILE_RANGE_WRITE", "SYNC_FILE_RANGE_WAIT_AFTER"
    ),
    "XATTR_": _bits(0, "XATTR_CREATE", "XATTR_REPLACE"),
    "STATX_": {0xFFF: "STATX_ALL", 0x7FF: "STATX_BASIC_STATS", **_bits(
        0, "STATX_TYPE", "STATX_MODE", "STATX_NLINK", "STATX_UID", "STATX_GID", "STATX_ATIME", "STATX_MTIME",
        "STATX_CTIME", "STATX_INO", "STATX_SIZE", "STATX_BLOCKS", "STATX_BTIME", "STATX_MNT_ID", "STATX_DIOALIGN",
    )},
    "AT_": {0x100: "AT_SYMLINK_NOFOLLOW", 0x200: "AT_REMOVEDIR", 0x400: "AT_SYMLINK_FOLLOW", 0x800: "AT_NO_AUTOMOUNT",
            0x1000: "AT_EMPTY_PATH", 0x2000: "AT_STATX_FORCE_SYNC", 0x4000: "AT_STATX_DONT_SYNC"},
    "AT_EACCESS": {0x200: "AT_EACCESS", 0x100: "AT_SYMLINK_NOFOLLOW", 0x1000: "AT_EMPTY_PATH"},
    "_OK": {4: "R_OK", 2: "W_OK", 1: "X_OK"},
    "CLONE": _bits(
        8, "CLONE_VM", "CLONE_FS", "CLONE_FILES", "CLONE_SIGHAND", "CLONE_PIDFD", "CLONE_PTRACE", "CLONE_VFORK",
        "CLONE_PARENT", "CLONE_THREAD", "CLONE_NEWNS", "CLONE_SYSVSEM", "CLONE_SETTLS", "CLONE_PARENT_SETTID",
        "CLONE_CHILD_CLEARTID", "CLONE_DETACHED", "CLONE_UNTRACED", "CLONE_CHILD_SETTID", "CLONE_NEWCGROUP",
        "CLONE_NEWUTS", "CLONE_NEWIPC", "CLONE_NEWUSER", "CLONE_NEWPID", "CLONE_NEWNET", "CLONE_IO",
    ),
    "W": {1: "WNOHANG", 2: "WSTOPPED", 4: "WEXITED", 8: "WCONTINUED", 0x01000000: "WNOWAIT", 0x20000000: "__WNOTHREAD",
          0x40000000: "__WALL", 0x80000000: "__WCLONE"},
    "SA_": {0x04000000: "SA_RESTORER", 0x08000000: "SA_ONSTACK", 0x10000000: "SA_RESTART", 0x20000000: "SA_INTERRUPT",
            0x40000000: "SA_NODEFER", 0x80000000: "SA_RESETHAND", 1: "SA_NOCLDSTOP", 2: "SA_NOCLDWAIT",
            4: "SA_SIGINFO"},
    "SS_": {1: "SS_ONSTACK", 2: "SS_DISABLE", 1 << 31: "SS_AUTODISARM"},
    "POLL": _bits(
        0, "POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLNVAL", "POLLRDNORM", "POLLRDBAND", "POLLWRNORM",
        "POLLWRBAND", "POLLMSG", "", "", "POLLRDHUP",
    ),
    "EPOLL": {**_bits(0, "EPOLLIN", "EPOLLPRI", "EPOLLOUT", "EPOLLERR", "EPOLLHUP", "", "EPOLLRDNORM", "EPOLLRDBAND",
                      "EPOLLWRNORM", "EPOLLWRBAND", "EPOLLMSG", "", "", "EPOLLRDHUP"),
              1 << 28: "EPOLLEXCLUSIVE", 1 << 29: "EPOLLWAKEUP", 1 << 30: "EPOLLONESHOT", 1 << 31: "EPOLLET"},
    "SOCKF_": {0o2000000: "SOCK_CLOEXEC", 0o4000: "SOCK_NONBLOCK"},
    "MSG_": {**_bits(
        0, "MSG_OOB", "MSG_PEEK", "MSG_DONTROUTE", "MSG_CTRUNC", "MSG_PROBE", "MSG_TRUNC", "MSG_DONTWAIT", "MSG_EOR",
        "MSG_WAITALL", "MSG_FIN", "MSG_SYN", "MSG_CONFIRM", "MSG_RST", "MSG_ERRQUEUE", "MSG_NOSIGNAL", "MSG_MORE",
        "MSG_WAITFORONE",
    ), 1 << 30: "MSG_CMSG_CLOEXEC"},
    "IN_": {**_bits(
        0, "IN_ACCESS", "IN_MODIFY", "IN_ATTRIB", "IN_CLOSE_WRITE", "IN_CLOSE_NOWRITE", "IN_OPEN", "IN_MOVED_FROM",
        "IN_MOVED_TO", "IN_CREATE", "IN_DELETE", "IN_DELETE_SELF", "IN_MOVE_SELF", "", "IN_UNMOUNT", "IN_Q_OVERFLOW",
        "IN_IGNORED",
    ), **_bits(24, "IN_ONLYDIR", "IN_DONT_FOLLOW", "IN_EXCL_UNLINK", "", "IN_MASK_CREATE", "IN_MASK_ADD", "IN_ISDIR",
               "IN_ONESHOT")},
    "IN_INIT_": {0o4000: "IN_NONBLOCK", 0o2000000: "IN_CLOEXEC"},
    "SHM_": {0o10000: "SHM_RDONLY", 0o20000: "SHM_RND", 0o40000: "SHM_REMAP", 0o100000: "SHM_EXEC"},
    "MSG_IPC_": {0o4000: "IPC_NOWAIT", 0o10000: "MSG_NOERROR", 0o20000: "MSG_EXCEPT", 0o40000: "MSG_COPY"},
    "TIMER_": {1: "TIMER_ABSTIME"},
    "FD_": {1: "FD_CLOEXEC"},
}  # fmt: skip

VALUES: dict[str, Names] = {
    "MADV_": _of(mman, "MADV_"),
    "SEEK_": _count("SEEK_SET", "SEEK_CUR", "SEEK_END", "SEEK_DATA", "SEEK_HOLE"),
    "CLOCK_": _count(
        "CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_PROCESS_CPUTIME_ID", "CLOCK_THREAD_CPUTIME_ID",
        "CLOCK_MONOTONIC_RAW", "CLOCK_REALTIME_COARSE", "CLOCK_MONOTONIC_COARSE", "CLOCK_BOOTTIME",
        "CLOCK_REALTIME_ALARM", "CLOCK_BOOTTIME_ALARM", "CLOCK_SGI_CYCLE", "CLOCK_TAI",
    ),
    "SIG_": _count("SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK"),
    "RLIMIT_": _count(
        "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC",
        "RLIMIT_NOFILE", "RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE",
        "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
    ),
    "RUSAGE_": _count("RUSAGE_CHILDREN", "RUSAGE_SELF", "RUSAGE_THREAD", start=-1),
    "ITIMER_": _count("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"),
    "F_": {
        **_count("F_DUPFD", "F_GETFD", "F_SETFD", "F_GETFL", "F_SETFL", "F_GETLK", "F_SETLK", "F_SETLKW", "F_SETOWN",
                 "F_GETOWN", "F_SETSIG", "F_GETSIG", "F_GETLK64", "F_SETLK64", "F_SETLKW64", "F_SETOWN_EX",
                 "F_GETOWN_EX"),
        **_count("F_SETLEASE", "F_GETLEASE", "F_NOTIFY", start=1024),
        1030: "F_DUPFD_CLOEXEC",
        **_count("F_SETPIPE_SZ", "F_GETPIPE_SZ", "F_ADD_SEALS", "F_GET_SEALS", start=1031),
        36: "F_OFD_GETLK", 37: "F_OFD_SETLK", 38: "F_OFD_SETLKW",
    },
    "L_TYPE": _count("F_RDLCK", "F_WRLCK", "F_UNLCK"),
    "FUTEX_": _count(
        "FUTEX_WAIT", "FUTEX_WAKE", "FUTEX_FD", "FUTEX_REQUEUE", "FUTEX_CMP_REQUEUE", "FUTEX_WAKE_OP", "FUTEX_LOCK_PI",
        "FUTEX_UNLOCK_PI", "FUTEX_TRYLOCK_PI", "FUTEX_WAIT_BITSET", "FUTEX_WAKE_BITSET", "FUTEX_WAIT_REQUEUE_PI",
        "FUTEX_CMP_REQUEUE_PI", "FUTEX_LOCK_PI2",
    ),
    "ARCH_": {**_count("ARCH_SET_GS", "ARCH_SET_FS", "ARCH_GET_FS", "ARCH_GET_GS", start=0x1001),
              0x1011: "ARCH_GET_CPUID", 0x1012: "ARCH_SET_CPUID", 0x3001: "ARCH_CET_STATUS"},
    "PR_": {
        **_count("PR_SET_PDEATHSIG", "PR_GET_PDEATHSIG", "PR_GET_DUMPABLE", "PR_SET_DUMPABLE", "PR_GET_UNALIGN",
                 "PR_SET_UNALIGN", "PR_GET_KEEPCAPS", "PR_SET_KEEPCAPS", "PR_GET_FPEMU", "PR_SET_FPEMU",
                 "PR_GET_FPEXC", "PR_SET_FPEXC", "PR_GET_TIMING", "PR_SET_TIMING", "PR_SET_NAME", "PR_GET_NAME",
                 start=1),
        **_count("PR_GET_SECCOMP", "PR_SET_SECCOMP", "PR_CAPBSET_READ", "PR_CAPBSET_DROP", "PR_GET_TSC", "PR_SET_TSC",
                 "PR_GET_SECUREBITS", "PR_SET_SECUREBITS", "PR_SET_TIMERSLACK", "PR_GET_TIMERSLACK", start=21),
        **_count("PR_SET_MM", "PR_SET_CHILD_SUBREAPER", "PR_GET_CHILD_SUBREAPER", "PR_SET_NO_NEW_PRIVS",
                 "PR_GET_NO_NEW_PRIVS", "PR_GET_TID_ADDRESS", "PR_SET_THP_DISABLE", "PR_GET_THP_DISABLE", start=35),
        47: "PR_CAP_AMBIENT", 0x53564D41: "PR_SET_VMA",
    },
    "SCHED_": {0: "SCHED_OTHER", 1: "SCHED_FIFO", 2: "SCHED_RR", 3: "SCHED_BATCH", 5: "SCHED_IDLE",
               6: "SCHED_DEADLINE"},
    "PRIO_": _count("PRIO_PROCESS", "PRIO_PGRP", "PRIO_USER"),
    "KCMP_": _count(
        "KCMP_FILE", "KCMP_VM", "KCMP_FILES", "KCMP_FS", "KCMP_SIGHAND", "KCMP_IO", "KCMP_SYSVSEM", "KCMP_EPOLL_TFD",
    ),
    "P_": _count("P_ALL", "P_PID", "P_PGID", "P_PIDFD"),
    "AF_": {0: "AF_UNSPEC", 1: "AF_UNIX", 2: "AF_INET", 10: "AF_INET6", 16: "AF_NETLINK", 17: "AF_PACKET",
            40: "AF_VSOCK"},
    "SOCK_TYPE_": {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW", 4: "SOCK_RDM", 5: "SOCK_SEQPACKET"},
    "SHM_CTL": {**_count("IPC_RMID", "IPC_SET", "IPC_STAT", "IPC_INFO"), **_count(
        "SHM_LOCK", "SHM_UNLOCK", "SHM_STAT", "SHM_INFO", "SHM_STAT_ANY", start=11)},
    "SEM_CTL": {**_count("IPC_RMID", "IPC_SET", "IPC_STAT", "IPC_INFO"), **_count(
        "GETPID", "GETVAL", "GETALL", "GETNCNT", "GETZCNT", "SETVAL", "SETALL", "SEM_STAT", "SEM_INFO", "SEM_STAT_ANY",
        start=11)},
    "MSG_CTL": {**_count("IPC_RMID", "IPC_SET", "IPC_STAT", "IPC_INFO"), **_count(
        "MSG_STAT", "MSG_INFO", "MSG_STAT_ANY", start=11)},
    "SHUT_": _count("SHUT_RD", "SHUT_WR", "SHUT_RDWR"),
    "SOL_": {0: "SOL_IP", 1: "SOL_SOCKET", 6: "SOL_TCP", 17: "SOL_UDP", 41: "SOL_IPV6", 270: "SOL_NETLINK"},
    "SCM_": _count("SCM_RIGHTS", "SCM_CREDENTIALS", "SCM_SECURITY", "SCM_PIDFD", start=1),
    "SO_": {
        **_count("SO_DEBUG", "SO_REUSEADDR", "SO_TYPE", "SO_ERROR", "SO_DONTROUTE", "SO_BROADCAST", "SO_SNDBUF",
                 "SO_RCVBUF", "SO_KEEPALIVE", "SO_OOBINLINE", "SO_NO_CHECK", "SO_PRIORITY", "SO_LINGER",
                 "SO_BSDCOMPAT", "SO_REUSEPORT", "SO_PASSCRED", "SO_PEERCRED", "SO_RCVLOWAT", "SO_SNDLOWAT",
                 "SO_RCVTIMEO_OLD", "SO_SNDTIMEO_OLD", start=1),
        26: "SO_ATTACH_FILTER", 27: "SO_DETACH_FILTER", 28: "SO_PEERNAME", 29: "SO_TIMESTAMP_OLD", 30: "SO_ACCEPTCONN",
        31: "SO_PEERSEC", 32: "SO_SNDBUFFORCE", 33: "SO_RCVBUFFORCE", 34: "SO_PASSSEC", 38: "SO_PROTOCOL",
        39: "SO_DOMAIN", 42: "SO_PEEK_OFF", 59: "SO_PEERGROUPS", 66: "SO_RCVTIMEO_NEW", 67: "SO_SNDTIMEO_NEW",
    },
    "EPOLL_CTL_": _count("EPOLL_CTL_ADD", "EPOLL_CTL_DEL", "EPOLL_CTL_MOD", start=1),
    "POSIX_FADV_": _count(
        "POSIX_FADV_NORMAL", "POSIX_FADV_RANDOM", "POSIX_FADV_SEQUENTIAL", "POSIX_FADV_WILLNEED", "POSIX_FADV_DONTNEED",
        "POSIX_FADV_NOREUSE",
    ),
    "IOCTL": {
        **_count("TCGETS", "TCSETS", "TCSETSW", "TCSETSF", "TCGETA", "TCSETA", "TCSETAW", "TCSETAF", "TCSBRK", "TCXONC",
                 "TCFLSH", "TIOCEXCL", "TIOCNXCL", "TIOCSCTTY", "TIOCGPGRP", "TIOCSPGRP", "TIOCOUTQ", "TIOCSTI",
                 "TIOCGWINSZ", "TIOCSWINSZ", "TIOCMGET", "TIOCMBIS", "TIOCMBIC", "TIOCMSET", "TIOCGSOFTCAR",
                 "TIOCSSOFTCAR", "FIONREAD", "TIOCLINUX", "TIOCCONS", start=0x5401),
        0x5421: "FIONBIO", 0x5422: "TIOCNOTTY", 0x5429: "TIOCGSID", 0x5450: "FIONCLEX", 0x5451: "FIOCLEX",
        0x5452: "FIOASYNC", 0x5456: "TIOCGLCKTRMIOS", 0x5457: "TIOCSLCKTRMIOS",
        0x80045430: "TIOCGPTN", 0x80045440: "TIOCGPTPEER",
    },
}  # fmt: skip

_STATX_SYNC = ("AT_STATX_SYNC_AS_STAT", "AT_STATX_FORCE_SYNC", "AT_STATX_DONT_SYNC", "AT_STATX_SYNC_TYPE")
_MAP_TYPES = {1: "MAP_SHARED", 2: "MAP_PRIVATE", 3: "MAP_SHARED_VALIDATE"}
_MAP_BITS = {v: k for k, v in vars(mman).items() if k.startswith("MAP_") and v > 0xF and not k.startswith("MAP_HUGE_")}


def join_bits(value: int, names: Names, first: str = "") -> str:
    """``A|B|0x100``: names of the set bits, what has none as a number; "0" for nothing at all."""
    parts = [first] if first else []
    for bits, name in names.items():
        if value & bits == bits:
            parts.append(name)
            value &= ~bits
    if value:
        parts.append(f"{value:#x}")
    return "|".join(parts) or "0"


def flags(table: str, value: int) -> str:
    """The text of a set of flags, or of one value of an enumeration."""
    if table == "O_":
        return join_bits(value & ~3, OPEN_BITS, OPEN_MODES[value & 3])
    if table == "MAP_":
        kind = _MAP_TYPES.get(value & 0xF)
        return join_bits(value & ~0xF, _MAP_BITS, kind if kind is not None else f"{value & 0xF:#x}")
    if table == "PROT_" and not value:
        return "PROT_NONE"
    if table == "_OK" and not value:
        return "F_OK"
    if table == "AT_STATX":
        return join_bits(value & ~0x6000, BITS["AT_"], _STATX_SYNC[value >> 13 & 3])
    if table in BITS:
        text = join_bits(value, BITS[table])
        return text if text == "0" or not text[0].isdigit() else text + _unknown(table)
    if table in VALUES:
        name = VALUES[table].get(value)
        return name if name is not None else f"{value & 0xFFFF_FFFF:#x}{_unknown(table)}"
    return f"{value:#x}"


def _unknown(table: str) -> str:
    """What stands behind a number that should have had a name: ``/* RLIMIT_??? */``."""
    return f" /* {table}??? */" if table.endswith("_") else ""


def signal_name(signo: int) -> str:
    """``SIGINT``, ``SIGRTMIN``, ``SIGRT_2``; a number where there is none."""
    from machine.kernel.abi.signal import name

    return "SIGRTMIN" if signo == 32 else name(signo)
