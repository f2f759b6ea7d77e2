#include "common.h"

int main(void)
{
	umask(0);
	E(open("a", O_CREAT | O_RDONLY, 0666));
	E(umask(027));
	E(mkdir("d", 0777));
	E(open("b", O_CREAT | O_RDONLY, 0777));
	struct stat s;
	stat("a", &s);
	P("%o ", s.st_mode);
	stat("d", &s);
	P("%o ", s.st_mode);
	stat("b", &s);
	P("%o\n", s.st_mode);
	E(chmod("a", 06755));
	stat("a", &s);
	P("%o\n", s.st_mode);
	int fd = open("a", O_WRONLY);
	E(write(fd, "x", 1));
	stat("a", &s);
	P("%o\n", s.st_mode);
	E(access("b", X_OK));
	E(access("none", F_OK));
	E(access("b", 99));
	E(mkfifo("p", 0666));
	stat("p", &s);
	P("%o\n", s.st_mode);
	return 0;
}
