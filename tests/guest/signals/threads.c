/* Threads: mutex, condition variable, join, thread-local storage, signals to a thread, exit_group. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int counter, ready, turn;
static __thread int local;
static volatile int handled, wrong;
static pthread_t target;

static void *adder(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&lock);
        counter++;
        pthread_mutex_unlock(&lock);
        local++;
    }
    return (void *)(long)(local + (long)arg);
}

static void *ping(void *arg)
{
    long me = (long)arg;
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me) pthread_cond_wait(&cond, &lock);
        turn = !turn;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&lock);
    }
    return 0;
}

static void handler(int sig)
{
    (void)sig;
    handled++;
    if (!pthread_equal(pthread_self(), target)) wrong++;
}

static void *sleeper(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    ready = 1;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
    while (!handled) {
        struct timespec ts = {1, 0};
        nanosleep(&ts, 0);
    }
    return (void *)7L;
}

static void *forever(void *arg) { (void)arg; for (;;) pause(); return 0; }
#ifdef NO_SPIN /* virtual time stands still while a thread only computes */
static void *spin(void *arg) { return forever(arg); }
#else
static void *spin(void *arg) { (void)arg; for (;;) ; return 0; }
#endif

int main(void)
{
    pthread_t t[8];
    void *ret;
    long total = 0;
    setvbuf(stdout, 0, _IONBF, 0);
    for (long i = 0; i < 8; i++) pthread_create(&t[i], 0, adder, (void *)i);
    for (int i = 0; i < 8; i++) { pthread_join(t[i], &ret); total += (long)ret; }
    printf("counter %d total %ld local here %d\n", counter, total, local);

    for (long i = 0; i < 2; i++) pthread_create(&t[i], 0, ping, (void *)i);
    for (int i = 0; i < 2; i++) pthread_join(t[i], 0);
    printf("ping pong ends with turn %d\n", turn);

    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = handler;
    sigaction(SIGUSR1, &sa, 0);
    pthread_create(&target, 0, sleeper, 0);
    pthread_mutex_lock(&lock);
    while (!ready) pthread_cond_wait(&cond, &lock);
    pthread_mutex_unlock(&lock);
    pthread_kill(target, SIGUSR1);
    pthread_join(target, &ret);
    printf("signal to a thread: handled %d wrong %d ret %ld\n", handled, wrong, (long)ret);

    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_nsec += 20000000;
    if (ts.tv_nsec >= 1000000000) { ts.tv_nsec -= 1000000000; ts.tv_sec++; }
    pthread_mutex_lock(&lock);
    printf("timedwait %d (ETIMEDOUT %d)\n", pthread_cond_timedwait(&cond, &lock, &ts), ETIMEDOUT);
    pthread_mutex_unlock(&lock);

    int st;
    pid_t p = fork();
    if (!p) {
        pthread_create(&t[0], 0, forever, 0);
        pthread_create(&t[1], 0, spin, 0);
        struct timespec d = {0, 20000000};
        nanosleep(&d, 0);
        exit(3);
    }
    waitpid(p, &st, 0);
    printf("exit_group %d\n", WEXITSTATUS(st));
    p = fork();
    if (!p) {
        pthread_create(&t[0], 0, forever, 0);
        pthread_create(&t[1], 0, spin, 0);
        for (;;) pause();
    }
    struct timespec d = {0, 30000000};
    nanosleep(&d, 0);
    kill(p, SIGTERM);
    waitpid(p, &st, 0);
    printf("SIGTERM kills all threads: %d\n", WTERMSIG(st));
    p = fork();
    if (!p) {
        pthread_create(&t[0], 0, forever, 0);
        pthread_exit(0); /* the leader leaves first */
    }
    nanosleep(&d, 0);
    printf("dead leader is not reported: %d\n", waitpid(p, &st, WNOHANG));
    kill(p, SIGKILL);
    waitpid(p, &st, 0);
    printf("then killed: %d\n", WTERMSIG(st));
    return 0;
}
