/* COUNT threads at once: a lock that all want, a barrier that all reach, a condition that all wait for, TLS of each. */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST 1000
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t start = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t done;
static int total, going, serial;
static __thread int mine;

static void *work(void *number)
{
	int i;

	mine = (int)(long)number;
	pthread_mutex_lock(&lock);
	while (!going)
		pthread_cond_wait(&start, &lock);
	pthread_mutex_unlock(&lock);
	for (i = 0; i < 20; i++) {
		pthread_mutex_lock(&lock);
		total++;
		pthread_mutex_unlock(&lock);
	}
	if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD)
		serial++;
	sem_post(&done);
	return (void *)(long)(mine * 2);
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 200, i, good = 0;
	static pthread_t threads[MOST];
	void *result;

	pthread_barrier_init(&barrier, NULL, count);
	sem_init(&done, 0, 0);
	for (i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)(long)i))
			return 1;
	pthread_mutex_lock(&lock);
	going = 1;
	pthread_cond_broadcast(&start);
	pthread_mutex_unlock(&lock);
	for (i = 0; i < count; i++)
		sem_wait(&done);
	for (i = 0; i < count; i++) {
		pthread_join(threads[i], &result);
		good += (long)result == i * 2;
	}
	printf("%d threads, %d right, total %d, serial %d\n", count, good, total, serial);
	return 0;
}
