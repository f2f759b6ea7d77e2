/* Has the kernel copy from device registers into a pipe. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int main(void)
{
	int fd = open("/dev/uio0", O_RDWR), out[2];
	void *regs = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (regs == MAP_FAILED || pipe(out))
		return perror("copies"), 1;
	printf("%d\n", (int)write(out[1], regs, 8));
	return 0;
}
