/*
 * N: N rounds of clock_gettime and gettimeofday; with a second argument also of time and sched_getcpu, which not every
 * libc asks the vDSO.  0: comparison with the kernel's answers.  Real time at the end goes to standard error.
 */
#include "check.h"
#include <sched.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#define SECOND 1000000000LL

static long long read_clock(clockid_t clock)
{
	struct timespec now = {0, 0};

	clock_gettime(clock, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

static long long ask_kernel(clockid_t clock)
{
#ifdef SYS_clock_gettime64
	long long now[2] = {0, 0};

	syscall(SYS_clock_gettime64, clock, now);
#else
	long now[2] = {0, 0};

	syscall(SYS_clock_gettime, clock, now);
#endif
	return now[0] * SECOND + now[1];
}

/* How often a clock went back, read through the vDSO and from the kernel in turn. */
static int steps_back(clockid_t clock)
{
	long long last = 0, now;
	int back = 0;

	for (int n = 0; n < 4000; n++) {
		now = n % 4 ? read_clock(clock) : ask_kernel(clock);
		back += now < last;
		last = now;
	}
	return back;
}

static void compare(void)
{
	struct timeval day;
	struct timespec now;
	long long before, after;
	unsigned cpu = 7, node = 7;

	EQUAL("CLOCK_REALTIME", steps_back(CLOCK_REALTIME), 0);
	EQUAL("CLOCK_MONOTONIC", steps_back(CLOCK_MONOTONIC), 0);
	EQUAL("CLOCK_BOOTTIME", steps_back(CLOCK_BOOTTIME), 0);
	before = ask_kernel(CLOCK_REALTIME);
	gettimeofday(&day, NULL);
	after = ask_kernel(CLOCK_REALTIME);
	CHECK("gettimeofday", day.tv_sec * SECOND + day.tv_usec * 1000LL >= before - 1000);
	CHECK("gettimeofday", day.tv_sec * SECOND + day.tv_usec * 1000LL <= after);
	/* time() may lag behind by a tick of the coarse clock, over the edge of a second. */
	CHECK("time", time(NULL) >= after / SECOND - 1 && time(NULL) - after / SECOND < 60);
	ERRNO("a clock of the process", clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
	ERRNO("no clock", clock_gettime(77, &now), EINVAL);
	ERRNO("getcpu", syscall(SYS_getcpu, &cpu, &node, NULL), 0);
	CHECK("sched_getcpu", sched_getcpu() >= 0);
}

int main(int argc, char **argv)
{
	long rounds = atol(argv[1]), sum = 0;
	struct timeval day;

	for (int i = 0; i < 100; i++)
		usleep(3000); /* the kernel watches the processor's counter before it trusts it */
	for (long i = 0; i < rounds; i++) {
		sum += read_clock(CLOCK_MONOTONIC) > 0;
		sum += read_clock(CLOCK_REALTIME) > 0;
		sum += read_clock(CLOCK_MONOTONIC_COARSE) > 0;
		sum += !gettimeofday(&day, NULL);
		if (argc > 2)
			sum += (time(NULL) > 0) + (sched_getcpu() >= 0);
	}
	if (rounds)
		EQUAL("rounds", sum, rounds * (argc > 2 ? 6 : 4));
	else
		compare();
	fprintf(stderr, "%lld\n", read_clock(CLOCK_REALTIME));
	return done();
}
