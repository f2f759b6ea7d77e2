/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file read from its start to its end, 256 KiB at a time: nanoseconds a KiB.  readfile FILE [ROUNDS] */
#include "timing.h"
#include <fcntl.h>
#include <unistd.h>

static char buffer[256 << 10];

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 2, 1), bytes = 0;
    need(argc > 1, "usage: readfile FILE [ROUNDS]");
    for (unsigned n = 0; n < sizeof buffer; n += 4096)
        buffer[n] = 1;
    double started = now();
    for (long round = 0; round < rounds; round++) {
        ssize_t got;
        int file = open(argv[1], O_RDONLY);
        need(file >= 0, argv[1]);
        while ((got = read(file, buffer, sizeof buffer)) > 0)
            bytes += got;
        need(got == 0 && close(file) == 0, "read");
    }
    need(bytes > 0, "an empty file");
    result(started, bytes / 1024.0);
}
