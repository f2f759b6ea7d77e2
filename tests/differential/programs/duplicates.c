#include "common.h"

int main(void)
{
	put("d", "0123456789");
	int fd = open("d", O_RDONLY);
	char c;
	E(dup(fd));
	E(dup2(fd, 20));
	E(read(20, &c, 1));
	E(read(fd, &c, 1));
	P("%c\n", c);
	E(dup2(fd, fd));
	E(dup2(99, 5));
	E(dup3(fd, fd, 0));
	E(dup3(fd, 30, O_CLOEXEC));
	E(fcntl(30, F_GETFD));
	E(fcntl(fd, F_DUPFD, 50));
	E(fcntl(fd, F_DUPFD_CLOEXEC, 50));
	E(fcntl(fd, F_GETFL) & O_ACCMODE);
	E(close(99));
	E(syscall(SYS_close_range, 20, 60, 0));
	E(fcntl(20, F_GETFD));
	return 0;
}
