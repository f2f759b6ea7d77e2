#include "common.h"

static void *run(void *a)
{
	(void)a;
	usleep(20000);
	exit(9);
}

int main(void)
{
	pthread_t t;
	pthread_create(&t, 0, run, 0);
	atexit((void (*)(void))0 ? 0 : (void (*)(void))sync);
	for (;;)
		pause();
	return 0;
}
