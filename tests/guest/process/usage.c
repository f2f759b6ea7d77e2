/* Processor time up to now, for a process that has not slept: getrusage, times, /proc; and what a child adds to /proc/stat. */
#include "check.h"
#include <sys/resource.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>

static volatile long counter;

/* Work until so much time is over; how much of it was ours depends on who else is there, but some milliseconds. */
static void work(long milliseconds)
{
	struct timespec start, now;
	int rounds = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		for (long n = 0; n < 20000; n++)
			counter++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < milliseconds || ++rounds < 150);
}

static long used(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

/* Two numbers of a line of /proc, those after `skip` words. */
static long two_of(const char *name, int skip)
{
	char text[1000] = "", *at = text;
	FILE *file = fopen(name, "r");
	long first;

	if (!file || !fgets(text, sizeof text, file))
		_exit(2);
	fclose(file);
	while (skip--)
		at += strcspn(at, " "), at += strspn(at, " ");
	first = strtol(at, &at, 10);
	return first + strtol(at, NULL, 10);
}

int main(void)
{
	struct tms ticks;
	long before, later, all;

	before = used(RUSAGE_SELF);
	work(150);
	later = used(RUSAGE_SELF);
	CHECK("RUSAGE_SELF has grown", later - before > 1000);
	work(150);
	CHECK("RUSAGE_THREAD too", used(RUSAGE_THREAD) > later);
	before = used(RUSAGE_SELF);
	times(&ticks);
	/* Each is rounded down; where HZ is 250 a 64-bit kernel rounds twice for an i386 program (COMPAT_USER_HZ). */
	CHECK("times", (ticks.tms_utime + ticks.tms_stime + 4) * 10000L >= before);
	CHECK("/proc/self/stat", (two_of("/proc/self/stat", 13) + 2) * 10000L >= before);
	all = two_of("/proc/stat", 1);
	if (!fork()) {
		work(100);
		_exit(0);
	}
	wait(NULL);
	CHECK("RUSAGE_CHILDREN", used(RUSAGE_CHILDREN) > 1000);
	CHECK("/proc/stat keeps what the dead have used", two_of("/proc/stat", 1) >= all);
	return done();
}
