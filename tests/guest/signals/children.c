/* fork, wait, exit status, SIGCHLD's siginfo, stop and continue, groups, vfork and exec. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int chld_code, chld_status, chld_count, chld_pid;

static void chld(int sig, siginfo_t *si, void *uc)
{
    chld_count++;
    chld_code = si->si_code;
    chld_status = si->si_status;
    chld_pid = si->si_pid;
    (void)sig; (void)uc;
}

static void show(const char *what, int st)
{
    printf("%s: exited %d/%d signaled %d/%d core %d stopped %d/%d continued %d\n", what, WIFEXITED(st),
           WIFEXITED(st) ? WEXITSTATUS(st) : 0, WIFSIGNALED(st), WIFSIGNALED(st) ? WTERMSIG(st) : 0,
           WIFSIGNALED(st) && WCOREDUMP(st), WIFSTOPPED(st), WIFSTOPPED(st) ? WSTOPSIG(st) : 0, WIFCONTINUED(st));
}

static void sleep_ms(int ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};
    while (nanosleep(&ts, &ts) && errno == EINTR)
        ;
}

int main(int argc, char **argv)
{
    struct rlimit none = {0, 0};
    struct sigaction sa;
    int st, r, global = 5;
    pid_t p;
    siginfo_t si;
    if (argc > 1) return strcmp(argv[1], "vfork") ? 24 : 23;
    setvbuf(stdout, 0, _IONBF, 0);
    setrlimit(RLIMIT_CORE, &none);

    if (!(p = fork())) { global = 6; _exit(42); }
    errno = 0;
    printf("wait ok %d", wait(&st) == p); show("", st);
    printf("memory is private %d\n", global);
    errno = 0; r = wait(&st); printf("no child: %d errno %d\n", r, errno);
    if (!(p = fork())) { kill(getpid(), SIGKILL); _exit(0); }
    waitpid(p, &st, 0); show("SIGKILL", st);
    if (!(p = fork())) { *(volatile int *)8 = 1; _exit(0); }
    waitpid(p, &st, 0); show("SIGSEGV", st);
    if (!(p = fork())) { abort(); }
    waitpid(p, &st, 0); show("abort", st);

    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = chld; sa.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGCHLD, &sa, 0);
    if (!(p = fork())) { sleep_ms(20); _exit(7); }
    printf("waitpid with SIGCHLD %d\n", waitpid(p, &st, 0) == p);
    printf("siginfo: code %d status %d pid %d count %d\n", chld_code, chld_status, chld_pid == p, chld_count);
    if (!(p = fork())) { raise(SIGTERM); _exit(7); }
    waitpid(p, &st, 0);
    printf("siginfo: code %d status %d pid %d\n", chld_code, chld_status, chld_pid == p);

    if (!(p = fork())) { for (;;) pause(); }
    kill(p, SIGSTOP);
    waitpid(p, &st, WUNTRACED); show("stopped", st);
    while (chld_code != CLD_STOPPED) sleep_ms(1); /* the state may be seen before the signal comes */
    printf("siginfo: code %d status %d\n", chld_code, chld_status);
    printf("nothing new %d\n", waitpid(p, &st, WUNTRACED | WNOHANG));
    kill(p, SIGCONT);
    waitpid(p, &st, WCONTINUED); show("continued", st);
    while (chld_code != CLD_CONTINUED) sleep_ms(1); /* the child sends it when it runs again */
    printf("siginfo: code %d status %d\n", chld_code, chld_status);
    kill(p, SIGTERM);
    memset(&si, 0, sizeof si);
    printf("waitid %d", waitid(P_PID, p, &si, WEXITED | WNOWAIT));
    printf(" signo %d code %d status %d pid %d\n", si.si_signo, si.si_code, si.si_status, si.si_pid == p);
    printf("still there %d", waitid(P_ALL, 0, &si, WEXITED));
    printf(" pid %d\n", si.si_pid == p);
    errno = 0; r = waitid(P_PID, p, &si, WEXITED); printf("gone: %d errno %d\n", r, errno);
    errno = 0; r = waitid(P_ALL, 0, &si, 0); printf("bad options: %d errno %d\n", r, errno);
    errno = 0; r = waitpid(-1, &st, 0x100); printf("bad options: %d errno %d\n", r, errno);

    /* groups and sessions */
    printf("own group %d\n", getpgid(0) == getpgrp());
    int go[2]; pipe(go);
    if (!(p = fork())) {
        char c;
        read(go[0], &c, 1);
        printf("child group %d\n", getpgrp() == getpid());
        errno = 0; r = setsid(); printf("setsid of a group leader: %d errno %d\n", r, errno);
        _exit(0);
    }
    printf("setpgid %d\n", setpgid(p, p));
    printf("getpgid %d same session %d\n", getpgid(p) == p, getsid(p) == getsid(0));
    write(go[1], "x", 1);
    printf("wait in group %d\n", waitpid(-p, &st, 0) == p);
    errno = 0; r = setpgid(p, p); printf("setpgid of nobody %d errno %d\n", r, errno);
    errno = 0; r = setpgid(0, -3); printf("setpgid negative %d errno %d\n", r, errno);
    if (!(p = fork())) {
        printf("setsid %d\n", setsid() == getpid() && getsid(0) == getpid() && getpgrp() == getpid());
        errno = 0; r = setpgid(0, 0); printf("setpgid of a session leader %d errno %d\n", r, errno);
        _exit(0);
    }
    waitpid(p, &st, 0);

    /* a whole group is killed */
    pid_t a, b;
    if (!(a = fork())) { for (;;) pause(); }
    setpgid(a, a);
    if (!(b = fork())) { for (;;) pause(); }
    setpgid(b, a);
    printf("kill group %d\n", kill(-a, SIGHUP));
    waitpid(a, &st, 0); show("a", st);
    waitpid(b, &st, 0); show("b", st);
    errno = 0; r = kill(-a, SIGHUP); printf("kill empty group %d errno %d\n", r, errno);
    errno = 0; r = kill(getpid(), 65); printf("kill bad signal %d errno %d\n", r, errno);

    /* vfork and exec */
    volatile int shared = 1;
    if (!(p = vfork())) {
        shared = 2;
        execl("/proc/self/exe", "children", "vfork", (char *)0);
        _exit(99);
    }
    printf("vfork shared %d\n", shared);
    waitpid(p, &st, 0); show("exec'd", st);
    if (!(p = vfork())) { shared = 3; _exit(4); }
    printf("vfork exit shared %d\n", shared);
    waitpid(p, &st, 0); show("vfork", st);

    /* automatic reaping */
    sa.sa_handler = SIG_IGN; sa.sa_flags = 0;
    sigaction(SIGCHLD, &sa, 0);
    if (!(p = fork())) _exit(1);
    errno = 0; r = waitpid(p, &st, 0); printf("SIG_IGN: %d errno %d\n", r, errno);

    /* an orphan: its parent becomes somebody else */
    sa.sa_handler = SIG_DFL; sigaction(SIGCHLD, &sa, 0);
    int fds[2]; pipe(fds);
    if (!(p = fork())) {
        pid_t mine = getpid();
        if (!fork()) {
            char c = 'n';
            while (getppid() == mine) sleep_ms(5);
            c = 'y';
            write(fds[1], &c, 1);
            _exit(0);
        }
        _exit(0);
    }
    waitpid(p, &st, 0);
    char c;
    read(fds[0], &c, 1);
    printf("orphan adopted %c\n", c);
    return 0;
}
