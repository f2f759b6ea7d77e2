/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCMPxSTRx, DPPS and DPPD with every immediate byte and random operands: results and flags, bit for bit. */
#include "check.h"
#include "mix.h"
#include <stdint.h>

typedef struct {
	uint8_t byte[16];
} __attribute__((aligned(16))) block;

static block a, b, result;
static float singles[8] __attribute__((aligned(16)));
static double doubles[4] __attribute__((aligned(16)));
static int first, second;

/* Few letters and ends, so that there are matches everywhere; lengths of every kind. */
static __attribute__((noinline)) void choose(void)
{
	static const int lengths[] = { 0, 1, -2, 3, -5, 7, 8, -9, 12, 15, 16, 17, -40, 1000, INT32_MIN, INT32_MAX };
	int few = next() % 4;

	for (int n = 0; n < 16; n++) {
		a.byte[n] = few ? (next() % 9 ? 'a' + next() % few : 0) : next();
		b.byte[n] = few ? (next() % 20 ? 'a' + next() % few : 0) : next();
	}
	first = lengths[next() % 16];
	second = lengths[next() % 16];
	for (int n = 0; n < 8; n++)
		singles[n] = (next() % 3 ? 1 : 1e8f) * ((int)(next() % 200) - 100) / 7;
	for (int n = 0; n < 4; n++)
		doubles[n] = (next() % 3 ? 1 : 1e17) * ((int)(next() % 200) - 100) / 7;
}

#define STRINGS(name, value) \
	do { \
		int index = 77; \
		unsigned char carry, zero, sign, overflow; \
		__asm__ volatile("movdqa %6, %%xmm0\n\tmovdqa %6, %%xmm1\n\tmovdqa %7, %%xmm2\n\t" name " $" #value ", %%xmm2, %%xmm1" \
				 "\n\tsetc %1\n\tsetz %2\n\tsets %3\n\tseto %4\n\tmovdqa %%xmm0, %5" \
				 : "+c"(index), "=m"(carry), "=m"(zero), "=m"(sign), "=m"(overflow), "=m"(result) \
				 : "m"(a), "m"(b), "a"(first), "d"(second) : "xmm0", "xmm1", "xmm2", "cc"); \
		mix(&index, 4), mix(&result, 16); \
		mix(&carry, 1), mix(&zero, 1), mix(&sign, 1), mix(&overflow, 1); \
	} while (0)

#define PRODUCT(name, of, half, value) \
	do { \
		__asm__ volatile("movups %1, %%xmm1\n\tmovups %2, %%xmm2\n\t" name " $" #value ", %%xmm2, %%xmm1\n\tmovups %%xmm1, %0" \
				 : "=m"(result) : "m"(of[0]), "m"(of[half]), "m"(*(block *)of) : "xmm1", "xmm2"); \
		mix(&result, 16); \
	} while (0)

#define CASE(value) \
	for (int n = 0; n < 40; n++) { \
		choose(); \
		STRINGS("pcmpestri", value); \
		STRINGS("pcmpestrm", value); \
		STRINGS("pcmpistri", value); \
		STRINGS("pcmpistrm", value); \
		PRODUCT("dpps", singles, 4, value); \
		PRODUCT("dppd", doubles, 2, value); \
	} \
	printf("%x %08x\n", value, sum);

#define FOUR(high) CASE(high##0) CASE(high##1) CASE(high##2) CASE(high##3)
#define SIXTEEN(high) \
	FOUR(high) CASE(high##4) CASE(high##5) CASE(high##6) CASE(high##7) CASE(high##8) CASE(high##9) CASE(high##a) \
	CASE(high##b) CASE(high##c) CASE(high##d) CASE(high##e) CASE(high##f)

static void all(void)
{
	SIXTEEN(0x0) SIXTEEN(0x1) SIXTEEN(0x2) SIXTEEN(0x3) SIXTEEN(0x4) SIXTEEN(0x5) SIXTEEN(0x6) SIXTEEN(0x7)
	SIXTEEN(0x8) SIXTEEN(0x9) SIXTEEN(0xa) SIXTEEN(0xb) SIXTEEN(0xc) SIXTEEN(0xd) SIXTEEN(0xe) SIXTEEN(0xf)
}

int main(void)
{
	unsigned control = 0x1f80, rounded;

	all();
	for (unsigned way = 0; way < 4; way++) {
		rounded = control | way << 13;
		__asm__ volatile("ldmxcsr %0" : : "m"(rounded));
		for (int n = 0; n < 200; n++) {
			choose();
			PRODUCT("dpps", singles, 4, 0xff);
			PRODUCT("dppd", doubles, 2, 0x33);
		}
		printf("rounding %u %08x\n", way, sum);
	}
	__asm__ volatile("ldmxcsr %0" : : "m"(control));
	return done();
}
