/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every floating-point instruction of SSE to SSE4.1 but RCP and RSQRT, under every rounding, with FZ and DAZ, masked and
 * not: results, flags of comparisons, MXCSR, SIGFPE with its code, and a destination that an exception leaves alone. */
#define _GNU_SOURCE
#include "check.h"
#include "mix.h"
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

typedef union {
	uint8_t byte[16];
	uint32_t single[4];
	uint64_t wide[2];
} __attribute__((aligned(16))) block;

static block first, second, result;
static unsigned long general, number;
static uint32_t usual = 0x1f80, control, after;
static volatile int signals, codes[16];

/* A number of each kind: zeros, denormals, limits, infinities, NaNs of both sorts, integers and their neighbours. */
static uint32_t single(void)
{
	static const uint32_t odd[] = { 0, 1, 0x7fffff, 0x800000, 0x3f800000, 0x3fc00000, 0x40200000, 0x7f7fffff, 0x7f800000,
		0x7fc00001, 0x7f812345, 0x7fe54321, 0x4effffff, 0x4f000000, 0x5f000000, 0x3effffff, 0x34000001, 0x0c000000 };

	return (next() & 1) << 31 | (next() % 3 ? odd[next() % 18] : next() << 8 | next() % 256) % 0x80000000;
}

static uint64_t twice(void)
{
	static const uint64_t odd[] = { 0, 1, 0xfffffffffffff, 0x10000000000000, 0x3ff0000000000000, 0x3ff8000000000000,
		0x4004000000000000, 0x7fefffffffffffff, 0x7ff0000000000000, 0x7ff8000000000001, 0x7ff0000012345678,
		0x7ffc000087654321, 0x41dfffffffe00000, 0x41dfffffffc00000, 0x43e0000000000000, 0x47efffffe0000000,
		0x3810000000000000, 0x36a0000000000001 };
	uint64_t any = (uint64_t)next() << 40 ^ (uint64_t)next() << 20 ^ next();

	return (uint64_t)(next() & 1) << 63 | (next() % 3 ? odd[next() % 18] : any & INT64_MAX);
}

static void choose(int wide)
{
	for (int n = 0; n < 4; n++) {
		first.single[n] = single();
		second.single[n] = next() % 8 ? single() : first.single[n];
	}
	for (int n = 0; wide && n < 2; n++) {
		first.wide[n] = twice();
		second.wide[n] = next() % 8 ? twice() : first.wide[n];
	}
	number = next() % 2 ? single() : twice();
}

/* An overflow or underflow that is not masked says PE where the significand is inexact, nopage always. */
static void mix_flags(void)
{
	if (after & ~(after >> 7) & 0x18)
		after |= 0x20;
	mix(&after, 4);
}

#define ON __asm__ volatile("ldmxcsr %0" : : "m"(control) : "memory")
#define OFF __asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(after) : "m"(usual) : "memory")

/* The handler lets the program go on behind the instruction: what it leaves is in MXCSR of the frame. */
static unsigned long behind;

static void handler(int signo, siginfo_t *info, void *context)
{
	ucontext_t *frame = context;

	(void)signo;
	signals++;
	codes[info->si_code & 15]++;
	mix(&info->si_code, 4);
#ifdef __x86_64__
	frame->uc_mcontext.gregs[REG_RIP] = behind;
#else
	frame->uc_mcontext.gregs[REG_EIP] = behind;
#endif
}

#ifdef __x86_64__
#define BEHIND "lea 1f(%%rip), %%rcx\n\tmov %%rcx, %[behind]\n\t"
#define WORD "rcx"
#else
#define BEHIND "movl $1f, %[behind]\n\t"
#define WORD "ecx"
#endif

#define TRY(wide_, text, input) \
	do { \
		static const char name[] = text; \
		choose(wide_); \
		general = 77; \
		ON; \
		__asm__ volatile(BEHIND "movaps %[a], %%xmm1\n\tmovaps %[b], %%xmm2\n\tmov %[general], %%eax\n\t" input \
				 "\n\t" text "\n1:\tmovaps %%xmm1, %[result]\n\tmov %%eax, %[general]" \
				 : [result] "=m"(result), [general] "+m"(*(uint32_t *)&general), [behind] "=m"(behind) \
				 : [a] "m"(first), [b] "m"(second), [number] "m"(number) \
				 : "xmm1", "xmm2", "eax", WORD, "memory"); \
		OFF; \
		mix(&result, 16), mix(&general, 4), mix(name, 1), mix_flags(); \
	} while (0)

#define COMPARE(wide_, text) \
	do { \
		unsigned char carry = 9, zero = 9, parity = 9; \
		choose(wide_); \
		ON; \
		__asm__ volatile(BEHIND "movaps %[a], %%xmm1\n\tcmp %%esp, %%esp\n\t" text " %[b], %%xmm1\n1:\tsetc %[carry]\n\t" \
				 "setz %[zero]\n\tsetp %[parity]" \
				 : [carry] "=m"(carry), [zero] "=m"(zero), [parity] "=m"(parity), [behind] "=m"(behind) \
				 : [a] "m"(first), [b] "m"(second) : "xmm1", WORD, "cc", "memory"); \
		OFF; \
		mix(&carry, 1), mix(&zero, 1), mix(&parity, 1), mix_flags(); \
	} while (0)

#define ONE(wide, name) TRY(wide, name " %%xmm2, %%xmm1", "")
#define FOUR(name) ONE(0, name "ps"); ONE(0, name "ss"); ONE(1, name "pd"); ONE(1, name "sd")
#define BYTE(wide, name, value) TRY(wide, name " $" #value ", %%xmm2, %%xmm1", "")
#define ROUND(value) \
	BYTE(0, "roundps", value); BYTE(0, "roundss", value); BYTE(1, "roundpd", value); BYTE(1, "roundsd", value)

