/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers that are the same everywhere for one seed, and short forms for what came of a call. */
#ifndef RANDOM_H
#define RANDOM_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long long random_state;

static unsigned below(unsigned n)
{
	random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(random_state >> 33) % n;
}

#define ONE_OF(array) ((array)[below(sizeof(array) / sizeof *(array))])

static void seed(const char *number)
{
	random_state = strtoull(number, NULL, 10) * 2654435761ULL + 1;
	below(2);
}

/* Of what the call gave: an error's name, or the number. */
static const char *came(long long result)
{
	static char text[64];

	snprintf(text, sizeof text, "%lld%s%s", result, result == -1 ? " " : "", result == -1 ? strerror(errno) : "");
	return text;
}

static inline unsigned sum(const void *data, long count)
{
	unsigned value = count;

	for (long n = 0; n < count; n++)
		value = value * 31 + ((const unsigned char *)data)[n];
	return value;
}

#endif
