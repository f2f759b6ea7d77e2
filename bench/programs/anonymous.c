/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First touch of anonymous memory, one store a page: nanoseconds a page.
   anonymous [PAGES [after]]: `after` 256 others that are not counted. */
#include "timing.h"
#include <sys/mman.h>

static volatile char *area(long pages)
{
    volatile char *memory = mmap(NULL, pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(memory != MAP_FAILED, "mmap");
    madvise((void *)memory, pages << 12, MADV_NOHUGEPAGE);
    return memory;
}

static void touch(volatile char *memory, long pages)
{
    for (long n = 0; n < pages; n++)
        memory[n << 12] = 1;
}

int main(int argc, char **argv)
{
    long pages = argument(argc, argv, 1, 8192);
    volatile char *memory = area(pages);
    if (argc > 2)
        touch(area(256), 256);
    double started = now();
    touch(memory, pages);
    result(started, pages);
}
