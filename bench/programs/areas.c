/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mmap, mprotect, touch, munmap of 4 pages with other areas alive: nanoseconds a round.  areas ALIVE [ROUNDS] */
#include "timing.h"
#include <sys/mman.h>

int main(int argc, char **argv)
{
    long alive = argument(argc, argv, 1, 100), rounds = argument(argc, argv, 2, 1000);
    /* Every second page has another protection: areas that can't merge. */
    char *field = mmap(NULL, alive << 12, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(field != MAP_FAILED, "mmap");
    for (long n = 1; n < alive; n += 2)
        need(mprotect(field + (n << 12), 4096, PROT_NONE) == 0, "mprotect");
    double started = now();
    for (long n = 0; n < rounds; n++) {
        volatile char *memory = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        need(memory != MAP_FAILED, "mmap");
        memory[0] = memory[8192] = 1;
        need(mprotect((void *)memory, 8192, PROT_READ) == 0, "mprotect");
        need(memory[0] == 1, "contents");
        need(munmap((void *)memory, 16384) == 0, "munmap");
    }
    result(started, rounds);
}
