#include "common.h"

int main(void)
{
	unsigned char v[4];
	char *p = mmap(0, 16384, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p[0] = p[8192] = 5;
	E(mincore(p, 16384, v));
	P("%d%d%d%d\n", v[0] & 1, v[1] & 1, v[2] & 1, v[3] & 1);
	E(madvise(p, 16384, MADV_DONTNEED));
	P("%d %d\n", p[0], p[8192]);
	E(madvise(p, 16384, 9999));
	E(madvise(p + 1, 1, MADV_NORMAL));
	E(mlock(p, 4096));
	E(munlock(p, 4096));
	E(mincore(p + 1, 1, v));
	return 0;
}
