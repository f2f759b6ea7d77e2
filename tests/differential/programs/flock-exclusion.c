#include "common.h"

int main(void)
{
	int a = open("k", O_RDWR | O_CREAT, 0600), b = open("k", O_RDWR);
	E(flock(a, LOCK_EX));
	E(flock(b, LOCK_SH | LOCK_NB));
	E(flock(a, LOCK_SH));
	E(flock(b, LOCK_SH | LOCK_NB));
	E(flock(b, LOCK_EX | LOCK_NB));
	E(close(a));
	E(flock(b, LOCK_EX | LOCK_NB));
	E(flock(b, 77));
	E(flock(99, LOCK_EX));
	return 0;
}
