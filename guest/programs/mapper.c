/*
 * mapper FILE OFFSET LENGTH: show part of a file or device through mmap.
 *
 * Maps LENGTH bytes of FILE at OFFSET (PROT_READ, MAP_PRIVATE) and writes them to standard output; a line about what
 * was mapped goes to standard error, so that the bytes can be piped to od.  The numbers are decimal, 0x... or 0...
 *
 * The bytes are read by the program itself, one page at a time, and only then written: a page that the device does
 * not have is a SIGBUS here, where write(2) would say EFAULT.
 *
 * Exit code: 0; 1 for a mistake in the arguments or a call that failed.
 */
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "args.h"

static void die(const char *call)
{
	perror(call);
	exit(1);
}

static void write_all(const char *data, size_t length)
{
	while (length) {
		ssize_t done = write(STDOUT_FILENO, data, length);

		if (done < 0)
			die("write");
		data += done;
		length -= done;
	}
}

int main(int argc, char **argv)
{
	static char buffer[4096];
	unsigned long long offset;
	size_t length, done, part;
	char *address;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: %s FILE OFFSET LENGTH\n", argv[0]);
		return 1;
	}
	offset = number(argv[0], argv[2]);
	length = number(argv[0], argv[3]);

	fd = open(argv[1], O_RDONLY);
	if (fd < 0)
		die(argv[1]);
	address = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, offset);
	if (address == MAP_FAILED)
		die("mmap");
	close(fd);
	fprintf(stderr, "mapped \"%s\" from %llu (0x%08llx) to %llu (0x%08llx)\n", argv[1], offset, offset,
		offset + length, offset + length);

	for (done = 0; done < length; done += part) {
		part = length - done < sizeof buffer ? length - done : sizeof buffer;
		memcpy(buffer, address + done, part);
		write_all(buffer, part);
	}
	return 0;
}
