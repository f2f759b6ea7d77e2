#include "common.h"

int main(void)
{
	unsigned seed = 7, sum = 0;
	char *a[200] = {0};
	for (int i = 0; i < 20000; i++) {
		seed = seed * 1103515245 + 12345;
		int k = seed >> 16 & 127, n = (seed >> 8) % 3000 + 1;
		free(a[k]);
		a[k] = malloc(n);
		memset(a[k], k, n);
		sum += a[k][n - 1];
	}
	P("%u\n", sum);
	char *big = calloc(1, 50 << 20);
	P("%d\n", big[49 << 20]);
	big = realloc(big, 60 << 20);
	big[59 << 20] = 1;
	free(big);
	P("%d\n", malloc(SIZE_MAX / 2) == 0);
	return 0;
}
