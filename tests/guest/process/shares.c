/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processes that compute beside one that makes system calls all the time: each of them gets on, and a kill is acted upon. */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN = 3 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void child(int n, volatile long *turns)
{
    for (;;) {
        turns[n]++;
        if (n)
            getppid();
        else
            for (volatile int i = 0; i < 1000; i++)
                ;
    }
}

int main(void)
{
    volatile long *turns = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[CHILDREN];
    for (int n = 0; n < CHILDREN; n++)
        if ((children[n] = fork()) == 0)
            child(n, turns);
    for (double end = now() + 2; now() < end;)
        getppid();
    for (int n = 0; n < CHILDREN; n++) {
        struct rusage used;
        kill(children[n], SIGKILL);
        wait4(children[n], NULL, 0, &used);
        double seconds = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
        printf("child %d %s\n", n, turns[n] > 100 && seconds > 0.1 ? "had its share" : "starved");
    }
    return 0;
}
