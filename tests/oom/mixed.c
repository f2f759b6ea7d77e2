/* A bit of everything that takes frames.  Each step either works or says a clean errno; the end says how many failed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int refused;

/* A call that may fail for want of memory, and of nothing else. */
static long may(const char *name, long result)
{
	if (result == -1) {
		if (errno != ENOMEM && errno != ENOSPC && errno != EAGAIN && errno != ENOBUFS && errno != EFAULT) {
			printf("%s: %s\n", name, strerror(errno));
			exit(99);
		}
		refused++;
	}
	return result;
}

static void in_child(char *area, size_t length)
{
	for (size_t at = 0; at < length; at += 4096)
		area[at]++;
	_exit(7);
}

static int one_round(void)
{
	size_t length = 24 * 4096;
	char *area, buffer[5000], *map, *private;
	int fd, ends[2], status, id;
	pid_t pid;

	memset(buffer, 'x', sizeof buffer);
	area = (char *)may("mmap", (long)mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (area == MAP_FAILED)
		return 3;
	for (size_t at = 0; at < length; at += 4096)
		area[at] = 1;
	pid = may("fork", fork());
	if (!pid)
		in_child(area, length);
	if (pid > 0 && (waitpid(pid, &status, 0) != pid || (status != 7 << 8 && status != 9)))
		return 98;
	for (size_t at = 0; at < length; at += 4096)
		if (area[at] != 1)
			return 97;
	map = (char *)may("mremap", (long)mremap(area, length, 2 * length, MREMAP_MAYMOVE));
	if (map != MAP_FAILED)
		map[length] = 5, area = map;
	may("mlock", mlock(area, length));
	may("mprotect", mprotect(area + 4096, 4096, PROT_READ));
	fd = may("open", open("/tmp/oom", O_RDWR | O_CREAT | O_TRUNC, 0600));
	if (fd >= 0) {
		for (int i = 0; i < 6; i++)
			may("write", write(fd, buffer, sizeof buffer));
		map = (char *)may("file mmap", (long)mmap(0, 16384, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0));
		private = mmap(0, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, fd, 0);
		may("private file mmap", (long)private);
		if (map != MAP_FAILED)
			munmap(map, 16384);
		may("ftruncate", ftruncate(fd, 100));
		close(fd);
		unlink("/tmp/oom");
		munmap(private, 16384);
	}
	if (may("pipe", pipe(ends)) == 0) {
		may("pipe write", write(ends[1], buffer, sizeof buffer));
		may("pipe read", read(ends[0], area + 2 * 4096, sizeof buffer));
		close(ends[0]), close(ends[1]);
	}
	if (may("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) == 0) {
		may("send", write(ends[1], buffer, sizeof buffer));
		may("receive", read(ends[0], area + 2 * 4096, sizeof buffer));
		close(ends[0]), close(ends[1]);
	}
	id = may("shmget", shmget(IPC_PRIVATE, 16384, IPC_CREAT | 0600));
	if (id >= 0) {
		map = (char *)may("shmat", (long)shmat(id, 0, 0));
		shmctl(id, IPC_RMID, 0);
		if (map != (char *)-1) {
			map[5000] = 1;
			shmdt(map);
		}
	}
	fd = may("memfd", memfd_create("oom", 0));
	if (fd >= 0) {
		may("fallocate", fallocate(fd, 0, 0, 5 * 4096));
		map = (char *)may("memfd mmap", (long)mmap(0, 5 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
		if (map != MAP_FAILED)
			map[4096] = 1;
		close(fd);
	}
	munmap(area, length);
	return 0;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1, wrong = 0;

	while (rounds-- && !wrong)
		wrong = one_round();
	printf("end\n");
	return wrong ? wrong : refused ? 2 : 0;
}
