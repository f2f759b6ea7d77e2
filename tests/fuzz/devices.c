/*
 * devices SEED COUNT: wild accesses to device registers, and wild ioctls with wild payloads on every device node.
 *
 * The table `commands` is put in front of this file by devices.py.  What counts is that the machine survives.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state;
static volatile long *done; /* shared with all children */

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545F4914F6CDD1DULL >> 11;
}

static uint64_t wild(void)
{
	static const uint64_t odd[] = {0, 1, 2, 7, 8, 255, 256, 4095, 4096, 65535, 1 << 20, 0x7fffffff, 0x80000000, 0xffffffff, -1ULL};

	return rnd() % 3 ? odd[rnd() % (sizeof odd / sizeof odd[0])] : rnd();
}

static int nodes[64], node_count;
static const char *const resources[] = {RESOURCES 0};

static void open_all(const char *directory)
{
	DIR *list = opendir(directory);
	struct dirent *entry;
	char name[400];

	while (list && (entry = readdir(list)) && node_count < 60) {
		snprintf(name, sizeof name, "%s/%s", directory, entry->d_name);
		if (entry->d_type == DT_CHR && strcmp(entry->d_name, "kmsg")) {
			nodes[node_count] = open(name, O_RDWR | O_NONBLOCK | O_NOCTTY);
			node_count += nodes[node_count] >= 0;
		}
	}
	if (list)
		closedir(list);
}

static void ioctls(long count)
{
	uint64_t *payload = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(payload + 512, 4096);
	open_all("/dev");
	while (count--) {
		unsigned long command = commands[rnd() % (sizeof commands / sizeof commands[0])];
		uint64_t *at = rnd() % 8 ? payload : payload + 510; /* across the end of what is mapped */

		for (int i = 0; i < 64; i++)
			payload[i] = wild();
		payload[510] = wild(), payload[511] = wild();
		if (rnd() % 10 == 0)
			command ^= 1UL << rnd() % 32;
		++*done;
		ioctl(nodes[rnd() % node_count], command, rnd() % 6 ? (uint64_t)(uintptr_t)at : wild());
	}
}

static void registers(long count)
{
	volatile unsigned char *map;
	size_t size = 4096;
	unsigned i;
	int fd;

	for (i = 0; resources[i]; i++)
		;
	i = rnd() % (i + 2);
	fd = open(i > 1 ? resources[i - 2] : "/dev/mem", O_RDWR | O_SYNC);
	map = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, i > 1 ? 0 : 0xfd000000);
	if (map == MAP_FAILED)
		return;
	while (count--) {
		size_t at = rnd() % 3 ? rnd() % 0x140 : rnd() % (size - 16);
		volatile void *p = map + (rnd() % 3 ? at & ~7UL : at);

		++*done;
		switch (rnd() % 12) {
		case 0: *(volatile uint8_t *)p = wild(); break;
		case 1: *(volatile uint16_t *)p = wild(); break;
		case 2: case 3: *(volatile uint32_t *)p = wild(); break;
		case 4: *(volatile uint64_t *)p = wild(); break;
		case 5: (void)*(volatile uint8_t *)p; break;
		case 6: (void)*(volatile uint16_t *)p; break;
		case 7: case 8: (void)*(volatile uint32_t *)p; break;
		case 9: (void)*(volatile uint64_t *)p; break;
		case 10: __sync_fetch_and_add((volatile uint32_t *)p, (uint32_t)wild()); break;
		default: memcpy((void *)p, (void *)(map + rnd() % 256), rnd() % 16);
		}
	}
}

int main(int argc, char **argv)
{
	long count = atol(argv[2]);

	state = strtoull(argv[1], 0, 0) * 0x9E3779B97F4A7C15ULL | 1;
	done = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	signal(SIGTTOU, SIG_IGN);
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();

		if (!pid) {
			setsid();
			for (int n = 0; n < 3 * i + 3; n++)
				rnd();
			alarm(20);
			if (!strcmp(argv[3], "ioctl"))
				ioctls(count / 10);
			else
				registers(count / 10);
			_exit(0);
		}
		waitpid(pid, 0, 0);
	}
	printf("end %ld\n", *done);
	return argc < 4;
}
