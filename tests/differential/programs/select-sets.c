#include "common.h"

int main(void)
{
	int p[2];
	pipe(p);
	fd_set r, w;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(p[0], &r);
	FD_SET(p[1], &w);
	struct timeval t = {0, 5000};
	E(select(p[1] + 1, &r, &w, 0, &t));
	P("%d %d\n", !!FD_ISSET(p[0], &r), !!FD_ISSET(p[1], &w));
	FD_ZERO(&r);
	FD_SET(p[0], &r);
	t.tv_usec = 20000;
	E(select(p[1] + 1, &r, 0, 0, &t));
	P("%d %d\n", (int)t.tv_sec, (int)t.tv_usec);
	FD_SET(60, &r);
	E(select(61, &r, 0, 0, &t));
	E(select(-1, 0, 0, 0, &t));
	return 0;
}
