/* A driver's memory: written, read back, mapped. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char buffer[9000];
	int refused = 0;

	for (int i = 2; i < argc * atoi(argv[1]); i++) {
		if (!argv[i % argc][0] || i % argc < 2)
			continue;
		int fd = open(argv[i % argc], O_WRONLY);
		long done = 0, got;
		volatile char *map;

		if (fd < 0)
			return errno == ENOMEM || errno == ENOSPC ? 2 : 99;
		memset(buffer, 'd', sizeof buffer);
		for (int k = 0; k < 5; k++) {
			got = write(fd, buffer, sizeof buffer);
			if (got < 0 && errno != ENOMEM && errno != EFAULT)
				return 98;
			if (got < 0) {
				refused++;
				break;
			}
			done += got;
		}
		close(fd);
		fd = open(argv[i % argc], O_RDWR);
		if (fd < 0)
			return errno == ENOMEM ? 2 : 97;
		for (long at = 0; at < done; at += got) {
			got = read(fd, buffer, sizeof buffer);
			if (got <= 0)
				break;
			if (buffer[0] != 'd')
				return 96;
		}
		map = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			refused++;
		else if (done >= 8192 && map[5000] != 'd')
			return 95;
		if (map != MAP_FAILED)
			munmap((void *)map, 8192);
		close(fd);
	}
	printf("end\n");
	return refused ? 2 : 0;
}
