#include "common.h"

int main(void)
{
	volatile int a = INT_MIN, m = -7;
	volatile unsigned u = 0xdeadbeef;
	volatile long long q = -9000000000LL;
	volatile unsigned char s = 33;
	P("%d %d %u %lld %lld %llu\n", m / 2, m % 3, u >> 7 | u << 25, q / 7, q % 1000,
	  (unsigned long long)q >> 3);
	P("%d %d %d %d\n", __builtin_popcount(u), __builtin_clz(u), __builtin_ctz(u), __builtin_bswap32(u));
	P("%d %u %llx\n", a >> 3, (unsigned)m * u, (unsigned long long)u * u);
	P("%d %x\n", 1 << (s & 31), u << (s & 31));
	signal(SIGFPE, SIG_DFL);
	volatile int zero = 0;
	P("%d\n", m / zero);
	return 0;
}
