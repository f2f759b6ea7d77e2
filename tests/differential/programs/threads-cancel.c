#include "common.h"

static void clean(void *a)
{
	P("cleaned %s\n", (char *)a);
}

static void *run(void *a)
{
	pthread_cleanup_push(clean, a);
	for (;;)
		usleep(1000);
	pthread_cleanup_pop(0);
	return 0;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void init(void)
{
	P("once\n");
}

static pthread_key_t key;
static volatile int ended;
static void gone(void *v)
{
	P("key %s\n", (char *)v);
	ended++;
}

static void *other(void *a)
{
	pthread_once(&once, init);
	pthread_setspecific(key, a);
	pthread_exit("result");
}

int main(void)
{
	pthread_t t;
	void *v;
	pthread_create(&t, 0, run, "up");
	usleep(5000);
	int cancelled = pthread_cancel(t);
	pthread_join(t, &v);
	P("%d %d\n", cancelled, v == PTHREAD_CANCELED);
	pthread_key_create(&key, gone);
	pthread_create(&t, 0, other, "value");
	pthread_join(t, &v);
	P("%s\n", (char *)v);
	pthread_once(&once, init);
	pthread_create(&t, 0, other, "detached");
	pthread_detach(t);
	while (ended < 2)
		usleep(1000);
	return 0;
}
