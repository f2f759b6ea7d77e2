/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that gets shorter, under another name, while it is mapped, and then longer: nopage has two inodes for it, and
 * none for what happens to the first.  cut FILE NAME, two names of one file of zeros with 'x' at the start of each page */
#include "check.h"
#include <fcntl.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
	struct stat info;
	int file = open(argv[argc - 2], O_RDONLY), other = open(argv[argc - 1], O_RDWR);
	CHECK("open", file >= 0 && other >= 0 && fstat(file, &info) == 0);
	long pages = info.st_size / PAGE, seen = 0;
	volatile char *memory = mmap(NULL, pages * PAGE, PROT_READ, MAP_PRIVATE, file, 0);
	for (long n = 0; n < pages; n++)
		seen += memory[n * PAGE] == 'x';
	EQUAL("pages", seen, pages);
	EQUAL("cut", ftruncate(other, pages / 2 * PAGE), 0);
	seen = 0;
	for (long n = 0; n < pages; n++)
		seen += memory[n * PAGE] == 'x';
	printf("%ld of %ld left\n", seen, pages);
	EQUAL("longer", ftruncate(other, pages * PAGE), 0);
	CHECK("written", pwrite(other, "yy", 2, (pages / 2 - 1) * PAGE) == 2);
	printf("%c %d\n", memory[(pages / 2 - 1) * PAGE + 1], memory[(pages - 1) * PAGE]);
	return done();
}
