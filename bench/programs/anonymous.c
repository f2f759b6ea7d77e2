/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First touch of anonymous memory, one store a page: nanoseconds a page.  anonymous [PAGES] */
#include "timing.h"
#include <sys/mman.h>

int main(int argc, char **argv)
{
    long pages = argument(argc, argv, 1, 8192);
    volatile char *memory = mmap(NULL, pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(memory != MAP_FAILED, "mmap");
    madvise((void *)memory, pages << 12, MADV_NOHUGEPAGE);
    double started = now();
    for (long n = 0; n < pages; n++)
        memory[n << 12] = 1;
    result(started, pages);
}
