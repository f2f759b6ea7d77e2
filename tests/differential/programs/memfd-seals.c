#include "common.h"

int main(void)
{
	int fd = memfd_create("m", MFD_ALLOW_SEALING);
	E(ftruncate(fd, 100));
	E(write(fd, "abc", 3));
	E(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	E(ftruncate(fd, 50));
	E(ftruncate(fd, 500));
	E(fcntl(fd, F_GET_SEALS));
	E(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	E(write(fd, "x", 1));
	E(mmap(0, 100, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	E(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	E(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
	int g = memfd_create("n", 0);
	E(fcntl(g, F_ADD_SEALS, F_SEAL_GROW));
	E(memfd_create("x", 0x7000));
	return 0;
}
