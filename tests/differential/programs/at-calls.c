#include "common.h"

int main(void)
{
	mkdir("d", 0755);
	int fd = open("d", O_DIRECTORY | O_PATH);
	struct stat s;
	E(openat(fd, "f", O_CREAT | O_RDWR, 0640));
	E(fstatat(fd, "f", &s, 0));
	P("%o\n", s.st_mode);
	E(mkdirat(fd, "g", 0700));
	E(symlinkat("f", fd, "l"));
	E(faccessat(fd, "l", R_OK, 0));
	E(unlinkat(fd, "g", 0));
	E(unlinkat(fd, "g", AT_REMOVEDIR));
	E(read(fd, &s, 1));
	E(fchmod(fd, 0700));
	E(fchmodat(fd, "f", 0600, 0));
	E(renameat(fd, "f", AT_FDCWD, "h"));
	E(openat(99, "x", 0));
	E(openat(4, "x", 0));
	E(fchdir(fd));
	E(access("l", F_OK));
	return 0;
}
