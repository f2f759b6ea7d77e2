#include "common.h"

int main(void)
{
	int *s = mmap(0, 4096, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
	    *v = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*s = *v = 1;
	if (!fork()) {
		*s = 5;
		*v = 5;
		_exit(0);
	}
	wait(0);
	P("%d %d\n", *s, *v);
	return 0;
}
