/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time inside the program: the peers differ in how long a process takes to start. */
#ifndef TIMING_H
#define TIMING_H

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

/* The one line that the runner reads: nanoseconds for one of what the program does. */
static inline void result(double started, double count)
{
    printf("%.3f\n", (now() - started) / count);
}

static inline void need(int condition, const char *what)
{
    if (!condition) {
        perror(what);
        exit(1);
    }
}

static inline long argument(int argc, char **argv, int n, long otherwise)
{
    return argc > n ? atol(argv[n]) : otherwise;
}

#endif
