#include "common.h"

int main(void)
{
	int fd = open("k", O_RDWR | O_CREAT, 0600);
	struct flock l = {.l_type = F_WRLCK, .l_start = 10, .l_len = 20};
	E(fcntl(fd, F_SETLK, &l));
	if (!fork()) {
		struct flock m = {.l_type = F_RDLCK, .l_len = 0};
		E(fcntl(fd, F_SETLK, &m));
		E(fcntl(fd, F_GETLK, &m));
		P("%d %d %d\n", m.l_type, (int)m.l_start, (int)m.l_len);
		m.l_start = 30;
		m.l_type = F_WRLCK;
		m.l_len = 5;
		E(fcntl(fd, F_SETLK, &m));
		_exit(0);
	}
	wait(0);
	l.l_type = F_UNLCK;
	E(fcntl(fd, F_SETLK, &l));
	return 0;
}
