/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers that are the same everywhere, and a sum of everything that came out of them. */
#pragma once
#include <stdint.h>

static uint32_t seed = 4711, sum;

static uint32_t next(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static __attribute__((noinline)) void mix(const void *data, unsigned size)
{
	for (unsigned n = 0; n < size; n++)
		sum = (sum ^ ((const uint8_t *)data)[n]) * 16777619;
}
