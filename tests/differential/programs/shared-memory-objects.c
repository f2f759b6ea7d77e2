#include "common.h"

int main(void)
{
	int fd = shm_open("/nopage-test", O_CREAT | O_EXCL | O_RDWR, 0600);
	E(ftruncate(fd, 4096));
	int *p = mmap(0, 4096, 3, MAP_SHARED, fd, 0);
	sem_t *s = sem_open("/nopage-sem", O_CREAT, 0600, 0);
	if (!fork()) {
		int g = shm_open("/nopage-test", O_RDWR, 0), *q = mmap(0, 4096, 3, MAP_SHARED, g, 0);
		*q = 1234;
		sem_post(s);
		_exit(0);
	}
	sem_wait(s);
	P("%d\n", *p);
	wait(0);
	E(shm_unlink("/nopage-test"));
	E(shm_unlink("/nopage-test"));
	E(sem_unlink("/nopage-sem"));
	E(shm_open("/none", O_RDWR, 0));
	return 0;
}
