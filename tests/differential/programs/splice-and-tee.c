#include "common.h"

int main(void)
{
	int p[2], q[2];
	char t[9] = "";
	put("f", "spliced!");
	int fd = open("f", O_RDWR);
	pipe(p);
	pipe(q);
	E(splice(fd, 0, p[1], 0, 8, 0));
	E(tee(p[0], q[1], 4, 0));
	E(read(q[0], t, 8));
	P("%s\n", t);
	loff_t at = 8;
	E(splice(p[0], 0, fd, &at, 8, 0));
	show("f");
	E(splice(fd, 0, fd, 0, 1, 0));
	struct iovec v = {"vm", 2};
	E(vmsplice(p[1], &v, 1, 0));
	E(read(p[0], t, 9));
	E(splice(p[0], 0, q[1], 0, 1, SPLICE_F_NONBLOCK));
	E(splice(99, 0, p[1], 0, 1, 0));
	return 0;
}
