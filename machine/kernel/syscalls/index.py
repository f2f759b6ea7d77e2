"""Which module of this package declares which calls: written by `python docs/gen_syscalls.py`, don't edit."""

# fmt: off
FAMILIES = {
    "attr": (
        "chmod chown chown32 fchmod fchmodat fchmodat2 fchown fchown32 fchownat futimesat lchown lchown32 "
        "truncate truncate64 utime utimensat utimensat_time64 utimes "
    ),
    "cwd": (
        "chdir chroot fchdir getcwd getdents getdents64 "
    ),
    "dirs": (
        "link linkat mkdir mkdirat mknod mknodat readlink readlinkat rename renameat renameat2 rmdir symlink "
        "symlinkat unlink unlinkat "
    ),
    "exec": (
        "execve execveat "
    ),
    "exit": (
        "exit exit_group "
    ),
    "fcntl": (
        "fcntl fcntl64 "
    ),
    "fds": (
        "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 "
        "memfd_create pipe pipe2 "
    ),
    "files": (
        "close close_range creat dup dup2 dup3 fadvise64 fadvise64_64 fallocate fdatasync flock fsync "
        "ftruncate ftruncate64 ioctl open openat openat2 readahead sync sync_file_range syncfs "
    ),
    "futex": (
        "futex futex_time64 "
    ),
    "futex_waitv": (
        "futex_waitv "
    ),
    "ids": (
        "capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpid "
        "getppid getresgid getresgid32 getresuid getresuid32 gettid getuid getuid32 setfsgid setfsgid32 "
        "setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 "
        "setresuid setresuid32 setreuid setreuid32 setuid setuid32 "
    ),
    "inotify": (
        "inotify_add_watch inotify_init inotify_init1 inotify_rm_watch "
    ),
    "ioport": (
        "ioperm iopl "
    ),
    "ipc": (
        "ipc msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt "
        "shmget "
    ),
    "kill": (
        "kill rt_sigqueueinfo rt_tgsigqueueinfo tgkill tkill "
    ),
    "limits": (
        "getrlimit getrusage prlimit64 setrlimit times ugetrlimit "
    ),
    "memory": (
        "brk madvise mincore mlock mlock2 mlockall mmap mmap2 mprotect mremap msync munlock munlockall munmap "
    ),
    "misc": (
        "arch_prctl get_robust_list get_thread_area getrandom oldolduname olduname personality rseq "
        "set_robust_list set_thread_area set_tid_address setdomainname sethostname sysinfo umask uname "
    ),
    "module": (
        "delete_module finit_module init_module "
    ),
    "mqueue": (
        "mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
        "mq_timedsend_time64 mq_unlink "
    ),
    "pidfd": (
        "pidfd_getfd pidfd_open pidfd_send_signal process_madvise "
    ),
    "poll": (
        "_newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select "
    ),
    "posix_timers": (
        "timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime "
        "timer_settime64 "
    ),
    "prctl": (
        "prctl "
    ),
    "process": (
        "clone clone3 fork getpgid getpgrp getsid setpgid setsid vfork wait4 waitid waitpid "
    ),
    "process_vm": (
        "process_vm_readv process_vm_writev "
    ),
    "ptrace": (
        "ptrace "
    ),
    "remap": (
        "pkey_alloc pkey_free pkey_mprotect remap_file_pages "
    ),
    "rw": (
        "_llseek copy_file_range lseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readv sendfile "
        "sendfile64 write writev "
    ),
    "sched": (
        "getcpu getpriority ioprio_get ioprio_set membarrier nice sched_get_priority_max "
        "sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler "
        "sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
        "sched_setscheduler sched_yield setpriority "
    ),
    "seccomp": (
        "seccomp "
    ),
    "signal": (
        "pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend "
        "rt_sigtimedwait rt_sigtimedwait_time64 sgetmask sigaction sigaltstack signal sigpending sigprocmask "
        "sigreturn sigsuspend ssetmask "
    ),
    "signalfd": (
        "signalfd signalfd4 "
    ),
    "socket": (
        "accept accept4 bind connect getpeername getsockname listen shutdown socket socketpair "
    ),
    "socket_msg": (
        "recvfrom recvmmsg recvmmsg_time64 recvmsg sendmmsg sendmsg sendto "
    ),
    "socket_opt": (
        "getsockopt setsockopt "
    ),
    "socketcall": (
        "socketcall "
    ),
    "splice": (
        "splice tee vmsplice "
    ),
    "stat": (
        "access faccessat faccessat2 fgetxattr flistxattr fremovexattr fsetxattr fstat fstat64 fstatat64 "
        "fstatfs fstatfs64 getxattr lgetxattr listxattr llistxattr lremovexattr lsetxattr lstat lstat64 "
        "newfstatat removexattr setxattr stat stat64 statfs statfs64 statx "
    ),
    "syslog": (
        "syslog "
    ),
    "time": (
        "alarm clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep "
        "clock_nanosleep_time64 clock_settime clock_settime64 getitimer gettimeofday nanosleep setitimer "
        "settimeofday stime time "
    ),
    "timerfd": (
        "timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 "
    ),
    "timex": (
        "adjtimex clock_adjtime clock_adjtime64 "
    ),
    "unshare": (
        "kcmp unshare "
    ),
    "userfaultfd": (
        "userfaultfd "
    ),
}
