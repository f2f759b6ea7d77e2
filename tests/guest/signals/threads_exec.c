/* execve from a thread that is not the leader: the others die, the pid stays; fork from a thread. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *forever(void *arg) { (void)arg; for (;;) pause(); return 0; }

static void *execer(void *arg)
{
    char pid[20];
    (void)arg;
    snprintf(pid, sizeof pid, "%d", getpid());
    execl("/proc/self/exe", "threads_exec", pid, (char *)0);
    perror("execl");
    exit(1);
}

static void *forker(void *arg)
{
    int st;
    (void)arg;
    pid_t p = fork();
    if (!p) _exit(getpid() == syscall(SYS_gettid) ? 11 : 12);
    waitpid(p, &st, 0);
    return (void *)(long)WEXITSTATUS(st);
}

static void handler(int sig) { (void)sig; }

int main(int argc, char **argv)
{
    pthread_t t[3];
    void *ret;
    struct sigaction sa;
    setvbuf(stdout, 0, _IONBF, 0);
    if (argc > 1) {
        sigset_t s;
        sigaction(SIGUSR1, 0, &sa);
        printf("after exec: same pid %d, main thread %d, handler reset %d", atoi(argv[1]) == getpid(),
               getpid() == syscall(SYS_gettid), sa.sa_handler == SIG_DFL);
        sigaction(SIGUSR2, 0, &sa);
        sigprocmask(SIG_BLOCK, 0, &s);
        printf(", ignored kept %d, mask kept %d\n", sa.sa_handler == SIG_IGN, sigismember(&s, SIGHUP));
        return 9;
    }
    pthread_create(&t[0], 0, forker, 0);
    pthread_join(t[0], &ret);
    printf("fork from a thread %ld\n", (long)ret);
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = handler;
    sigaction(SIGUSR1, &sa, 0);
    sa.sa_handler = SIG_IGN;
    sigaction(SIGUSR2, &sa, 0);
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGHUP);
    sigprocmask(SIG_BLOCK, &s, 0);
    int st;
    pid_t p = fork();
    if (!p) {
        for (int i = 0; i < 2; i++) pthread_create(&t[i], 0, forever, 0);
        pthread_create(&t[2], 0, execer, 0);
        for (;;) pause();
    }
    waitpid(p, &st, 0);
    printf("status %d\n", WEXITSTATUS(st));
    return 0;
}
