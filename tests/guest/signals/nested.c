/* Nested handlers, masks, SA_NODEFER, SA_RESETHAND, SA_RESTART, EINTR, sigsuspend, sigpending, real-time order. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../asleep.h"

static volatile int level, count;

static void out(const char *s) { write(1, s, strlen(s)); }

static void usr2(int sig)
{
    char line[64];
    level++;
    snprintf(line, sizeof line, "  usr2 level %d sig %d\n", level, sig);
    out(line);
    level--;
}

static void usr1(int sig)
{
    char line[64];
    level++;
    snprintf(line, sizeof line, " usr1 level %d sig %d\n", level, sig);
    out(line);
    if (count++ < 2) raise(SIGUSR1);
    raise(SIGUSR2);
    snprintf(line, sizeof line, " usr1 leaves level %d\n", level);
    out(line);
    level--;
}

static void quiet(int sig) { (void)sig; count++; }

static void rt(int sig, siginfo_t *si, void *uc)
{
    char line[64];
    snprintf(line, sizeof line, " rt +%d value %d code %d\n", sig - SIGRTMIN, si->si_value.sival_int, si->si_code);
    out(line);
    (void)uc;
}

static void set(int sig, void (*f)(int), int flags, int alsoblock)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = f;
    sa.sa_flags = flags;
    sigemptyset(&sa.sa_mask);
    if (alsoblock) sigaddset(&sa.sa_mask, alsoblock);
    sigaction(sig, &sa, 0);
}

static void child_signals(pid_t parent, int delay_ms, int sig)
{
    if (!fork()) {
        struct timespec ts = {0, delay_ms * 1000000L};
        until_asleep(parent); /* in the call that it interrupts */
        nanosleep(&ts, 0);
        kill(parent, sig);
        _exit(0);
    }
}

int main(void)
{
    sigset_t s, old, pend;
    set(SIGUSR2, usr2, 0, 0);
    set(SIGUSR1, usr1, 0, 0);
    out("deferred\n"); count = 0; raise(SIGUSR1);
    set(SIGUSR1, usr1, SA_NODEFER, 0);
    out("nodefer\n"); count = 0; raise(SIGUSR1);
    set(SIGUSR1, usr1, 0, SIGUSR2);
    out("usr2 masked in usr1\n"); count = 5; raise(SIGUSR1);
    set(SIGUSR2, usr2, SA_RESETHAND, 0);
    raise(SIGUSR2);
    struct sigaction sa;
    sigaction(SIGUSR2, 0, &sa);
    printf("resethand: default again %d\n", sa.sa_handler == SIG_DFL);
    fflush(stdout);

    sigemptyset(&s); sigaddset(&s, SIGUSR1); sigaddset(&s, SIGTERM);
    sigprocmask(SIG_BLOCK, &s, &old);
    raise(SIGUSR1); raise(SIGUSR1);
    sigpending(&pend);
    printf("pending usr1 %d term %d\n", sigismember(&pend, SIGUSR1), sigismember(&pend, SIGTERM));
    set(SIGUSR1, SIG_IGN, 0, 0);
    sigpending(&pend);
    printf("ignored: pending usr1 %d\n", sigismember(&pend, SIGUSR1));
    set(SIGUSR1, quiet, 0, 0);
    sigprocmask(SIG_SETMASK, &old, 0);
    count = 0;
    sigprocmask(SIG_BLOCK, &s, 0);
    child_signals(getpid(), 30, SIGUSR1);
    errno = 0;
    int r = sigsuspend(&old);
    printf("sigsuspend %d errno %d count %d\n", r, errno, count);
    sigprocmask(SIG_SETMASK, &old, &pend);
    printf("mask back: usr1 blocked %d\n", sigismember(&pend, SIGUSR1));
    wait(0);

    int fds[2]; char c;
    pipe(fds);
    set(SIGUSR1, quiet, 0, 0);
    child_signals(getpid(), 30, SIGUSR1);
    errno = 0; r = (int)read(fds[0], &c, 1);
    printf("read without restart %d errno %d\n", r, errno);
    wait(0);
    set(SIGUSR1, quiet, SA_RESTART, 0);
    count = 0;
    pid_t me = getpid();
    if (!fork()) {
        struct timespec ts = {0, 30000000};
        nanosleep(&ts, 0); kill(me, SIGUSR1); nanosleep(&ts, 0); write(fds[1], "z", 1); _exit(0);
    }
    errno = 0; r = (int)read(fds[0], &c, 1);
    printf("read with restart %d %c count %d\n", r, c, count);
    wait(0);

    struct timespec ts = {20, 0}, rem = {99, 9};
    child_signals(getpid(), 30, SIGUSR1);
    errno = 0; r = nanosleep(&ts, &rem);
    printf("nanosleep %d errno %d rem %d\n", r, errno, rem.tv_sec >= 10 && rem.tv_sec < 20);
    wait(0);
    errno = 0;
    child_signals(getpid(), 30, SIGUSR1);
    r = pause();
    printf("pause %d errno %d\n", r, errno);
    wait(0);
    fflush(stdout);

    sigemptyset(&s);
    for (int i = 0; i < 3; i++) {
        memset(&sa, 0, sizeof sa);
        sa.sa_sigaction = rt; sa.sa_flags = SA_SIGINFO;
        sigfillset(&sa.sa_mask);
        sigaction(SIGRTMIN + i, &sa, 0);
        sigaddset(&s, SIGRTMIN + i);
    }
    sigprocmask(SIG_BLOCK, &s, 0);
    for (int i = 0; i < 6; i++) {
        union sigval v = {.sival_int = 100 + i};
        sigqueue(getpid(), SIGRTMIN + 2 - i % 3, v);
    }
    out("real-time\n");
    sigprocmask(SIG_UNBLOCK, &s, 0);
    sigprocmask(SIG_BLOCK, &s, 0);
    union sigval v = {.sival_int = 77};
    sigqueue(getpid(), SIGRTMIN + 1, v);
    siginfo_t si;
    r = sigwaitinfo(&s, &si);
    printf("sigwaitinfo +%d value %d code %d mine %d\n", r - SIGRTMIN, si.si_value.sival_int, si.si_code, si.si_pid == getpid());
    ts.tv_sec = 0, ts.tv_nsec = 10000000;
    errno = 0; r = sigtimedwait(&s, &si, &ts);
    printf("sigtimedwait %d errno %d\n", r, errno);
    child_signals(getpid(), 20, SIGRTMIN);
    ts.tv_sec = 5;
    r = sigtimedwait(&s, &si, &ts);
    printf("sigtimedwait +%d code %d\n", r - SIGRTMIN, si.si_code);
    wait(0);
    return 0;
}
