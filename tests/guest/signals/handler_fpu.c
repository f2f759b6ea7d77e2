/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A handler begins with the x87 and SSE state of a new program; what it interrupts has its own again afterwards. */
#include "check.h"
#include <signal.h>
#include <string.h>

struct state {
	unsigned short control, status;
	unsigned mxcsr;
	unsigned char xmm5[16], environment[28];
};

#define LOOK(s) \
	__asm__ volatile("fnstcw %0\n\tfnstsw %1\n\tstmxcsr %2\n\tmovups %%xmm5, %3\n\tfnstenv %4\n\tfldenv %4" \
			 : "=m"((s).control), "=m"((s).status), "=m"((s).mxcsr), "=m"((s).xmm5), "=m"((s).environment))

static struct state inside[2];
static int depth;

static void show(const char *where, struct state *s)
{
	printf("%s: control %x status %x mxcsr %x xmm5 %02x%02x tags %02x%02x\n", where, s->control, s->status, s->mxcsr,
	       s->xmm5[0], s->xmm5[15], s->environment[8], s->environment[9]);
}

static void handler(int signo)
{
	unsigned other = 0x5f80;

	LOOK(inside[depth]);
	__asm__ volatile("fninit\n\tfldz\n\tldmxcsr %0\n\tpcmpeqd %%xmm5, %%xmm5" ::"m"(other) : "xmm5");
	if (depth++ == 0)
		raise(signo);
}

static void compute(int signo)
{
	volatile long double three = 1.5L;

	(void)signo;
	three = three * 2;
	printf("a handler of SIGFPE got %d\n", (int)three);
	exit(done());
}

int main(void)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};
	unsigned short control = 0x27f, unmasked = 0x37b;
	unsigned mxcsr = 0x7f80;
	unsigned char bytes[16];
	struct state after;

	memset(bytes, 0xab, sizeof bytes);
	sigaction(SIGUSR1, &action, NULL);
	for (int turn = 0; turn < 3; turn++) {
		depth = 0;
		__asm__ volatile("fninit\n\tfldcw %0\n\tldmxcsr %1\n\tmovups %2, %%xmm5\n\tfld1\n\tfldpi" ::"m"(control),
				 "m"(mxcsr), "m"(bytes)
				 : "xmm5");
		kill(getpid(), SIGUSR1);
		LOOK(after);
		__asm__ volatile("fninit");
		mxcsr = 0x1f80;
		__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
		mxcsr = 0x7f80;
		show("a handler", &inside[0]);
		show("one in it", &inside[1]);
		show("after both", &after);
	}
	action.sa_handler = compute;
	sigaction(SIGFPE, &action, NULL);
	__asm__ volatile("fldcw %0\n\tfldz\n\tfld1\n\tfdivp\n\tfwait" ::"m"(unmasked));
	return 1;
}
