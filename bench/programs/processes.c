/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COUNT processes alive at once, each with a page of its own, then all end: nanoseconds a process.
   processes COUNT [after]: `after` one that is not counted. */
#include "timing.h"
#include <sys/wait.h>
#include <unistd.h>

static void live(long count)
{
    static volatile char own[4096];
    int gate[2], status;
    char byte;
    need(pipe(gate) == 0, "pipe");
    for (long n = 0; n < count; n++) {
        pid_t child = fork();
        need(child >= 0, "fork");
        if (!child) {
            close(gate[1]);
            own[0] = 1;
            _exit(read(gate[0], &byte, 1) + 7);
        }
    }
    close(gate[1]);
    for (long n = 0; n < count; n++)
        need(wait(&status) > 0 && status == 7 << 8, "a child");
    close(gate[0]);
}

int main(int argc, char **argv)
{
    long count = argument(argc, argv, 1, 100);
    if (argc > 2)
        live(1);
    double started = now();
    live(count);
    result(started, count);
}
