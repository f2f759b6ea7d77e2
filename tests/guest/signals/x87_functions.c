/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Logarithms, powers, arcs and remainders of the x87, bit for bit, with the depth of its stack and what they say. */
#include "check.h"
#include <string.h>

static const long double values[] = {
	0.0L, -0.0L, 1.0L, -1.0L, 0.5L, -0.5L, 2.0L, 3.0L / 7, -3.0L / 7, 3.14159265358979323846L, 7.3L, 1e-30L, 1e30L, -1e30L,
	1.5e300L, 1e-4940L, 1e4000L, -1e4000L, 0.29L, -0.29L, 1e17L + 0.5L, 123456789.987654321L,
	__builtin_infl(), -__builtin_infl(), __builtin_nanl(""),
};
#define COUNT ((int)(sizeof values / sizeof values[0]))

static const unsigned short controls[] = {0x37f, 0x27f, 0x07f, 0x77f, 0xb7f, 0xf7f};

struct outcome {
	long double result;
	unsigned short status;
	unsigned environment[7];
};

#define TWO(instruction) \
	static void two_##instruction(long double first, long double second, unsigned short control, struct outcome *to) \
	{ \
		__asm__ volatile("fninit\n\tfldcw %3\n\tfldt %5\n\tfldt %4\n\t" #instruction "\n\tfnstsw %1\n\tfnstenv %2\n\tfstpt %0" \
				 : "=m"(to->result), "=m"(to->status), "=m"(to->environment) \
				 : "m"(control), "m"(first), "m"(second)); \
	}
#define ONE(instruction) \
	static void one_##instruction(long double first, long double second, unsigned short control, struct outcome *to) \
	{ \
		(void)second; \
		__asm__ volatile("fninit\n\tfldcw %3\n\tfldt %4\n\t" #instruction "\n\tfnstsw %1\n\tfnstenv %2\n\tfstpt %0" \
				 : "=m"(to->result), "=m"(to->status), "=m"(to->environment) \
				 : "m"(control), "m"(first)); \
	}

TWO(fyl2x)
TWO(fyl2xp1)
TWO(fpatan)
TWO(fprem)
TWO(fprem1)
TWO(fscale)
ONE(f2xm1)
ONE(fsin)
ONE(fcos)
ONE(fptan)
ONE(fsincos)
ONE(fxtract)

/* Both results, and nothing of an operand out of range: the second is below. */
#define BOTH(instruction) \
	static void both_##instruction(long double first, long double second, unsigned short control, struct outcome *to) \
	{ \
		(void)second; \
		__asm__ volatile("fninit\n\tfldcw %3\n\tfld1\n\tfldt %4\n\t" #instruction \
				 "\n\tfnstsw %1\n\tfnstenv %2\n\tfstp %%st(0)\n\tfstpt %0" \
				 : "=m"(to->result), "=m"(to->status), "=m"(to->environment) \
				 : "m"(control), "m"(first)); \
	}
BOTH(fptan)
BOTH(fsincos)
BOTH(fxtract)

#define CONSTANT(instruction) \
	static void constant_##instruction(long double first, long double second, unsigned short control, struct outcome *to) \
	{ \
		(void)first, (void)second; \
		__asm__ volatile("fninit\n\tfldcw %3\n\t" #instruction "\n\tfnstsw %1\n\tfnstenv %2\n\tfstpt %0" \
				 : "=m"(to->result), "=m"(to->status), "=m"(to->environment) \
				 : "m"(control)); \
	}
CONSTANT(fldl2t)
CONSTANT(fldl2e)
CONSTANT(fldpi)
CONSTANT(fldlg2)
CONSTANT(fldln2)

/* Stores that have no number for what is too large. */
#define STORE(name, instruction) \
	static void store_##name(long double first, long double second, unsigned short control, struct outcome *to) \
	{ \
		(void)second; \
		__asm__ volatile("fninit\n\tfldcw %3\n\tfldt %4\n\t" instruction " %0\n\tfnstsw %1\n\tfnstenv %2" \
				 : "=m"(to->result), "=m"(to->status), "=m"(to->environment) \
				 : "m"(control), "m"(first)); \
	}
STORE(fisttps, "fisttps")
STORE(fisttpl, "fisttpl")
STORE(fisttpll, "fisttpll")
STORE(fistps, "fistps")
STORE(fistpl, "fistpl")
STORE(fistpll, "fistpll")
STORE(fbstp, "fbstp")

static void show(const char *name, void (*run)(long double, long double, unsigned short, struct outcome *), int pairs,
		 unsigned status)
{
	for (unsigned c = 0; c < sizeof controls / sizeof controls[0]; c++)
		for (int i = 0; i < COUNT; i++)
			for (int j = 0; j < (pairs ? COUNT : 1); j++) {
				struct outcome to;
				unsigned char bytes[10];

				memset(&to, 0, sizeof to);
				run(values[i], values[j], controls[c], &to);
				memcpy(bytes, &to.result, sizeof bytes);
				printf("%s %x %d %d ", name, controls[c], i, j);
				for (int n = 9; n >= 0; n--)
					printf("%02x", bytes[n]);
				printf(" %x %x\n", to.status & status, to.environment[2] & 0xffff ? 1 : 0);
			}
}

int main(void)
{
	enum { IE = 1, ZE = 4, PE = 0x20, TOP = 0x3800, C0 = 0x100, C1 = 0x200, C2 = 0x400, C3 = 0x4000 };

	show("fyl2x", two_fyl2x, 1, TOP);
	show("fyl2xp1", two_fyl2xp1, 1, TOP);
	show("fpatan", two_fpatan, 1, TOP);
	show("fprem", two_fprem, 1, TOP | C0 | C1 | C2 | C3);
	show("fprem1", two_fprem1, 1, TOP | C0 | C1 | C2 | C3);
	show("fscale", two_fscale, 1, TOP);
	show("f2xm1", one_f2xm1, 0, TOP);
	show("fsin", one_fsin, 0, TOP | C2);
	show("fcos", one_fcos, 0, TOP | C2);
	show("fptan", one_fptan, 0, TOP | C2);
	show("fptan", both_fptan, 0, TOP | C2);
	show("fsincos", one_fsincos, 0, TOP | C2);
	show("fsincos", both_fsincos, 0, TOP | C2);
	show("fxtract", one_fxtract, 0, TOP | IE | ZE);
	show("fxtract", both_fxtract, 0, TOP | IE | ZE);
	show("fldl2t", constant_fldl2t, 0, TOP);
	show("fldl2e", constant_fldl2e, 0, TOP);
	show("fldpi", constant_fldpi, 0, TOP);
	show("fldlg2", constant_fldlg2, 0, TOP);
	show("fldln2", constant_fldln2, 0, TOP);
	show("fisttps", store_fisttps, 0, TOP | IE | PE);
	show("fisttpl", store_fisttpl, 0, TOP | IE | PE);
	show("fisttpll", store_fisttpll, 0, TOP | IE | PE);
	show("fistps", store_fistps, 0, TOP | IE | PE);
	show("fistpl", store_fistpl, 0, TOP | IE | PE);
	show("fistpll", store_fistpll, 0, TOP | IE | PE);
	show("fbstp", store_fbstp, 0, TOP | IE | PE);
	return done();
}
