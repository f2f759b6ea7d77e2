#include "common.h"

int main(void)
{
	put("f", "x");
	struct timespec t[2] = {{1000, 123456789}, {0, UTIME_OMIT}};
	struct stat s, u;
	stat("f", &s);
	E(utimensat(AT_FDCWD, "f", t, 0));
	stat("f", &u);
	P("%d %d %d\n", (int)u.st_atim.tv_sec, (int)u.st_atim.tv_nsec,
	  u.st_mtim.tv_nsec == s.st_mtim.tv_nsec);
	t[1].tv_nsec = 1000000000;
	E(utimensat(AT_FDCWD, "f", t, 0));
	int fd = open("f", O_RDWR);
	struct timespec w[2] = {{5, 5}, {6, 6}};
	E(futimens(fd, w));
	E(write(fd, "y", 1));
	fstat(fd, &u);
	P("%d %d\n", (int)u.st_atime, u.st_mtime > 1000000);
	E(utimes("none", 0));
	return 0;
}
