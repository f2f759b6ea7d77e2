/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small file opened, looked at, read and closed, over and over: nanoseconds a system call.  files FILE [ROUNDS] */
#include "timing.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char text[512];
    struct stat about;
    const char *name = argc > 1 ? argv[1] : "/etc/passwd";
    long rounds = argument(argc, argv, 2, 2000);
    double started = now();
    for (long n = 0; n < rounds; n++) {
        int file = open(name, O_RDONLY);
        need(file >= 0, name);
        need(fstat(file, &about) == 0, "fstat");
        need(read(file, text, sizeof text) > 0, "read");
        need(close(file) == 0, "close");
    }
    result(started, rounds * 4);
    return 0;
}
