#include "common.h"

int main(void)
{
	char t[5000];
	memset(t, 'n', 5000);
	t[256] = 0;
	E(open(t, O_CREAT, 0600) < 0);
	t[256] = 'n';
	t[255] = 0;
	E(open(t, O_CREAT, 0600) >= 0);
	t[255] = 'n';
	t[4999] = 0;
	E(access(t, F_OK));
	for (int i = 0; i < 4095; i++)
		t[i] = i & 1 ? '/' : '.';
	t[4095] = 0;
	E(access(t, F_OK));
	t[4095] = '.';
	t[4096] = 0;
	E(access(t, F_OK));
	E(access((char *)8, F_OK));
	E(open((char *)-1L, O_RDONLY));
	E(write(1, (char *)8, 5));
	return 0;
}
