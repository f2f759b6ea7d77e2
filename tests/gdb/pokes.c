#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

static volatile uint32_t *regs;

static void poke(void)
{
	regs[0] = 9; /* enabled, fast */
	regs[2] = 5; /* into the queue */
	regs[0x40 + 3] = 0xaa; /* a colour */
}

int main(void)
{
	int fd = open("/dev/mem", O_RDWR);
	regs = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0xfe000000);
	poke();
	printf("%u %u\n", regs[1], regs[0x100]);
	return 0;
}
