/* FUTEX_LOCK_PI where the owner waits for the caller, through any number of others: EDEADLK. */
#include "check.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

#define MOST 20

static int words[MOST];
static volatile int ready, waiting;

static long lock(int n)
{
	return syscall(SYS_futex, &words[n], FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
}

static void unlock(int n)
{
	syscall(SYS_futex, &words[n], FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
}

/* Owns its own futex and then waits for that of the thread before it. */
static void *member(void *number)
{
	int n = (long)number;

	lock(n);
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (waiting < n - 1)
		usleep(1000);
	__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST);
	EQUAL("it was handed over", lock(n - 1), 0);
	unlock(n - 1);
	unlock(n);
	return NULL;
}

static void ring(int size)
{
	pthread_t threads[MOST];
	long n;

	ready = waiting = 0;
	EQUAL("the first", lock(0), 0);
	for (n = 1; n < size; n++)
		pthread_create(&threads[n], NULL, member, (void *)n);
	while (ready < size - 1 || waiting < size - 1)
		usleep(1000);
	for (n = 0; n < size - 1; n++) /* until each of them is asleep there */
		while (!(*(volatile int *)&words[n] & FUTEX_WAITERS))
			usleep(1000);
	ERRNO("the ring is closed", lock(size - 1), EDEADLK);
	unlock(0);
	for (n = 1; n < size; n++)
		pthread_join(threads[n], NULL);
}

int main(void)
{
	ring(2);
	ring(3);
	ring(MOST);
	return done();
}
