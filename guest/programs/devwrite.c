/*
 * devwrite FILE [OFFSET [TEXT...]]: fill a device.
 *
 * Copies standard input, or the TEXTs joined by blanks and ended by a newline, to FILE.  Without OFFSET the file is
 * opened write-only, which empties a scullp device; with one it is opened for reading and writing, which keeps what is
 * there, and written at OFFSET (decimal, 0x... or 0...).  How many bytes went is said on standard error.
 *
 * Exit code: 0; 1 for a mistake in the arguments or a call that failed.
 */
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <unistd.h>

#include "args.h"

static const char *file;
static int fd;
static unsigned long long total;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void put(const char *data, size_t length)
{
	while (length) {
		ssize_t done = write(fd, data, length);

		if (done < 0)
			die(file);
		data += done;
		length -= done;
		total += done;
	}
}

static void copy_input(void)
{
	static char buffer[4096];
	ssize_t got;

	while ((got = read(STDIN_FILENO, buffer, sizeof buffer)) > 0)
		put(buffer, got);
	if (got < 0)
		die("standard input");
}

int main(int argc, char **argv)
{
	unsigned long long offset;
	int i;

	if (argc < 2) {
		fprintf(stderr, "usage: %s FILE [OFFSET [TEXT...]]\n", argv[0]);
		return 1;
	}
	file = argv[1];
	offset = argc > 2 ? number(argv[0], argv[2]) : 0;
	fd = open(file, argc > 2 ? O_RDWR : O_WRONLY);
	if (fd < 0)
		die(file);
	if (offset && lseek(fd, offset, SEEK_SET) < 0)
		die("lseek");
	if (argc > 3)
		for (i = 3; i < argc; i++) {
			put(argv[i], strlen(argv[i]));
			put(i + 1 < argc ? " " : "\n", 1);
		}
	else
		copy_input();
	if (close(fd) < 0)
		die("close");
	fprintf(stderr, "wrote %llu bytes to %s at %llu\n", total, file, offset);
	return 0;
}
