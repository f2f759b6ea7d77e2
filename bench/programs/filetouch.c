/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file mapped, and each of its pages touched: nanoseconds a page.  filetouch FILE */
#include "timing.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    need(argc > 1, "usage: filetouch FILE");
    int file = open(argv[1], O_RDONLY);
    need(file >= 0, argv[1]);
    long bytes = lseek(file, 0, SEEK_END), sum = 0;
    double started = now();
    volatile char *memory = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    need(memory != MAP_FAILED, "mmap");
    for (long n = 0; n < bytes; n += 4096)
        sum += memory[n];
    result(started, bytes / 4096.0);
    return sum == 1;
}
