#include "common.h"

int main(void)
{
	put("a", "0123456789");
	int a = open("a", O_RDONLY), b = open("b", O_RDWR | O_CREAT, 0600);
	off_t o = 2;
	E(sendfile(b, a, &o, 3));
	P("%d\n", (int)o);
	E(sendfile(b, a, 0, 100));
	loff_t x = 1, y = 20;
	E(copy_file_range(a, &x, b, &y, 4, 0));
	struct stat s;
	fstat(b, &s);
	P("%d %d\n", (int)s.st_size, (int)y);
	E(sendfile(1, b, &(off_t){0}, 5));
	E(sendfile(b, b, 0, -1 > 0));
	E(copy_file_range(a, 0, 99, 0, 1, 0));
	E(sendfile(a, b, 0, 1));
	E(copy_file_range(b, 0, b, 0, 1, 9));
	return 0;
}
