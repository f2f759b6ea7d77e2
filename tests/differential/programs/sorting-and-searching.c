#include "common.h"

static int by(const void *a, const void *b)
{
	return *(int *)a - *(int *)b;
}

int main(void)
{
	int a[500], k = 77;
	unsigned s = 1;
	for (int i = 0; i < 500; i++)
		a[i] = (s = s * 69069 + 1) >> 20;
	qsort(a, 500, sizeof *a, by);
	int ok = 1;
	for (int i = 1; i < 500; i++)
		ok &= a[i - 1] <= a[i];
	P("%d %d %d\n", ok, a[0], a[499]);
	k = a[250];
	P("%d\n", *(int *)bsearch(&k, a, 500, sizeof *a, by) == k);
	hcreate(50);
	hsearch((ENTRY){"key", "value"}, ENTER);
	P("%s\n", (char *)hsearch((ENTRY){"key", 0}, FIND)->data);
	srand(5);
	P("%d\n", rand() >= 0);
	return 0;
}
