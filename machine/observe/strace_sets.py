"""Sets of system calls as strace's ``-e trace=`` names them: calls, classes (``%file``), ``/regex``, ``all``, ``none``.

The classes are those of strace(1) 6.1, as far as x86-64 and i386 have their calls.
"""

from __future__ import annotations

import re
from functools import cache

from machine.kernel.abi import unistd_32, unistd_64

_STAT = {
    "stat": "stat stat64 oldstat",
    "lstat": "lstat lstat64 oldlstat",
    "fstat": "fstat fstat64 fstatat64 newfstatat oldfstat statx",
    "statfs": "statfs statfs64",
    "fstatfs": "fstatfs fstatfs64",
}
_CLASSES = _STAT | {
    "%stat": " ".join(_STAT[name] for name in ("stat", "lstat", "fstat")),
    "%statfs": " ".join(_STAT[name] for name in ("statfs", "fstatfs")) + " ustat",
    "file": (
        "access acct chdir chmod chown chown32 chroot creat execve execveat faccessat faccessat2 fanotify_mark "
        "fchmodat fchmodat2 fchownat fspick fstatat64 futimesat getcwd getxattr inotify_add_watch lchown lchown32 "
        "lgetxattr link linkat listxattr llistxattr lremovexattr lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat "
        "mount "
        "mount_setattr move_mount name_to_handle_at newfstatat oldlstat oldstat open open_tree openat openat2 "
        "pivot_root quotactl readlink readlinkat removexattr rename renameat renameat2 rmdir setxattr stat stat64 "
        "statfs statfs64 statx swapoff swapon symlink symlinkat truncate truncate64 umount umount2 unlink unlinkat "
        "uselib utime utimensat utimensat_time64 utimes"
    ),
    "process": (
        "clone clone3 execve execveat exit exit_group fork kill pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo "
        "tgkill tkill vfork wait4 waitid waitpid"
    ),
    "network": (
        "accept accept4 bind connect getpeername getpmsg getsockname getsockopt listen putpmsg recvfrom recvmmsg "
        "recvmmsg_time64 recvmsg sendfile sendfile64 sendmmsg sendmsg sendto setsockopt shutdown socket socketcall "
        "socketpair"
    ),
    "signal": (
        "kill pause pidfd_send_signal rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
        "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sgetmask sigaction sigaltstack signal "
        "signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend ssetmask tgkill tkill"
    ),
    "ipc": (
        "ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget"
    ),
    "desc": (
        "close close_range copy_file_range dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait "
        "epoll_pwait2 epoll_wait eventfd eventfd2 execveat faccessat faccessat2 fadvise64 fadvise64_64 fallocate "
        "fanotify_init fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 "
        "fdatasync fgetxattr finit_module flistxattr flock fremovexattr fsconfig fsetxattr fsmount fspick fstat "
        "fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getdents getdents64 "
        "inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_uring_enter io_uring_register "
        "io_uring_setup ioctl linkat _llseek lseek memfd_create memfd_secret mkdirat mknodat mmap mmap2 mount_setattr "
        "move_mount mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend name_to_handle_at newfstatat "
        "_newselect open open_by_handle_at open_tree openat openat2 perf_event_open pidfd_getfd pidfd_open "
        "pidfd_send_signal pipe pipe2 poll ppoll ppoll_time64 pread64 preadv preadv2 pselect6 pselect6_time64 "
        "pwrite64 pwritev pwritev2 read readahead readdir readlinkat readv renameat renameat2 select sendfile "
        "sendfile64 setns signalfd signalfd4 splice statx symlinkat sync_file_range syncfs tee timerfd_create "
        "timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 unlinkat userfaultfd utimensat "
        "utimensat_time64 vmsplice write writev"
    ),
    "memory": (
        "brk get_mempolicy madvise map_shadow_stack mbind migrate_pages mincore mlock mlock2 mlockall mmap mmap2 "
        "move_pages mprotect mremap mseal msync munlock munlockall munmap pkey_mprotect process_madvise "
        "remap_file_pages set_mempolicy set_mempolicy_home_node shmat shmdt"
    ),
    "creds": (
        "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid "
        "getresgid32 getresuid getresuid32 getuid getuid32 prctl setfsgid setfsgid32 setfsuid setfsuid32 setgid "
        "setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid "
        "setreuid32 setuid setuid32"
    ),
    "clock": (
        "adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 "
        "clock_settime clock_settime64 gettimeofday settimeofday stime time"
    ),
    "pure": (
        "getegid getegid32 geteuid geteuid32 getgid getgid32 getpgid getpgrp getpid getppid getsid gettid getuid "
        "getuid32"
    ),
}  # fmt: skip
_OLD_NAMES = ("file", "process", "network", "signal", "ipc", "desc", "memory")
"""Classes that strace takes without % too."""


@cache
def all_names() -> frozenset[str]:
    """Every system call of either ABI."""
    return frozenset({*unistd_64.NUMBERS, *unistd_32.NUMBERS})


def parse_set(text: str) -> frozenset[str]:
    """The names of the calls in ``open,%file,!read``.  ValueError: strace's message.

    A ``!`` in front of the whole set stands for all others, as in strace; one inside takes that element away again.
    """
    inverted = text.startswith("!")
    words = text[inverted:].split(",")
    chosen: set[str] = set()
    for word in words:
        if word.startswith("!"):
            chosen -= _element(word[1:])
        else:
            chosen |= _element(word)
    return all_names() - chosen if inverted else frozenset(chosen)


def _element(word: str) -> frozenset[str]:
    names = all_names()
    if word == "all":
        return names
    if word == "none":
        return frozenset()
    lenient = word.startswith("?")
    name = word[lenient:].partition("@")[0]
    if name.startswith("/"):
        try:
            found = re.compile(name[1:])
        except re.error as error:
            raise ValueError(f"invalid regular expression '{name[1:]}': {error}") from None
        return frozenset(each for each in names if found.search(each))
    if name.startswith("%") and name[1:] in _CLASSES:
        return names & frozenset(_CLASSES[name[1:]].split())
    if name in names:
        return frozenset((name,))
    if name in _OLD_NAMES:
        return names & frozenset(_CLASSES[name].split())
    if lenient:
        return frozenset()
    from difflib import get_close_matches

    known = [*names, *(f"%{each}" for each in _CLASSES)]
    close = get_close_matches(name, known, 1)
    raise ValueError(f"invalid system call '{word}'" + (f"; did you mean {close[0]}?" if close else ""))
