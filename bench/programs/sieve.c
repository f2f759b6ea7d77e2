/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Primes below N by the sieve of Eratosthenes: nanoseconds a number.  sieve [N] */
#include "timing.h"

int main(int argc, char **argv)
{
    long limit = argument(argc, argv, 1, 4000000), primes = 0;
    char *composite = calloc(limit, 1);
    need(composite != NULL, "calloc");
    double started = now();
    for (long n = 2; n < limit; n++) {
        if (composite[n])
            continue;
        primes++;
        for (long m = n * n; m < limit; m += n)
            composite[m] = 1;
    }
    result(started, limit);
    fprintf(stderr, "%ld\n", primes);
}
