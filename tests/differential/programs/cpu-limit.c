#include "common.h"

int main(void)
{
	struct rlimit r = {1, 2};
	int s;
	if (!fork()) {
		setrlimit(RLIMIT_CPU, &r);
		for (volatile long i = 0;; i++)
			;
	}
	wait(&s);
	status_of(s);
	return 0;
}
