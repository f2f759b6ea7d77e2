#include "common.h"

static volatile int depth, most, order[20], n;
static void on(int s)
{
	order[n++] = s;
	if (++depth > most)
		most = depth;
	if (n == 1)
		raise(s);
	depth--;
}

int main(void)
{
	struct sigaction a = {.sa_handler = on}, o;
	sigaction(SIGUSR1, &a, 0);
	raise(SIGUSR1);
	P("%d %d\n", n, most);
	a.sa_flags = SA_NODEFER;
	most = n = 0;
	sigaction(SIGUSR1, &a, 0);
	raise(SIGUSR1);
	P("%d %d\n", n, most);
	a.sa_flags = SA_RESETHAND;
	n = 5;
	sigaction(SIGUSR2, &a, 0);
	raise(SIGUSR2);
	sigaction(SIGUSR2, 0, &o);
	P("%d\n", o.sa_handler == SIG_DFL);
	E(sigaction(SIGKILL, &a, 0));
	E(sigaction(99, &a, 0));
	E(raise(0));
	E(kill(getpid(), 77));
	return 0;
}
