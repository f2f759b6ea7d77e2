#include "common.h"

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t b;
static sem_t sem;
static int turn;
static void *run(void *a)
{
	int me = (int)(intptr_t)a;
	pthread_barrier_wait(&b);
	for (int i = 0; i < 5; i++) {
		pthread_mutex_lock(&m);
		while (turn % 3 != me)
			pthread_cond_wait(&c, &m);
		turn++;
		P("%d", me);
		pthread_cond_broadcast(&c);
		pthread_mutex_unlock(&m);
	}
	sem_post(&sem);
	return 0;
}

int main(void)
{
	pthread_t t[3];
	pthread_barrier_init(&b, 0, 3);
	sem_init(&sem, 0, 0);
	for (int i = 0; i < 3; i++) {
		pthread_create(&t[i], 0, run, (void *)(intptr_t)i);
	}
	for (int i = 0; i < 3; i++)
		sem_wait(&sem);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], 0);
	P("\n");
	struct timespec w;
	clock_gettime(CLOCK_REALTIME, &w);
	w.tv_nsec += 10000000;
	if (w.tv_nsec >= 1000000000)
		w.tv_sec++, w.tv_nsec -= 1000000000;
	pthread_mutex_lock(&m);
	P("%d\n", pthread_cond_timedwait(&c, &m, &w));
	P("%d\n", sem_trywait(&sem));
	P("%d\n", pthread_mutex_trylock(&m));
	return 0;
}
