/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one process does to the state of its FPU is nothing to another's handlers.  A processor takes the first one's
   instructions for PALIGNR of MM0; the engine writes beyond its registers of the x87. */
#include "check.h"
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static volatile int handled;
static unsigned char results[2][64];

static void compute(unsigned char *to)
{
	volatile long double one = 1.0L, three = 3.0L, least = 3.3621e-4932L, payload = __builtin_nanl("0x1234");
	long double values[4];

	values[0] = one / three;
	values[1] = least / three; /* denormal */
	values[2] = payload * three;
	values[3] = values[1] * three;
	memset(to, 0, 64);
	for (int i = 0; i < 4; i++)
		memcpy(to + 16 * i, &values[i], 10);
}

static void handler(int signo)
{
	(void)signo;
	if (handled++ < 2)
		compute(results[handled - 1]);
}

static void spoil(void)
{
	unsigned long long bits = 0x0303030303030303ULL;

	__asm__ volatile("movq %0, %%mm0" ::"m"(bits));
	__asm__ volatile(".byte 0x44,0x0f,0x3a,0x0f,0xc0,0\n\t.byte 0x44,0x0f,0x3a,0x0f,0xc8,0\n\t"
			 ".byte 0x44,0x0f,0x3a,0x0f,0xd0,0\n\t.byte 0x44,0x0f,0x3a,0x0f,0xd8,0\n\temms");
}

int main(void)
{
	unsigned char before[64];
	int go[2], done_[2], status;
	char c;

	compute(before);
	signal(SIGUSR1, handler);
	if (pipe(go) || pipe(done_))
		return 2;
	if (!fork()) {
		spoil();
		handled = 2;
		for (int i = 0; i < 3; i++)
			raise(SIGUSR1);
		if (write(done_[1], "x", 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(1);
		_exit(0);
	}
	EQUAL("the other has spoilt its own", (int)read(done_[0], &c, 1), 1);
	raise(SIGUSR1);
	raise(SIGUSR1);
	EQUAL("the first handler", memcmp(results[0], before, 64), 0);
	EQUAL("the second handler", memcmp(results[1], before, 64), 0);
	compute(before);
	EQUAL("afterwards", memcmp(results[1], before, 64), 0);
	if (write(go[1], "x", 1) != 1)
		return 3;
	wait(&status);
	return done();
}
