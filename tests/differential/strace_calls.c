/* Every call here prints the same in strace on the host and in the machine's strace view, but for addresses and
 * process numbers.  Only what lies between the two marks is compared. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define C(name, ...) syscall(SYS_##name, ##__VA_ARGS__)

static char buffer[4096];

static void handler(int signo)
{
    (void)signo;
}

static void files(void)
{
    struct stat st;
    long fd = C(open, "/tmp/nopage-strace", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    C(write, fd, "line\n\ttab \"quoted\" \\ \1\0022 \377 and more than thirty-two bytes", 50);
    C(pread64, fd, buffer, 100, 5L);
    C(lseek, fd, 0L, SEEK_SET);
    C(read, fd, buffer, 20);
    C(fstat, fd, &st);
    C(ftruncate, fd, 3L);
    C(fchmod, fd, 0600);
    struct flock lock = { F_WRLCK, SEEK_SET, 1, 10, 0 };
    C(fcntl, fd, F_SETLK, &lock);
    C(fcntl, fd, F_GETFD);
    C(fcntl, fd, F_GETFL);
    C(fcntl, fd, F_SETFD, 0);
    C(fcntl, fd, F_DUPFD, 30);
    C(fcntl, fd, F_DUPFD_CLOEXEC, 30);
    C(dup2, fd, 20);
    C(dup3, fd, 21, O_CLOEXEC);
    C(close, 20);
    C(flock, fd, LOCK_EX | LOCK_NB);
    C(stat, "/tmp/nopage-strace", &st);
    C(stat, "/nowhere", &st);
    C(lstat, "/dev/null", &st);
    C(newfstatat, AT_FDCWD, "/dev/zero", &st, AT_SYMLINK_NOFOLLOW);
    C(access, "/tmp/nopage-strace", R_OK | W_OK);
    C(faccessat, AT_FDCWD, "/tmp/nopage-strace", F_OK);
    C(symlink, "target", "/tmp/nopage-link");
    C(readlink, "/tmp/nopage-link", buffer, 100);
    C(unlink, "/tmp/nopage-link");
    C(unlink, "/tmp/nopage-strace");
    C(mkdir, "/tmp/nopage-dir", 0755);
    C(openat, AT_FDCWD, "/tmp/nopage-dir", O_RDONLY | O_DIRECTORY | O_NONBLOCK);
    C(rename, "/tmp/nopage-dir", "/tmp/nopage-dir2");
    C(rmdir, "/tmp/nopage-dir2");
    C(chdir, "/tmp");
    C(getcwd, buffer, sizeof buffer);
    C(umask, 022);
    C(open, (char *)16, O_WRONLY | O_APPEND);
    C(read, 99, buffer, 10);
    C(write, fd, (char *)16, 10);
}

static void pipes(void)
{
    int p[2];
    struct timespec zero = { 0, 0 };
    C(pipe, p);
    C(pipe2, p, O_NONBLOCK | O_CLOEXEC);
    C(read, p[0], buffer, 10);
    struct iovec out[2] = { { "abc", 3 }, { "defg", 4 } }, in[2] = { { buffer, 2 }, { buffer + 50, 20 } };
    C(writev, p[1], out, 2);
    C(ioctl, p[0], FIONREAD, buffer);
    struct pollfd fds[3] = { { p[0], POLLIN, 0 }, { p[1], POLLOUT, 0 }, { -1, POLLIN, 0 } };
    C(poll, fds, 3, 0);
    C(ppoll, fds, 1, &zero, NULL, 8);
    fd_set read_set, write_set;
    FD_ZERO(&read_set);
    FD_ZERO(&write_set);
    FD_SET(p[0], &read_set);
    FD_SET(p[1], &write_set);
    C(select, p[1] + 1, &read_set, &write_set, NULL, NULL);
    C(readv, p[0], in, 2);
    C(poll, fds, 1, 0);
    int e = C(epoll_create1, EPOLL_CLOEXEC);
    struct epoll_event event = { EPOLLIN | EPOLLET, { .u64 = 7 } };
    C(epoll_ctl, e, EPOLL_CTL_ADD, p[0], &event);
    C(write, p[1], "x", 1);
    C(epoll_wait, e, buffer, 5, 0);
    C(ioctl, p[0], TCGETS, buffer);
    C(ioctl, p[0], TIOCGWINSZ, buffer);
}

static void memory(void)
{
    char *m = (char *)C(mmap, NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
    C(mprotect, m, 4096, PROT_NONE);
    C(mprotect, m, 4096, PROT_READ | PROT_EXEC);
    C(madvise, m + 4096, 4096, MADV_DONTNEED);
    C(msync, m, 4096, MS_SYNC | MS_INVALIDATE);
    C(mremap, m + 4096, 4096, 8192, MREMAP_MAYMOVE);
    C(munmap, m, 4096);
    C(munmap, m + 1, 4096);
    C(mmap, (char *)0x10000000, 4096, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0L);
    C(brk, NULL);
}

static void times(void)
{
    struct timespec ts = { 0, 1000 };
    struct itimerval it = { { 0, 0 }, { 0, 0 } };
    C(nanosleep, &ts, NULL);
    C(clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, NULL);
    C(clock_getres, CLOCK_MONOTONIC, &ts);
    C(setitimer, ITIMER_REAL, &it, NULL);
    C(getitimer, ITIMER_VIRTUAL, &it);
}

static void limits(void)
{
    struct rlimit limit = { 4096, 1 << 20 };
    C(setrlimit, RLIMIT_CORE, &limit);
    C(getrlimit, RLIMIT_CORE, &limit);
    C(prlimit64, 0, RLIMIT_CORE, NULL, &limit);
    C(prlimit64, 0, 99, NULL, &limit);
}

static void signals(void)
{
    struct { void *handler; unsigned long flags; void *restorer; unsigned long mask; } act = { SIG_IGN, SA_RESTART, 0, 3 };
    struct sigaction real;
    unsigned long set = 1 << (SIGUSR1 - 1) | 1 << (SIGCHLD - 1);
    C(rt_sigaction, SIGUSR2, &act, NULL, 8);
    C(rt_sigaction, SIGUSR2, NULL, &act, 8);
    memset(&real, 0, sizeof real);
    real.sa_handler = handler;
    sigaction(SIGUSR1, &real, NULL);
    C(rt_sigprocmask, SIG_BLOCK, &set, NULL, 8);
    C(kill, getpid(), SIGUSR1);
    C(rt_sigpending, buffer, 8);
    C(rt_sigprocmask, SIG_UNBLOCK, &set, &set, 8);
    C(tgkill, getpid(), getpid(), SIGUSR1);
    C(kill, getpid(), 0);
    set = ~0UL;
    C(rt_sigprocmask, SIG_SETMASK, &set, NULL, 8);
    C(rt_sigprocmask, SIG_SETMASK, NULL, buffer, 8);
    set = 0;
    C(rt_sigprocmask, SIG_SETMASK, &set, NULL, 8);
}

static void processes(void)
{
    int status;
    char *const args[] = { "one", "two \"words\"", "a word of more than thirty-two bytes, to be cut", NULL };
    char *const environment[] = { "A=1", "B=2", NULL };
    C(execve, "/nowhere", args, environment);
    C(wait4, -1, &status, WNOHANG, NULL);
    if (C(fork) == 0)
        C(exit_group, 3);
    C(wait4, -1, &status, 0, NULL);
    if (C(fork) == 0) {
        C(kill, syscall(SYS_getpid), SIGTERM);
        for (;;)
            ;
    }
    C(wait4, -1, &status, WUNTRACED, NULL);
    C(getpgid, 0x7FFFFFFF);
    C(prctl, 15, "a name", 0, 0, 0);
    C(getrandom, buffer, 0, 1);
    syscall(999, 1, 2, 3, 4, 5, 6);
}

static void sockets(void)
{
    struct sockaddr_un sun = { AF_UNIX, "/tmp/nopage-strace" }, abstract = { AF_UNIX, "\0nopage" }, got;
    struct iovec iov[2] = { { "one", 3 }, { "two", 3 } };
    struct { struct cmsghdr head; int fd; } control = { { sizeof control.head + 4, SOL_SOCKET, SCM_RIGHTS }, 0 };
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = 20 };
    int s[2], size = sizeof got, on = 1, l, c, a;

    C(socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s);
    C(sendto, s[0], "hello\n", 6, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
    C(recvfrom, s[1], buffer, 64, MSG_PEEK, NULL, NULL);
    C(recvfrom, s[1], buffer, 64, 0, &got, &size);
    C(sendmsg, s[0], &message, 0);
    iov[0].iov_base = buffer, iov[1].iov_base = buffer + 3;
    C(recvmsg, s[1], &message, MSG_CMSG_CLOEXEC);
    C(recvmsg, s[1], &message, MSG_DONTWAIT);
    C(shutdown, s[0], SHUT_WR);
    C(setsockopt, s[0], SOL_SOCKET, SO_PASSCRED, &on, 4);
    size = 4;
    C(getsockopt, s[0], SOL_SOCKET, SO_TYPE, buffer, &size);
    C(getsockopt, s[0], SOL_SOCKET, SO_ERROR, buffer, &size);
    l = C(socket, AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0);
    C(bind, l, &sun, sizeof sun);
    C(listen, l, 5);
    C(accept4, l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    c = C(socket, AF_UNIX, SOCK_SEQPACKET, 0);
    C(bind, c, &abstract, 9);
    C(connect, c, &sun, sizeof sun);
    size = sizeof got;
    a = C(accept, l, &got, &size);
    size = sizeof got;
    C(getsockname, a, &got, &size);
    C(getpeername, s[0], &got, &size);
    C(connect, c, &sun, 1);
    C(socket, AF_UNIX, 15, 0);
    unlink(sun.sun_path);
}

static void objects(void)
{
    int id = C(inotify_init1, IN_CLOEXEC | IN_NONBLOCK);
    C(inotify_add_watch, id, "/tmp", IN_CREATE | IN_DELETE | IN_ONLYDIR);
    C(inotify_rm_watch, id, 1);
    C(inotify_rm_watch, id, 1);
    C(shmget, 0x6e6f70, 8192, 0640);
    C(shmget, 0, 0, 01640);
    C(shmat, -1, 0L, SHM_RDONLY | SHM_RND);
    C(shmctl, -1, IPC_RMID, NULL);
    C(msgget, 0x6e6f71, 0);
    C(semget, 0x6e6f72, 1, 0);
}

int main(void)
{
    C(access, "/begin", F_OK);
    files();
    pipes();
    memory();
    times();
    limits();
    signals();
    sockets();
    objects();
    processes();
    C(access, "/end", F_OK);
    *(volatile int *)0x10 = 1;
    return 0;
}
