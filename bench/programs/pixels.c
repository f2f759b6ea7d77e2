/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stores of 4 bytes over a mapping, again and again: nanoseconds a store in the best round.
 * pixels WHERE [KIB] [ROUNDS] [fill]   WHERE: anonymous, or a file or device that is mapped from its start
 * fill: written first, so that there are pages */
#include "timing.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *where = argc > 1 ? argv[1] : "anonymous";
    long bytes = argument(argc, argv, 2, 3072) << 10, rounds = argument(argc, argv, 3, 20);
    int file = -1, flags = MAP_PRIVATE | MAP_ANONYMOUS;
    if (strcmp(where, "anonymous")) {
        file = open(where, O_RDWR);
        need(file >= 0, where);
        flags = MAP_SHARED;
        static char page[4096];
        for (long n = 0; argc > 4 && n < bytes; n += 4096)
            need(write(file, page, sizeof page) == sizeof page, "write");
    }
    volatile uint32_t *pixels = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, file, 0);
    need(pixels != MAP_FAILED, "mmap");
    for (long n = 0; n < bytes / 4; n += 1024)
        pixels[n] = 0;
    double best = 1e18;
    for (long round = 0; round < rounds; round++) {
        double started = now();
        for (long n = 0; n < bytes / 4; n++)
            pixels[n] = n ^ round;
        double took = now() - started;
        best = took < best ? took : best;
    }
    printf("%.3f\n", best / (bytes / 4));
    return pixels[5] != (uint32_t)(5 ^ (rounds - 1));
}
