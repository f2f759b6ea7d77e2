/* copy TEXT: have the copy engine, a PCI card, copy a text from one place in memory to another.
 *
 * A program's memory is known to the card by its physical address, which /proc/self/pagemap tells root. */
#define _FILE_OFFSET_BITS 64
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CARD "/sys/bus/pci/devices/0000:00:04.0"
#define RESOURCE CARD "/resource0"
#define PCI_COMMAND 4
#define MEMORY_AND_MASTER 0x6
enum { SOURCE, TARGET, LENGTH, COMMAND, STATUS };
#define START 0x1
#define BUSY 0x1
#define ERROR 0x2
#define PATIENCE 1000

static uint32_t physical(void *at)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	if (fd < 0 || pread(fd, &entry, sizeof entry, (uintptr_t)at / 4096 * sizeof entry) != sizeof entry ||
	    !(entry >> 63)) {
		fprintf(stderr, "copy: no physical address\n");
		exit(1);
	}
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * 4096 + (uintptr_t)at % 4096;
}

/* The card answers its addresses, and may read and write memory. */
static int enable(void)
{
	int fd = open(CARD "/config", O_RDWR);
	uint16_t command;

	if (fd < 0 || pread(fd, &command, sizeof command, PCI_COMMAND) != sizeof command)
		return -1;
	command |= MEMORY_AND_MASTER;
	if (pwrite(fd, &command, sizeof command, PCI_COMMAND) != sizeof command)
		return -1;
	return close(fd);
}

int main(int argc, char **argv)
{
	volatile uint32_t *regs;
	char *memory;
	int fd, left = PATIENCE;

	if (argc != 2 || strlen(argv[1]) > 4000)
		return fprintf(stderr, "usage: copy TEXT\n"), 2;
	if (enable())
		return perror("copy: " CARD "/config"), 1;
	fd = open(RESOURCE, O_RDWR | O_SYNC);
	if (fd < 0)
		return perror("copy: " RESOURCE), 1;
	regs = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memory = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (regs == MAP_FAILED || memory == MAP_FAILED || mlock(memory, 8192))
		return perror("copy: memory"), 1;
	memset(memory, 0, 8192);
	strcpy(memory, argv[1]);
	regs[SOURCE] = physical(memory);
	regs[TARGET] = physical(memory + 4096);
	regs[LENGTH] = strlen(argv[1]) + 1;
	regs[COMMAND] = START;
	while (regs[STATUS] & BUSY)
		if (!--left)
			return fprintf(stderr, "copy: the engine does not come to an end\n"), 3;
	if (regs[STATUS] & ERROR)
		return fprintf(stderr, "copy: the engine reports an error\n"), 4;
	puts(memory + 4096);
	return 0;
}
