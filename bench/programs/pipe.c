/* SPDX-License-Identifier: GPL-2.0-or-later */
/* 512 bytes into a pipe and out of it: nanoseconds for both.  pipe [ROUNDS] */
#include "timing.h"
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 1, 20000);
    char in[512], out[512];
    int ends[2];
    need(pipe(ends) == 0, "pipe");
    memset(out, 7, sizeof out);
    double started = now();
    for (long n = 0; n < rounds; n++) {
        need(write(ends[1], out, sizeof out) == sizeof out, "write");
        need(read(ends[0], in, sizeof in) == sizeof in, "read");
    }
    result(started, rounds);
    return in[511] != 7;
}
