#include "common.h"

int main(void)
{
	struct timespec a, b;
	E(clock_gettime(CLOCK_MONOTONIC, &a));
	struct timespec w = {0, 10000000};
	E(nanosleep(&w, 0));
	E(clock_gettime(CLOCK_MONOTONIC, &b));
	long long d = (b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec;
	P("%d\n", d >= 10000000 && d < 30000000000LL);
	E(clock_getres(CLOCK_REALTIME, &a));
	P("%d\n", (int)a.tv_nsec);
	b.tv_nsec += 5000000;
	if (b.tv_nsec > 999999999)
		b.tv_sec++, b.tv_nsec -= 1000000000;
	E(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &b, 0));
	w.tv_nsec = -1;
	E(nanosleep(&w, 0));
	E(clock_gettime(77, &a));
	P("%d\n", time(0) > 1700000000);
	struct timeval v;
	E(gettimeofday(&v, 0));
	E(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a));
	E(clock_settime(CLOCK_MONOTONIC, &a));
	return 0;
}
