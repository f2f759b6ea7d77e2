/* A robust mutex whose owner dies, in a thread and in a process; clear_child_tid is what pthread_join waits for. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t *m;
static volatile int *held; /* by whom; beside the mutex */

static void nap(int ms)
{
    struct timespec ts = {0, ms * 1000000L};
    nanosleep(&ts, 0);
}

static void *dies(void *arg)
{
    pthread_mutex_lock(m);
    *held = 1;
    nap(30);
    return arg;
}

int main(void)
{
    pthread_mutexattr_t a;
    pthread_t t;
    int r;
    setvbuf(stdout, 0, _IONBF, 0);
    m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    held = (int *)((char *)m + 2048);
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(m, &a);

    pthread_create(&t, 0, dies, 0);
    while (*held != 1) nap(1);
    r = pthread_mutex_lock(m);
    printf("thread died: %s\n", r == EOWNERDEAD ? "EOWNERDEAD" : "other");
    pthread_mutex_consistent(m);
    pthread_mutex_unlock(m);
    pthread_join(t, 0);

    pid_t p = fork();
    if (!p) { pthread_mutex_lock(m); *held = 2; nap(30); _exit(0); }
    while (*held != 2) nap(1);
    r = pthread_mutex_lock(m);
    printf("process died: %s\n", r == EOWNERDEAD ? "EOWNERDEAD" : "other");
    pthread_mutex_unlock(m);
    r = pthread_mutex_lock(m);
    printf("left inconsistent: %s\n", r == ENOTRECOVERABLE ? "ENOTRECOVERABLE" : "other");
    wait(0);
    return 0;
}
