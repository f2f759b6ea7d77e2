/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stores of 8 bytes at places that no cache and no TLB foresees: nanoseconds a store.  random [MIB] [STORES] */
#include "timing.h"
#include <sys/mman.h>

int main(int argc, char **argv)
{
    uint64_t words = (uint64_t)argument(argc, argv, 1, 64) << 17, state = 88172645463325252u;
    long stores = argument(argc, argv, 2, 4000000);
    uint64_t *memory = mmap(NULL, words * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    need(memory != MAP_FAILED, "mmap");
    for (uint64_t n = 0; n < words; n += 512)
        memory[n] = 1;
    double started = now();
    for (long n = 0; n < stores; n++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *(volatile uint64_t *)(memory + state % words) = state;
    }
    result(started, stores);
}
