/*
 * deep_maps DIRECTORY DEPTH AREAS: a file far below many directories of long names, mapped often: what /proc/self/maps and
 * its like say of it, read in pieces, backwards, and while the areas change.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char name[251], text[1 << 22];
static int skip;

/* Lines of a file of /proc that end in our file's path, and how long the longest is. */
static void lines(const char *file, unsigned piece)
{
	int fd = open(file, O_RDONLY), found = 0, longest = 0, now = 0;
	long n, total = 0;
	char last[3] = "";

	while ((n = read(fd, text, piece)) > 0) {
		for (long i = 0; i < n; i++) {
			if (text[i] == '\n') {
				found += !strcmp(last, "/f");
				longest = now > longest ? now : longest;
				now = -1;
			}
			now++;
			last[0] = last[1], last[1] = text[i];
		}
		total += n;
	}
	printf("%s by %u: %d, longest %d, %s\n", file, piece, found, longest - skip, total > longest ? "more" : "no more");
	close(fd);
}

static void positions(void)
{
	int fd = open("/proc/self/maps", O_RDONLY);
	static char whole[1 << 16], part[100];
	long size = 0, n;

	while ((n = read(fd, whole + size, 4000)) > 0)
		size += n;
	printf("positions:");
	for (int at = 60; at < 300; at += 60)
		printf(" %d", pread(fd, part, 50, at) == 50 && !memcmp(part, whole + at, 50));
	lseek(fd, 30, SEEK_SET);
	printf(" %d", read(fd, part, 20) == 20 && !memcmp(part, whole + 30, 20));
	printf(" %ld\n", (long)pread(fd, part, 50, 1 << 30));
	close(fd);
}

int main(int argc, char **argv)
{
	int depth = atoi(argv[2]), areas = atoi(argv[3]);

	memset(name, 'd', 250);
	skip = strlen(argv[1]);
	positions();
	if (chdir(argv[1]))
		return 1;
	for (int i = 0; i < depth; i++)
		if (mkdir(name, 0700) || chdir(name))
			return perror("mkdir"), 1;
	int file = open("f", O_CREAT | O_RDWR, 0600);
	ftruncate(file, 1 << 20);
	for (int i = 0; i < areas; i++)
		mmap(0, 4096, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, file, 8192L * (i % 100));
	int maps = open("/proc/self/maps", O_RDONLY);
	printf("%ld", (long)read(maps, text, 100));
	printf(" %ld", (long)readlink("/proc/self/cwd", text, sizeof(text)));
	sprintf(text, "/proc/self/fd/%d", file);
	printf(" %ld", (long)readlink(text, text, sizeof(text)));
	printf(" errno %d\n", errno);
	if (areas <= 100) {
		lines("/proc/self/maps", 1 << 20);
		lines("/proc/self/maps", 1000);
		lines("/proc/self/smaps", 1 << 20);
		munmap(mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096);
	}
	fflush(stdout);
	while (areas > 100)
		lines("/proc/self/smaps", 1 << 20);
	unlink("f");
	for (int i = 0; i < depth; i++)
		if (chdir("..") || rmdir(name))
			return perror("rmdir"), 1;
	return 0;
}
