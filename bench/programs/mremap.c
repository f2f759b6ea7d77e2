/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An area of 16 touched pages grown, moved and shrunk: nanoseconds a call of mremap.  mremap [ROUNDS] */
#include "timing.h"
#include <sys/mman.h>

int main(int argc, char **argv)
{
    long rounds = argument(argc, argv, 1, 1000);
    const size_t small = 16 << 12, large = 32 << 12;
    char *memory = mmap(NULL, small, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *places = mmap(NULL, 4 * large, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(memory != MAP_FAILED && places != MAP_FAILED, "mmap");
    for (size_t at = 0; at < small; at += 4096)
        memory[at] = at >> 12;
    double started = now();
    for (long n = 0; n < rounds; n++) {
        char *target = places + (n & 1) * 2 * large;
        memory = mremap(memory, small, large, MREMAP_MAYMOVE | MREMAP_FIXED, target);
        need(memory == target, "mremap (move and grow)");
        need(mremap(memory, large, small, 0) == memory, "mremap (shrink)");
        need(memory[5 << 12] == 5, "contents");
    }
    result(started, 2.0 * rounds);
}
