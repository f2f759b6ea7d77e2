/* Threads: creation, joining, mutexes and conditions (futex), thread-local memory, faults in a thread. */
#include "check.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static __thread int own = 5;
static int counter, turn, atomic_counter;
static char *shared;

static void *add(void *argument)
{
	int i;

	own = (int)(intptr_t)argument;
	for (i = 0; i < 500; i++) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
		__sync_fetch_and_add(&atomic_counter, 1);
	}
	return (void *)(intptr_t)(own * 2);
}

static void *take_turns(void *argument)
{
	int me = (int)(intptr_t)argument, i;

	for (i = 0; i < 50; i++) {
		pthread_mutex_lock(&lock);
		while (turn != me)
			pthread_cond_wait(&condition, &lock);
		turn = !me;
		pthread_cond_broadcast(&condition);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *meet(void *argument)
{
	(void)argument;
	return (void *)(intptr_t)(pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD);
}

static void *map_some(void *argument)
{
	(void)argument;
	shared = anonymous(2);
	shared[0] = 't';
	return shared;
}

static void *numbers(void *argument)
{
	long *both = argument;

	both[0] = getpid();
	both[1] = syscall(SYS_gettid);
	return NULL;
}

static int busy_done;

static void *busy(void *argument)
{
	(void)argument;
	while (!__atomic_load_n(&busy_done, __ATOMIC_SEQ_CST))
		;
	return NULL;
}

int main(void)
{
	pthread_t threads[8];
	struct timespec soon;
	void *result;
	long both[2], sum = 0;
	int i, word = 7;

	for (i = 0; i < 8; i++)
		if (pthread_create(&threads[i], NULL, add, (void *)(intptr_t)(i + 1)))
			return 2;
	for (i = 0; i < 8; i++) {
		pthread_join(threads[i], &result);
		sum += (intptr_t)result;
	}
	EQUAL("results", sum, 72);
	EQUAL("a mutex", counter, 4000);
	EQUAL("an atomic addition", atomic_counter, 4000);
	EQUAL("thread-local memory", own, 5);

	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, take_turns, (void *)(intptr_t)i);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	EQUAL("a condition", turn, 0);

	pthread_barrier_init(&barrier, NULL, 4);
	for (sum = i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, meet, NULL);
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &result);
		sum += (intptr_t)result;
	}
	EQUAL("a barrier", sum, 1);

	pthread_create(&threads[0], NULL, map_some, NULL);
	pthread_join(threads[0], &result);
	EQUAL("one address space", ((char *)result)[0], 't');
	pthread_create(&threads[0], NULL, numbers, both);
	pthread_join(threads[0], NULL);
	CHECK("one process, two threads", both[0] == getpid() && both[1] != getpid() && syscall(SYS_gettid) == getpid());

	/* Neither thread makes a system call while the other is to run. */
	pthread_create(&threads[0], NULL, busy, NULL);
	for (i = 0; i < 2000000; i++)
		__asm__ volatile("");
	__atomic_store_n(&busy_done, 1, __ATOMIC_SEQ_CST);
	pthread_join(threads[0], NULL);
	CHECK("a thread that only computes is interrupted", 1);

	pthread_mutex_lock(&lock);
	clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_nsec += 10000000;
	if (soon.tv_nsec >= 1000000000) {
		soon.tv_nsec -= 1000000000;
		soon.tv_sec++;
	}
	EQUAL("a condition that times out", pthread_cond_timedwait(&condition, &lock, &soon), ETIMEDOUT);
	EQUAL("a mutex that is taken", pthread_mutex_trylock(&lock), EBUSY);
	ERRNO("futex: another value", syscall(SYS_futex, &word, 0, 8, NULL), EAGAIN);
	ERRNO("futex: unknown operation", syscall(SYS_futex, &word, 99, 8, NULL), ENOSYS);
	EQUAL("futex: nobody to wake", syscall(SYS_futex, &word, 1, 8, NULL), 0);
	return done();
}
