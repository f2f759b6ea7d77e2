#include "common.h"

int main(void)
{
	put("f", "x");
	struct stat s;
	E(chown("f", 5, 6));
	stat("f", &s);
	P("%d %d\n", (int)s.st_uid, (int)s.st_gid);
	E(chown("f", -1, 7));
	symlink("f", "l");
	E(lchown("l", 8, 9));
	lstat("l", &s);
	P("%d %d\n", (int)s.st_uid, (int)s.st_gid);
	stat("l", &s);
	P("%d %d\n", (int)s.st_uid, (int)s.st_gid);
	E(chown("none", 1, 1));
	return 0;
}
