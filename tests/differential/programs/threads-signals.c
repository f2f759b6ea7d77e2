#include "common.h"

static volatile sig_atomic_t n;
static volatile int begun[4];
static __thread int id;
static void on(int s)
{
	(void)s;
	n = id;
}

static void *run(void *a)
{
	id = (int)(intptr_t)a;
	begun[id] = 1;
	while (n != id)
		usleep(500);
	return 0;
}

int main(void)
{
	signal(SIGUSR1, on);
	pthread_t t[3];
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], 0, run, (void *)(intptr_t)(i + 1));
	for (int i = 2; i >= 0; i--) {
		while (!begun[i + 1])
			usleep(5000);
		P("%d\n", pthread_kill(t[i], SIGUSR1));
		pthread_join(t[i], 0);
		P("%d\n", n);
	}
	P("%d\n", getpid() == syscall(SYS_gettid));
	return 0;
}
