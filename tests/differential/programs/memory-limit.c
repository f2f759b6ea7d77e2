#include "common.h"

int main(void)
{
	struct rlimit r = {100 << 20, 100 << 20};
	E(setrlimit(RLIMIT_AS, &r));
	P("%d\n", malloc(200 << 20) == 0);
	P("%s\n", strerror(errno));
	P("%d\n", malloc(1 << 20) != 0);
	E(fork() == 0 ? (_exit(0), 0) : wait(0) > 0);
	return 0;
}