static __attribute__((noinline)) void arithmetic(void)
{
	FOUR("add"); FOUR("sub"); FOUR("mul"); FOUR("div"); FOUR("min"); FOUR("max"); FOUR("sqrt");
	ONE(0, "haddps"); ONE(1, "haddpd"); ONE(0, "hsubps"); ONE(1, "hsubpd"); ONE(0, "addsubps"); ONE(1, "addsubpd");
	ROUND(0); ROUND(1); ROUND(2); ROUND(3); ROUND(4); ROUND(8); ROUND(9); ROUND(10); ROUND(11); ROUND(12); ROUND(0xf5);
	if ((control & 0x1f80) == 0x1f80) { /* else the processor stops at the first of its steps that raises something */
		BYTE(0, "dpps", 0xff); BYTE(0, "dpps", 0x7a); BYTE(1, "dppd", 0x33); BYTE(1, "dppd", 0x12);
	}
	TRY(0, "addss %[b], %%xmm1", ""); TRY(1, "mulsd %[b], %%xmm1", ""); TRY(1, "divpd %[b], %%xmm1", "");
	TRY(1, "sqrtsd %%xmm1, %%xmm1", ""); TRY(0, "addps %%xmm1, %%xmm1", "");
}

static __attribute__((noinline)) void comparisons(void)
{
	FOUR("cmpeq"); FOUR("cmplt"); FOUR("cmple"); FOUR("cmpunord"); FOUR("cmpneq"); FOUR("cmpnlt"); FOUR("cmpnle");
	FOUR("cmpord");
	COMPARE(0, "comiss"); COMPARE(0, "ucomiss"); COMPARE(1, "comisd"); COMPARE(1, "ucomisd");
}

static __attribute__((noinline)) void conversions(void)
{
	ONE(0, "cvtps2pd"); ONE(1, "cvtpd2ps"); ONE(0, "cvtss2sd"); ONE(1, "cvtsd2ss"); ONE(0, "cvtdq2ps"); ONE(0, "cvtdq2pd");
	ONE(0, "cvtps2dq"); ONE(0, "cvttps2dq"); ONE(1, "cvtpd2dq"); ONE(1, "cvttpd2dq");
	TRY(0, "cvtss2si %%xmm2, %%eax", ""); TRY(0, "cvttss2si %%xmm2, %%eax", "");
	TRY(1, "cvtsd2si %%xmm2, %%eax", ""); TRY(1, "cvttsd2si %%xmm2, %%eax", "");
	TRY(0, "cvtsi2ssl %[number], %%xmm1", ""); TRY(0, "cvtsi2sdl %[number], %%xmm1", "");
	TRY(0, "cvtps2pi %%xmm2, %%mm1\n\tmovq2dq %%mm1, %%xmm1\n\temms", "");
	TRY(0, "cvttps2pi %%xmm2, %%mm1\n\tmovq2dq %%mm1, %%xmm1\n\temms", "");
	TRY(1, "cvtpd2pi %%xmm2, %%mm1\n\tmovq2dq %%mm1, %%xmm1\n\temms", "");
	TRY(1, "cvttpd2pi %%xmm2, %%mm1\n\tmovq2dq %%mm1, %%xmm1\n\temms", "");
	TRY(0, "movdq2q %%xmm2, %%mm1\n\tcvtpi2ps %%mm1, %%xmm1\n\temms", "");
	TRY(0, "movdq2q %%xmm2, %%mm1\n\tcvtpi2pd %%mm1, %%xmm1\n\temms", "");
#ifdef __x86_64__
	TRY(0, "cvtss2si %%xmm2, %%rax\n\tmovq %%rax, %%xmm1", ""); TRY(0, "cvttss2si %%xmm2, %%rax\n\tmovq %%rax, %%xmm1", "");
	TRY(1, "cvtsd2si %%xmm2, %%rax\n\tmovq %%rax, %%xmm1", ""); TRY(1, "cvttsd2si %%xmm2, %%rax\n\tmovq %%rax, %%xmm1", "");
	TRY(1, "cvtsi2ssq %[number], %%xmm1", ""); TRY(1, "cvtsi2sdq %[number], %%xmm1", "");
#endif
}

static void all(const char *what, uint32_t value, int times)
{
	signals = 0;
	control = value;
	for (int n = 0; n < times; n++) {
		arithmetic();
		printf("%s %04x arithmetic %08x, %d signals\n", what, value, sum, signals);
		comparisons();
		printf("%s %04x comparisons %08x, %d signals\n", what, value, sum, signals);
		conversions();
		printf("%s %04x conversions %08x, %d signals\n", what, value, sum, signals);
	}
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };

	sigaction(SIGFPE, &action, NULL);
	for (uint32_t way = 0; way < 16; way++)
		for (int flags = 0; flags < 3; flags++)
			all("masked", 0x1f80 | (way & 3) << 13 | (way & 4) << 13 | (way & 8) << 3 | (flags ? flags * 0x15 : 0), 2);
	for (uint32_t bit = 0; bit < 6; bit++)
		for (int way = 0; way < 2; way++)
			all("unmasked", (0x1f80 & ~(0x80 << bit)) | (way ? 0x8040 : 0), 2);
	all("all unmasked", 0, 6);
	all("as usual", 0x1f80, 6);
	for (int n = 0; n < 16; n++)
		printf("code %d: %d\n", n, codes[n]);
	return done();
}
