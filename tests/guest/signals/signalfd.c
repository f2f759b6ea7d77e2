/* signalfd: records of blocked signals, non-blocking and blocking reads, poll, a changed mask. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    sigset_t s;
    struct signalfd_siginfo si[4];
    int r;
    setvbuf(stdout, 0, _IONBF, 0);
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    sigaddset(&s, SIGCHLD);
    sigaddset(&s, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &s, 0);
    int fd = signalfd(-1, &s, SFD_NONBLOCK | SFD_CLOEXEC);
    struct pollfd pfd = {fd, POLLIN, 0};
    printf("cloexec %d\n", fcntl(fd, F_GETFD));
    errno = 0; r = read(fd, si, sizeof si); printf("empty %d errno %d\n", r, errno);
    printf("poll %d\n", poll(&pfd, 1, 0));
    raise(SIGUSR1);
    union sigval v = {.sival_int = -7};
    sigqueue(getpid(), SIGRTMIN, v);
    sigqueue(getpid(), SIGRTMIN, v);
    printf("poll %d events %d\n", poll(&pfd, 1, 0), pfd.revents);
    errno = 0; r = read(fd, si, 100); printf("small %d errno %d\n", r, errno);
    r = read(fd, si, sizeof si);
    printf("read %d\n", r);
    for (int i = 0; i < r / 128; i++)
        printf("  signo %d code %d mine %d int %d ptr %d\n", si[i].ssi_signo == SIGRTMIN ? 1000 : (int)si[i].ssi_signo, si[i].ssi_code,
               si[i].ssi_pid == (unsigned)getpid(), si[i].ssi_int, (int)si[i].ssi_ptr);
    sigset_t p;
    sigpending(&p);
    printf("pending %d\n", sigismember(&p, SIGUSR1));
    fcntl(fd, F_SETFL, 0);
    pid_t c = fork();
    if (!c) { struct timespec ts = {0, 20000000}; nanosleep(&ts, 0); _exit(6); }
    r = read(fd, si, sizeof si[0]);
    printf("child: %d signo %d code %d status %d pid %d\n", r, si[0].ssi_signo, si[0].ssi_code, si[0].ssi_status, si[0].ssi_pid == (unsigned)c);
    wait(0);
    c = fork();
    if (!c) { struct timespec ts = {0, 20000000}; nanosleep(&ts, 0); kill(getppid(), SIGUSR1); _exit(6); }
    sigdelset(&s, SIGCHLD);
    printf("same descriptor %d\n", signalfd(fd, &s, 0) == fd);
    printf("poll %d\n", poll(&pfd, 1, 5000));
    r = read(fd, si, sizeof si[0]);
    printf("usr1: %d signo %d code %d pid %d\n", r, si[0].ssi_signo, si[0].ssi_code, si[0].ssi_pid == (unsigned)c);
    wait(0);
    errno = 0; r = signalfd(0, &s, 0); printf("not a signalfd %d errno %d\n", r, errno);
    errno = 0; r = signalfd(-1, &s, 1); printf("bad flags %d errno %d\n", r, errno);
    errno = 0; r = signalfd(99, &s, 0); printf("bad descriptor %d errno %d\n", r, errno);
    return 0;
}
