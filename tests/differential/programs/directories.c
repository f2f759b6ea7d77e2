#include "common.h"

int main(void)
{
	struct dirent *e;
	int n = 0, k = 0;
	char t[20];
	mkdir("d", 0750);
	for (int i = 0; i < 300; i++) {
		sprintf(t, "d/file%d", i);
		close(open(t, O_CREAT, 0600));
	}
	DIR *d = opendir("d");
	while ((e = readdir(d))) {
		n++;
		k += e->d_type == DT_REG;
	}
	P("%d %d\n", n, k);
	rewinddir(d);
	for (n = 0; n < 10; n++)
		readdir(d);
	long at = telldir(d);
	e = readdir(d);
	strcpy(t, e->d_name);
	seekdir(d, at);
	P("%d\n", !strcmp(t, readdir(d)->d_name));
	E(rmdir("d"));
	E(mkdir("d", 0));
	E(opendir("none") == 0);
	E(chdir("d"));
	P("%d\n", strcmp(strrchr(getcwd(0, 0), '/'), "/d"));
	return 0;
}
