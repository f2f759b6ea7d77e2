#include "common.h"

int main(void)
{
	put("u", "still here");
	int fd = open("u", O_RDWR);
	E(unlink("u"));
	char t[20] = "";
	E(read(fd, t, 20));
	P("%s\n", t);
	struct stat s;
	E(fstat(fd, &s));
	P("%d\n", (int)s.st_nlink);
	E(write(fd, "more", 4));
	E(open("u", O_RDONLY));
	char *m = mmap(0, 14, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	P("%.14s\n", m);
	return 0;
}
