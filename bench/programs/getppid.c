/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The cheapest system call that no libc answers itself: nanoseconds a call.  getppid [CALLS] */
#include "timing.h"
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long calls = argument(argc, argv, 1, 200000), parent = 0;
    double started = now();
    for (long n = 0; n < calls; n++)
        parent |= syscall(SYS_getppid);
    result(started, calls);
    return parent < 0;
}
