/* Settings that are locked: what nobody has locked, bad addresses, and those who may not lock. */
#include "pair.h"

static void outcome(const char *what, int result)
{
	printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done");
}

int main(void)
{
	struct termios locked;

	open_pair();
	for (int side = 0; side < 2; side++) {
		int fd = side ? master : slave, set = 0;

		memset(&locked, 0xff, sizeof locked);
		outcome("ask", ioctl(fd, TIOCGLCKTRMIOS, &locked));
		for (int i = 0; i < 36; i++)
			set += ((unsigned char *)&locked)[i];
		printf("sum %d\n", set);
		outcome("ask, nowhere", ioctl(fd, TIOCGLCKTRMIOS, (void *)8));
	}
	if (geteuid() == 0 && setuid(1000))
		perror("setuid");
	outcome("lock", ioctl(slave, TIOCSLCKTRMIOS, &locked));
	outcome("lock, nowhere", ioctl(slave, TIOCSLCKTRMIOS, (void *)8));
	return 0;
}
