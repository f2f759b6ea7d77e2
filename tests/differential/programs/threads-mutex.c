#include "common.h"

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static int n;
static __thread int mine;
static void *run(void *a)
{
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&m);
		n++;
		mine++;
		pthread_mutex_unlock(&m);
		if (i % 100 == 0)
			sched_yield();
	}
	return (void *)(intptr_t)(mine + (int)(intptr_t)a);
}

int main(void)
{
	pthread_t t[10];
	for (int i = 0; i < 10; i++)
		pthread_create(&t[i], 0, run, (void *)(intptr_t)i);
	long s = 0;
	for (int i = 0; i < 10; i++) {
		void *v;
		pthread_join(t[i], &v);
		s += (intptr_t)v;
	}
	P("%d %ld %d\n", n, s, mine);
	return 0;
}
