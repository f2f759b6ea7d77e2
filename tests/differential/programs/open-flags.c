#include "common.h"

int main(void)
{
	E(open("none", O_RDONLY));
	E(open("n", O_WRONLY | O_CREAT | O_EXCL, 0600));
	E(open("n", O_CREAT | O_EXCL, 0600));
	E(open(".", O_WRONLY));
	E(open("n/x", O_RDONLY));
	E(open("n", O_RDONLY | O_DIRECTORY));
	symlink("n", "l");
	E(open("l", O_RDONLY | O_NOFOLLOW));
	E(open("", O_RDONLY));
	E(write(3, "abc", 3));
	E(read(3, &result, 1));
	E(open("n", O_WRONLY | O_TRUNC));
	show("n");
	return 0;
}
