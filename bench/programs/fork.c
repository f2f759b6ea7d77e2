/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fork, a child that writes to its copies of PAGES pages, wait: nanoseconds a child.  fork [PAGES] [ROUNDS] */
#include "timing.h"
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long pages = argument(argc, argv, 1, 64), rounds = argument(argc, argv, 2, 50);
    volatile char *memory = mmap(NULL, pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(memory != MAP_FAILED, "mmap");
    for (long n = 0; n < pages; n++)
        memory[n << 12] = 1;
    double started = now();
    for (long round = 0; round < rounds; round++) {
        int status;
        pid_t child = fork();
        need(child >= 0, "fork");
        if (!child) {
            for (long n = 0; n < pages; n++)
                memory[n << 12] = 2;
            _exit(memory[0] + 5);
        }
        need(waitpid(child, &status, 0) == child && status == 7 << 8 && memory[0] == 1, "the child");
    }
    result(started, rounds);
}
