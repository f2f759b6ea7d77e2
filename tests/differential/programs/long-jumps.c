#include "common.h"

static jmp_buf b;
static void f(int n)
{
	if (!n)
		longjmp(b, 42);
	f(n - 1);
}

int main(void)
{
	volatile int c = 0;
	int r = setjmp(b);
	P("%d\n", r);
	if (c++ < 2)
		f(10);
	longjmp(b, c < 5 ? (c++, 0) : 0 * (_exit(c), 1));
	return 0;
}
