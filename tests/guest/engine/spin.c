/* Threads that contend for a mutex, a spin that only another thread can end, and one that only a timer can. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/time.h>

enum { THREADS = 4, ROUNDS = 10000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int counted;
static atomic_int peer;
static volatile sig_atomic_t alarmed;

static void *count(void *unused)
{
	(void)unused;
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&lock);
		counted++;
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *answer(void *unused)
{
	(void)unused;
	while (atomic_load(&peer) != 1)
		;
	atomic_store(&peer, 2);
	return NULL;
}

static void on_alarm(int signo)
{
	(void)signo;
	alarmed = 1;
}

int main(void)
{
	pthread_t threads[THREADS], other;
	struct itimerval soon = {.it_value = {.tv_usec = 20000}};

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, count, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);

	pthread_create(&other, NULL, answer, NULL);
	atomic_store(&peer, 1);
	while (atomic_load(&peer) != 2)
		;
	pthread_join(other, NULL);

	signal(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &soon, NULL);
	while (!alarmed)
		;
	printf("counted %d, alarm seen, peer seen\n", counted);
	return 0;
}
