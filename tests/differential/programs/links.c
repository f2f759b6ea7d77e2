#include "common.h"

int main(void)
{
	put("a", "A");
	struct stat s;
	E(link("a", "b"));
	stat("a", &s);
	P("%d\n", (int)s.st_nlink);
	E(link("a", "b"));
	E(link(".", "c"));
	E(symlink("a", "l"));
	E(linkat(AT_FDCWD, "l", AT_FDCWD, "m", 0));
	lstat("m", &s);
	P("%o\n", s.st_mode & S_IFMT);
	char t[9] = "";
	E(readlink("l", t, 8));
	E(readlink("a", t, 8));
	E(unlink("a"));
	show("b");
	show("l");
	E(unlink("none"));
	E(unlink("."));
	E(symlink("", "z"));
	E(rmdir("b"));
	return 0;
}
