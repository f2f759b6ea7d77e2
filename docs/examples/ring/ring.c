/* Tries /dev/ring (ring.py): a line for each thing that works as it should; exit status 1 after the first that does not. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define RING_IOCGCOUNT _IOR('r', 1, int)
#define RING_IOCRESET _IO('r', 2)

static void say(const char *what, int right)
{
	printf("%s: %s\n", what, right ? "ok" : strerror(errno));
	if (!right)
		exit(1);
}

int main(void)
{
	int fd = open("/dev/ring", O_RDWR), count = -1, status;
	long page = sysconf(_SC_PAGESIZE), total = 0, done;
	struct pollfd both = {.fd = fd, .events = POLLIN | POLLOUT};
	char text[16] = "", *map, *rest;

	say("open", fd >= 0);
	say("lseek is refused", lseek(fd, 0, SEEK_SET) == -1 && errno == ESPIPE);
	say("poll of an empty ring", poll(&both, 1, 0) == 1 && both.revents == POLLOUT);
	say("write", write(fd, "hello", 5) == 5);
	say("poll of a ring with bytes", poll(&both, 1, 0) == 1 && both.revents == (POLLIN | POLLOUT));
	say("ioctl", ioctl(fd, RING_IOCGCOUNT, &count) == 0 && count == 5);
	say("a wrong address", ioctl(fd, RING_IOCGCOUNT, NULL) == -1 && errno == EFAULT);
	say("another command", ioctl(fd, _IO('r', 3), 0) == -1 && errno == ENOTTY);

	map = mmap(NULL, 5 * page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	say("mmap", map != MAP_FAILED && !memcmp(map, "hello", 5));
	map[0] = 'J';
	say("read", read(fd, text, sizeof text) == 5 && !strcmp(text, "Jello"));

	if (!fork()) { /* the child writes while the parent sleeps in read, then waits for room */
		usleep(20000);
		write(fd, "late", 4);
		_exit(0);
	}
	memset(text, 0, sizeof text);
	say("read waits", read(fd, text, sizeof text) == 4 && !strcmp(text, "late"));
	wait(&status);

	fcntl(fd, F_SETFL, O_NONBLOCK);
	say("O_NONBLOCK, empty", read(fd, text, 1) == -1 && errno == EAGAIN);
	rest = calloc(1, page);
	while ((done = write(fd, rest, page)) > 0)
		total += done;
	say("O_NONBLOCK, full", errno == EAGAIN && total == 4 * page);
	say("poll of a full ring", poll(&both, 1, 0) == 1 && both.revents == POLLIN);
	say("reset", ioctl(fd, RING_IOCRESET) == 0 && poll(&both, 1, 0) == 1 && both.revents == POLLOUT);

	if (!fork())
		_exit(map[4 * page]); /* the fifth page of a ring of four */
	wait(&status);
	say("beyond the end", WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	return 0;
}
