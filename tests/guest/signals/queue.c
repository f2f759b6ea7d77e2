/* Queues: sigqueue's limits and permissions, standard signals once, thread- against process-directed signals. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int hits;
static void count(int sig) { (void)sig; hits++; }

static long call(long r) { return r < 0 ? -errno : r; }

static void *blocked_thread(void *arg)
{
    sigset_t s, p;
    siginfo_t si;
    (void)arg;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR2);
    pthread_kill(pthread_self(), SIGUSR2);
    sigpending(&p);
    printf("thread: own signal pending %d\n", sigismember(&p, SIGUSR2));
    printf("thread: takes %d code %d\n", sigwaitinfo(&s, &si) == SIGUSR2, si.si_code);
    return 0;
}

int main(void)
{
    sigset_t all, s;
    siginfo_t si;
    struct sigaction sa;
    union sigval v;
    pthread_t t;
    setvbuf(stdout, 0, _IONBF, 0);
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = count;
    sigaction(SIGUSR1, &sa, 0);
    sigaction(SIGRTMIN, &sa, 0);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, 0);
    for (int i = 0; i < 5; i++) { kill(getpid(), SIGUSR1); kill(getpid(), SIGRTMIN); }
    sigprocmask(SIG_UNBLOCK, &all, 0);
    printf("one standard, five real-time: %d\n", hits);
    sigprocmask(SIG_BLOCK, &all, 0);

    memset(&si, 0, sizeof si);
    si.si_code = SI_QUEUE;
    si.si_value.sival_int = 9;
    printf("to oneself %ld\n", call(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN, &si)));
    si.si_code = 0;
    printf("SI_USER to oneself %ld\n", call(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN, &si)));
    printf("SI_USER to the parent %ld\n", call(syscall(SYS_rt_sigqueueinfo, getppid(), 0, &si)));
    printf("nobody %ld\n", call(syscall(SYS_kill, 32767, 0)));
    printf("bad number %ld\n", call(syscall(SYS_kill, getpid(), 65)));
    printf("tgkill of another group %ld\n", call(syscall(SYS_tgkill, getpid() + 1, getpid(), 0)));
    printf("tgkill bad %ld %ld\n", call(syscall(SYS_tgkill, 0, getpid(), 0)), call(syscall(SYS_tkill, -1, 0)));
    printf("sigaction of SIGKILL %ld\n", call(syscall(SYS_rt_sigaction, SIGKILL, &sa, 0, 8)));
    printf("sigaction of 65 %ld\n", call(syscall(SYS_rt_sigaction, 65, 0, 0, 8)));
    printf("sigaction with another size %ld\n", call(syscall(SYS_rt_sigaction, SIGUSR1, 0, 0, 16)));
    printf("sigprocmask with another how %ld\n", call(syscall(SYS_rt_sigprocmask, 7, &all, 0, 8)));
    printf("sigprocmask fault %ld\n", call(syscall(SYS_rt_sigprocmask, SIG_BLOCK, (void *)1, 0, 8)));
    sigemptyset(&s);
    sigaddset(&s, SIGRTMIN);
    while (1) {
        struct timespec zero = {0, 0};
        int r = sigtimedwait(&s, &si, &zero);
        if (r < 0) break;
        printf("got +%d code %d\n", r - SIGRTMIN, si.si_code);
    }

    sa.sa_handler = SIG_DFL;
    sigaction(SIGUSR2, &sa, 0);
    pthread_create(&t, 0, blocked_thread, 0);
    pthread_join(t, 0);
    kill(getpid(), SIGUSR2);
    sigpending(&s);
    printf("process: pending %d\n", sigismember(&s, SIGUSR2));
    sa.sa_handler = SIG_IGN;
    sigaction(SIGUSR2, &sa, 0);
    sigpending(&s);
    printf("ignored: pending %d\n", sigismember(&s, SIGUSR2));
    kill(getpid(), SIGUSR2);
    sigpending(&s);
    printf("blocked and ignored: pending %d\n", sigismember(&s, SIGUSR2));
    kill(getpid(), SIGCONT);
    kill(getpid(), SIGTSTP);
    sigpending(&s);
    printf("SIGTSTP removes SIGCONT: %d %d\n", sigismember(&s, SIGCONT), sigismember(&s, SIGTSTP));
    kill(getpid(), SIGCONT);
    sigpending(&s);
    printf("SIGCONT removes SIGTSTP: %d %d\n", sigismember(&s, SIGCONT), sigismember(&s, SIGTSTP));

    struct rlimit rl = {3, 3};
    setrlimit(RLIMIT_SIGPENDING, &rl);
    v.sival_int = 1;
    int ok = 0;
    if (getuid() == 0) { /* the count is per user: only the refusal is compared */
        for (int i = 0; i < 10; i++) if (!sigqueue(getpid(), SIGRTMIN + 1, v)) ok++;
        printf("limited %d errno %d\n", ok <= 3, errno);
    }
    printf("kill still works %d\n", kill(getpid(), SIGRTMIN + 2));
    return 0;
}
