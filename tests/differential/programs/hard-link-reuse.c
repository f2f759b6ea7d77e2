/* Hard links whose first name goes, and new files that the host may give the number of a deleted one. */
#include "common.h"

int main(void)
{
	int wrong = 0;
	char first[20], name[20], text[20], got[20];

	for (int i = 0; i < 60; i++) {
		sprintf(first, "f%d", i);
		sprintf(name, "n%d", i);
		sprintf(text, "text %d", i);
		put(first, text);
		link(first, name);
		unlink(first);
		memset(got, 0, sizeof got);
		int fd = open(name, O_RDWR);
		wrong += fd < 0 || read(fd, got, 19) < 0 || strcmp(got, text) != 0;
		close(fd);
		if (i % 3)
			wrong += unlink(name) != 0;
	}
	P("%d wrong\n", wrong);
	show("n30");
	return 0;
}
