#include "common.h"

static volatile int stop, a, b;
static void *one(void *x)
{
	(void)x;
	while (!stop)
		a++;
	return 0;
}

static void *two(void *x)
{
	(void)x;
	while (!stop)
		b++;
	return 0;
}

int main(void)
{
	pthread_t t, u;
	pthread_create(&t, 0, one, 0);
	pthread_create(&u, 0, two, 0);
	while (a < 1000 || b < 1000)
		usleep(1000);
	stop = 1;
	pthread_join(t, 0);
	pthread_join(u, 0);
	P("both\n");
	return 0;
}
