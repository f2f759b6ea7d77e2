/* gpio PIN in|high|low: a pin of the GPIO block at 0xfe200000, through /dev/mem. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GPIO_BASE 0xfe200000
enum { DIR, OUT, IN };

int main(int argc, char **argv)
{
	volatile uint32_t *gpio;
	uint32_t bit;
	int fd;

	if (argc != 3 || (strcmp(argv[2], "in") && strcmp(argv[2], "high") && strcmp(argv[2], "low")))
		return fprintf(stderr, "usage: gpio PIN in|high|low\n"), 2;
	bit = 1u << atoi(argv[1]);
	fd = open("/dev/mem", O_RDWR | O_SYNC);
	gpio = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, GPIO_BASE);
	if (gpio == MAP_FAILED)
		return perror("gpio: /dev/mem"), 1;
	if (!strcmp(argv[2], "in")) {
		gpio[DIR] &= ~bit;
		printf("%d\n", !!(gpio[IN] & bit));
	} else {
		gpio[DIR] |= bit;
		if (!strcmp(argv[2], "high"))
			gpio[OUT] |= bit;
		else
			gpio[OUT] &= ~bit;
	}
	return 0;
}
