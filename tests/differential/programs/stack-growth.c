#include "common.h"

static int deep(int n)
{
	volatile char b[4000];
	b[0] = n;
	return n ? deep(n - 1) + b[0] * 0 + 1 : 0;
}

int main(void)
{
	P("%d\n", deep(1500));
	struct rlimit r;
	getrlimit(RLIMIT_STACK, &r);
	P("%llu\n", (unsigned long long)r.rlim_cur);
	return 0;
}
