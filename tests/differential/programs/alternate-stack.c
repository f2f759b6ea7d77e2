#include "common.h"

static char *base;
static void on(int s)
{
	char here;
	P("%d %d\n", s, &here > base && &here < base + 65536);
	stack_t o;
	sigaltstack(0, &o);
	P("%d\n", o.ss_flags);
	_exit(3);
}

static int down(volatile char *p)
{
	volatile char b[5000];
	b[0] = *p;
	return down(b) + b[0];
}

int main(void)
{
	base = malloc(65536);
	stack_t k = {.ss_sp = base, .ss_size = 65536};
	E(sigaltstack(&k, 0));
	struct sigaction a = {.sa_handler = on, .sa_flags = SA_ONSTACK};
	sigaction(SIGSEGV, &a, 0);
	char c = 0;
	k.ss_size = 10;
	E(sigaltstack(&k, 0));
	down(&c);
	return 0;
}
