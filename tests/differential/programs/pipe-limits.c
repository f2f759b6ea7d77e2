#include "common.h"

int main(void)
{
	int p[2];
	char t[70000];
	memset(t, 'x', sizeof t);
	E(pipe2(p, O_NONBLOCK));
	E(fcntl(p[0], F_GETPIPE_SZ));
	E(write(p[1], t, 70000));
	E(write(p[1], t, 1));
	E(read(p[0], t, 4095));
	E(write(p[1], t, 4096));
	E(read(p[0], t, 1));
	E(write(p[1], t, 4096));
	E(fcntl(p[0], F_SETPIPE_SZ, 4096));
	E(pipe2(p, 0x5555));
	close(p[0]);
	signal(SIGPIPE, SIG_IGN);
	E(write(p[1], t, 1));
	E(pipe2(p, O_CLOEXEC));
	E(fcntl(p[1], F_GETFD));
	struct stat s;
	fstat(p[0], &s);
	P("%o %d\n", s.st_mode, (int)s.st_size);
	E(lseek(p[0], 0, 0));
	return 0;
}
