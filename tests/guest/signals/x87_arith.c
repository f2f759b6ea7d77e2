/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arithmetic, comparisons, conversions and functions of the x87 in every precision and rounding: results and status word
 * as the processor has them; and what is not masked raises SIGFPE at the next instruction that waits. */
#define _GNU_SOURCE
#include "check.h"
#include "mix.h"
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

typedef struct {
	uint64_t significand;
	uint16_t exponent;
} __attribute__((packed)) extended;

static extended first, second, result;
static uint32_t single;
static uint64_t twice;
static unsigned short control, status;
static unsigned char flags[6];

static extended number(void)
{
	static const extended odd[] = {
		{ 0, 0 }, { 1, 0 }, { INT64_MAX, 0 }, { 1ULL << 63, 0 }, { 1ULL << 63, 1 }, { 1ULL << 63, 0x3fff },
		{ 3ULL << 62, 0x3fff }, { 0xa000000000000000, 0x4000 }, { UINT64_MAX, 0x7ffe }, { 1ULL << 63, 0x7fff },
		{ 0xc000000000000001, 0x7fff }, { 0x8000000012345678, 0x7fff }, { 0xfffffffffffffc00, 0x403e },
		{ 0xffffffff00000000, 0x401e }, { 0x8000000000000001, 0x3f80 }, { 0xffffff8000000000, 0x407e },
		{ 0xfffffffffffff800, 0x43fe }, { 0x8000000000000001, 0x3c00 }, { 0xc90fdaa22168c235, 0x3fff },
	};
	extended any = { (uint64_t)next() << 40 ^ (uint64_t)next() << 20 ^ (next() | 1ULL << 63), 0x3f00 + next() % 0x1ff };

	if (next() % 3)
		any = odd[next() % 19];
	any.exponent |= (next() & 1) << 15;
	return any;
}

static void choose(void)
{
	static const uint32_t odd[] = { 0, 1, 0x7fffff, 0x3f800000, 0x7f800000, 0x7fc00001, 0x7f812345, 0x42f00000 };

	first = number();
	second = next() % 8 ? number() : first;
	single = next() % 2 ? odd[next() % 8] ^ (next() & 1) << 31 : next() << 8;
	twice = (uint64_t)next() << 40 ^ (uint64_t)next() << 20 ^ next();
	if (next() % 2)
		twice = (uint64_t)(odd[next() % 8] ^ (next() & 1) << 31) << 32 | next() % 2;
	if ((second.exponent & 0x7fff) == 0x7fff)
		single = 0x40400000, twice = 0x4008000000000000;
}

/* The first lies below the second; the status word is of the last instruction but a store.  nopage converts a
 * memory operand first: DE of it is said even where the processor says IE or ZE alone, and two NaNs may be exchanged. */
#define TRY(seen, text) \
	do { \
		choose(); \
		memset(&result, 0, sizeof result); \
		__asm__ volatile("fninit\n\tfldt %[a]\n\tfldt %[b]\n\tfldcw %[control]\n\tcmp %%esp, %%esp\n\t" text \
				 "\n\tsetc %[carry]\n\tsetz %[zero]\n\tsetp %[parity]\n\tfninit" \
				 : [status] "=m"(status), [result] "+m"(result), [single] "+m"(single), [twice] "+m"(twice), \
				   [carry] "=m"(flags[0]), [zero] "=m"(flags[1]), [parity] "=m"(flags[2]) \
				 : [a] "m"(first), [b] "m"(second), [control] "m"(control) : "cc", "memory", "eax"); \
		status &= seen & (status & (FE_INVALID | FE_DIVBYZERO) ? ~2 : 0xffff); \
		mix(&result, 10), mix(&status, 2), mix(flags, 3), mix(&single, 4), mix(&twice, 8); \
	} while (0)
#define ARITHMETIC(text) TRY(0x23f, text "\n\tfnstsw %[status]\n\tfstpt %[result]")
#define BOTH(name) \
	ARITHMETIC(name " %%st(1), %%st"); INTO_OTHER(name " %%st, %%st(1)"); ARITHMETIC(name "p"); \
	ARITHMETIC(name "s %[single]"); ARITHMETIC(name "l %[twice]")
