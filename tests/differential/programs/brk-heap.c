#include "common.h"

int main(void)
{
	char *a = sbrk(0);
	E(brk(a + 100000) == 0);
	a[99999] = 3;
	P("%d %d\n", a[99999], a[50000]);
	E(brk(a));
	P("%d\n", sbrk(0) == (void *)a);
	return 0;
}
