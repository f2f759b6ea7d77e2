/* Touches a device's first page, forks, and then touches a page that the device does not have. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static char page[4096];

static int touch(volatile char *device, long offset)
{
	return device[offset];
}

int main(int argc, char **arguments)
{
	long size = 4 * 4096, offset = argc > 2 ? strtol(arguments[2], NULL, 0) : 4096;
	int fd = open(argc > 1 ? arguments[1] : "/dev/scullp0", O_RDWR);
	char *device, *memory;

	if (fd < 0)
		return perror("open"), 1;
	memset(page, 'a', sizeof page);
	if (pwrite(fd, page, sizeof page, 0) != sizeof page || pwrite(fd, page, sizeof page, 8192) != sizeof page)
		return perror("pwrite"), 1;
	device = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (device == MAP_FAILED || memory == MAP_FAILED)
		return perror("mmap"), 1;
	memory[0] = 1;
	(void)*(volatile char *)(memory + 4096);
	printf("%c\n", touch(device, 0));
	fflush(stdout);
	if (!fork()) {
		memory[0] = 2; /* its own copy from here on */
		_exit(0);
	}
	wait(NULL);
	return touch(device, offset); /* the hole */
}
