#include "common.h"

int main(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	char t[40];
	struct stat s;
	E(write(fd, "nameless", 8));
	fstat(fd, &s);
	P("%d\n", (int)s.st_nlink);
	sprintf(t, "/proc/self/fd/%d", fd);
	E(linkat(AT_FDCWD, t, AT_FDCWD, "/tmp/named", AT_SYMLINK_FOLLOW));
	show("/tmp/named");
	FILE *f = tmpfile();
	fputs("in a stream", f);
	rewind(f);
	P("%s\n", fgets(t, 40, f));
	char n[] = "fXXXXXX";
	E(close(mkstemp(n)));
	E(unlink(n));
	return 0;
}
