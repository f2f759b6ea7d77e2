/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SHA-256 (FIPS 180-4) over a buffer: nanoseconds a byte.  sha256 [KIBIBYTES] */
#include "timing.h"
#include <math.h>
#include <string.h>

static uint32_t k[64], h[8];

/* The constants are the fractions of roots of the first primes: made here rather than listed. */
static void constants(void)
{
    for (int n = 0, p = 2; n < 64; p++) {
        int prime = 1;
        for (int d = 2; d * d <= p; d++)
            prime &= p % d != 0;
        if (!prime)
            continue;
        long double root = cbrtl(p), square = sqrtl(p);
        if (n < 8)
            h[n] = (uint32_t)((square - floorl(square)) * 4294967296.0L);
        k[n++] = (uint32_t)((root - floorl(root)) * 4294967296.0L);
    }
}

static uint32_t right(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void block(const unsigned char *data)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++, data += 4)
        w[i] = (uint32_t)data[0] << 24 | data[1] << 16 | data[2] << 8 | data[3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] + (right(w[i - 15], 7) ^ right(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (right(w[i - 2], 17) ^ right(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t e = s[4], a = s[0];
        uint32_t one = s[7] + (right(e, 6) ^ right(e, 11) ^ right(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + k[i] + w[i];
        uint32_t two = (right(a, 2) ^ right(a, 13) ^ right(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++)
        h[i] += s[i];
}

int main(int argc, char **argv)
{
    size_t size = argument(argc, argv, 1, 4096) * 1024;
    unsigned char *data = malloc(size), last[64] = {0x80};
    need(data != NULL, "malloc");
    memset(data, 'a', size);
    constants();
    double started = now();
    for (size_t done = 0; done < size; done += 64)
        block(data + done);
    for (int i = 0; i < 8; i++)
        last[63 - i] = (uint64_t)size * 8 >> 8 * i;
    block(last);
    result(started, size);
    for (int i = 0; i < 8; i++)
        fprintf(stderr, "%08x", h[i]);
    fputc('\n', stderr);
}
