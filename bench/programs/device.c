/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First touch of a mapped device, one load a page: nanoseconds a page.  device FILE [PAGES] */
#include "timing.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char page[4096] = {1};
    const char *name = argc > 1 ? argv[1] : "/dev/scullp0";
    long pages = argument(argc, argv, 2, 2048), sum = 0;
    int file = open(name, O_RDWR | O_CREAT, 0600);
    need(file >= 0, name);
    for (long n = 0; n < pages; n++)
        need(write(file, page, sizeof page) == sizeof page, "write");
    volatile char *memory = mmap(NULL, pages << 12, PROT_READ, MAP_SHARED, file, 0);
    need(memory != MAP_FAILED, "mmap");
    madvise((void *)memory, pages << 12, MADV_RANDOM); /* a peer's page cache must not map its neighbours too */
    double started = now();
    for (long n = 0; n < pages; n++)
        sum += memory[n << 12];
    result(started, pages);
    return sum != pages;
}