#define INTO_OTHER(text) TRY(0x23f, text "\n\tfnstsw %[status]\n\tfstp %%st\n\tfstpt %[result]")
#define COMPARE(text) TRY(0x473f, text "\n\tfnstsw %[status]")

static __attribute__((noinline)) void all(void)
{
	BOTH("fadd"); BOTH("fsub"); BOTH("fsubr"); BOTH("fmul"); BOTH("fdiv"); BOTH("fdivr");
	ARITHMETIC("fsqrt"); ARITHMETIC("frndint"); ARITHMETIC("flds %[single]"); ARITHMETIC("fldl %[twice]");
	ARITHMETIC("fiaddl %[single]"); ARITHMETIC("fidivs %[single]"); ARITHMETIC("fscale"); ARITHMETIC("f2xm1");
	ARITHMETIC("fsts %[single]"); ARITHMETIC("fstl %[twice]"); ARITHMETIC("fstps %[single]"); ARITHMETIC("fstpl %[twice]");
	COMPARE("fcom"); COMPARE("fcomp"); COMPARE("fcompp"); COMPARE("fucom"); COMPARE("fucompp"); COMPARE("ftst");
	COMPARE("fcoms %[single]"); COMPARE("fcompl %[twice]");
	COMPARE("fcomi %%st(1), %%st"); COMPARE("fucomi %%st(1), %%st"); COMPARE("fcomip %%st(1), %%st");
	COMPARE("fucomip %%st(1), %%st");
	TRY(0x3f, "fistpl %[single]\n\tfnstsw %[status]"); TRY(0x3f, "fistpll %[twice]\n\tfnstsw %[status]");
}

static sigjmp_buf back;
static volatile int code;

static void handler(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)context;
	code = info->si_code;
	siglongjmp(back, 1);
}

/* What waits: FWAIT, the next addition, comparison, store. */
static void wait_for(const char *what, unsigned short masks, long double a, long double b, int how)
{
	float stored = 7;

	code = 0;
	if (sigsetjmp(back, 1) == 0) {
		__asm__ volatile("fninit\n\tfldcw %0\n\tfldt %1\n\tfldt %2\n\tfdivrp" : : "m"(masks), "m"(b), "m"(a));
		if (how == 0)
			__asm__ volatile("fwait\n\tfnstsw %0\n\tfninit" : "=m"(status));
		else if (how == 1)
			__asm__ volatile("fld1\n\tfaddp\n\tfnstsw %0\n\tfninit" : "=m"(status));
		else if (how == 2)
			__asm__ volatile("fld1\n\tfcompp\n\tfnstsw %0\n\tfninit" : "=m"(status));
		else
			__asm__ volatile("fstps %1\n\tfnstsw %0\n\tfninit" : "=m"(status), "=m"(stored));
	}
	printf("%s %d: code %d, %g\n", what, how, code, stored);
}

int main(void)
{
	static const unsigned short precisions[] = { 0x300, 0x200, 0x000 };
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	volatile long double one = 1, zero = 0, three = 3, least = 0x1p-16382L, most = 0x1p16383L;

	for (int precision = 0; precision < 3; precision++)
		for (int rounding = 0; rounding < 4; rounding++)
			for (int times = 0; times < 20; times++) {
				control = 0x7f | precisions[precision] | rounding << 10;
				all();
				printf("%03x %08x\n", control, sum);
			}
	sigaction(SIGFPE, &action, NULL);
	for (int how = 0; how < 4; how++) {
		wait_for("masked", 0x37f, zero, one, how);
		wait_for("division", 0x37b, zero, one, how);
		wait_for("invalid", 0x37e, zero, zero, how);
		wait_for("invalid, division unmasked", 0x37b, zero, zero, how);
		wait_for("inexact", 0x35f, three, one, how);
		wait_for("exact", 0x35f, one, three, how);
		wait_for("overflow", 0x377, least, most, how);
		wait_for("underflow", 0x36f, most, least, how);
	}
	feclearexcept(FE_ALL_EXCEPT);
	printf("%x", fetestexcept(FE_ALL_EXCEPT));
	one /= three;
	printf(" %x", fetestexcept(FE_ALL_EXCEPT));
	feclearexcept(FE_INEXACT);
	one /= zero;
	printf(" %x\n", fetestexcept(FE_ALL_EXCEPT));
	return done();
}
