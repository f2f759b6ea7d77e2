#include "common.h"

int main(void)
{
	struct rlimit r;
	E(getrlimit(RLIMIT_NOFILE, &r));
	P("%d\n", (int)r.rlim_cur);
	r.rlim_cur = 8;
	E(setrlimit(RLIMIT_NOFILE, &r));
	for (int i = 3; i < 9; i++)
		E(open("/dev/null", O_RDONLY));
	E(dup2(0, 8));
	r.rlim_cur = 9999999;
	r.rlim_max = 5;
	E(setrlimit(RLIMIT_NOFILE, &r));
	E(getrlimit(99, &r));
	r.rlim_cur = r.rlim_max = 1000;
	E(setrlimit(RLIMIT_FSIZE, &r));
	signal(SIGXFSZ, SIG_IGN);
	close(7);
	int fd = open("big", O_CREAT | O_WRONLY, 0600);
	char t[2000] = "";
	E(write(fd, t, 2000));
	E(write(fd, t, 1));
	E(ftruncate(fd, 5000));
	return 0;
}
