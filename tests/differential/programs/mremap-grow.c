#include "common.h"

int main(void)
{
	char *p = mmap(0, 8192, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(p + 4096, "kept");
	p = mremap(p, 8192, 1 << 20, MREMAP_MAYMOVE);
	P("%s\n", p + 4096);
	p[(1 << 20) - 1] = 7;
	p = mremap(p, 1 << 20, 8192, 0);
	P("%s\n", p + 4096);
	E(mremap(p, 8192, 0, 0));
	E((mremap(p + 1, 4096, 4096, 0)));
	return 0;
}
