/*
 * poke [-p] FILE OFFSET [VALUE]: one byte of a mapped device.
 *
 * Maps the page of FILE that holds OFFSET (MAP_SHARED, or MAP_PRIVATE with -p) and reads the byte there; with VALUE it
 * stores VALUE first.  Every access is one instruction: `nopage run --faults poke /dev/scullp0 0x5000` shows the fault
 * that it takes, and a page that the device does not have ends the program with SIGBUS.
 *
 * Exit code: 0; 1 for a mistake in the arguments or a call that failed.
 */
#define _FILE_OFFSET_BITS 64
#include <ctype.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "args.h"

int main(int argc, char **argv)
{
	unsigned long long offset, page, value = 0;
	volatile unsigned char *address;
	int private = argc > 1 && !strcmp(argv[1], "-p");
	char **arguments = argv + 1 + private;
	int count = argc - 1 - private, writing = count == 3, fd;
	unsigned char byte;
	long size = sysconf(_SC_PAGESIZE);

	if (count != 2 && count != 3) {
		fprintf(stderr, "usage: %s [-p] FILE OFFSET [VALUE]\n", argv[0]);
		return 1;
	}
	offset = number(argv[0], arguments[1]);
	if (writing)
		value = number(argv[0], arguments[2]);
	page = offset - offset % size;

	fd = open(arguments[0], writing && !private ? O_RDWR : O_RDONLY);
	if (fd < 0) {
		perror(arguments[0]);
		return 1;
	}
	address = mmap(NULL, size, writing ? PROT_READ | PROT_WRITE : PROT_READ, private ? MAP_PRIVATE : MAP_SHARED,
		       fd, page);
	if (address == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	if (writing)
		address[offset - page] = value;
	byte = address[offset - page];
	printf("%s at 0x%llx: 0x%02x '%c'\n", arguments[0], offset, byte, isprint(byte) ? byte : '.');
	return 0;
}
