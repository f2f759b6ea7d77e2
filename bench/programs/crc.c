/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mapped device read through, each page faulted in and its CRC-32 taken: nanoseconds a page.  crc FILE [PAGES] */
#include "timing.h"
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static unsigned char page[4096] = {1};
    static uint32_t table[256];
    const char *name = argc > 1 ? argv[1] : "/dev/scullp0";
    long pages = argument(argc, argv, 2, 2048);
    uint32_t crc = ~0u;
    int file = open(name, O_RDWR | O_CREAT, 0600);
    need(file >= 0, name);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
        table[i] = value;
    }
    for (long n = 0; n < pages; n++)
        need(write(file, page, sizeof page) == sizeof page, "write");
    const unsigned char *memory = mmap(NULL, pages << 12, PROT_READ, MAP_SHARED, file, 0);
    need(memory != MAP_FAILED, "mmap");
    double started = now();
    for (long n = 0; n < pages << 12; n++)
        crc = crc >> 8 ^ table[(crc ^ memory[n]) & 255];
    result(started, pages);
    return crc == 0;
}
