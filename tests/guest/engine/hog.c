/* hog KIND: take more memory than there is, in one of several ways; only a kernel that stops it ends this program. */
#include "check.h"

#include <fcntl.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	size_t size = 256UL << 20, at;
	int fd, i;
	char *p;

	if (!strcmp(kind, "private"))
		p = mmap(NULL, size, RW, ANON | MAP_NORESERVE, -1, 0);
	else if (!strcmp(kind, "shared"))
		p = mmap(NULL, size, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	else if (!strcmp(kind, "populate"))
		p = mmap(NULL, size, RW, ANON | MAP_NORESERVE | MAP_POPULATE, -1, 0);
	else if (!strcmp(kind, "fork")) {
		p = mmap(NULL, 8 << 20, RW, ANON, -1, 0);
		memset(p, 1, 8 << 20);
		for (i = 0; i < 20; i++)
			if (!fork()) {
				memset(p, 2, 8 << 20);
				sleep(1);
				_exit(0);
			}
		while (wait(NULL) > 0)
			;
		return 0;
	} else if (!strcmp(kind, "file")) {
		fd = open("/tmp/hog", O_RDWR | O_CREAT, 0600);
		p = malloc(1 << 16);
		memset(p, 'x', 1 << 16);
		for (at = 0; at < size; at += 1 << 16)
			if (write(fd, p, 1 << 16) < 0)
				return errno == ENOSPC ? 28 : errno == ENOMEM ? 12 : 1;
		return 0;
	} else if (!strcmp(kind, "read")) {
		p = mmap(NULL, size, RW, ANON | MAP_NORESERVE, -1, 0);
		return read(open("/dev/zero", O_RDONLY), p, size) > 0 ? 0 : errno == EFAULT ? 14 : 1;
	} else
		return 2;
	if (p == MAP_FAILED)
		return 3;
	for (at = 0; at < size; at += PAGE)
		p[at] = 1;
	return 0;
}
