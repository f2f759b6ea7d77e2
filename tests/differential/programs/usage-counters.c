#include "common.h"

int main(void)
{
	struct rusage a, b;
	getrusage(RUSAGE_SELF, &a);
	char *p = mmap(0, 100 * 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < 100; i++)
		p[i * 4096] = 1;
	getrusage(RUSAGE_SELF, &b);
	P("%d\n", b.ru_minflt - a.ru_minflt >= 100 && b.ru_minflt - a.ru_minflt < 130);
	if (!fork()) {
		for (volatile int i = 0; i < 30000000; i++)
			;
		_exit(0);
	}
	wait(0);
	getrusage(RUSAGE_CHILDREN, &b);
	P("%d\n", b.ru_utime.tv_sec * 1000000 + b.ru_utime.tv_usec > 3000);
	struct tms t;
	P("%d\n", times(&t) > 0);
	E(getrusage(55, &a));
	P("%d\n", b.ru_maxrss > 10);
	return 0;
}
