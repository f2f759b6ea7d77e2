/* The scullp device as a guest test sees it: its ioctl commands and small helpers. */
#include "check.h"
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#define SCULLP_IOCRESET _IO('K', 0)
#define SCULLP_IOCSORDER _IOW('K', 1, int)
#define SCULLP_IOCTORDER _IO('K', 2)
#define SCULLP_IOCGORDER _IOR('K', 3, int)
#define SCULLP_IOCQORDER _IO('K', 4)
#define SCULLP_IOCXORDER _IOWR('K', 5, int)
#define SCULLP_IOCHORDER _IO('K', 6)
#define SCULLP_IOCSQSET _IOW('K', 7, int)
#define SCULLP_IOCTQSET _IO('K', 8)
#define SCULLP_IOCGQSET _IOR('K', 9, int)
#define SCULLP_IOCQQSET _IO('K', 10)
#define SCULLP_IOCXQSET _IOWR('K', 11, int)
#define SCULLP_IOCHQSET _IO('K', 12)

/* Open, or end the test. */
static inline int must_open(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0) {
		perror(path);
		_exit(2);
	}
	return fd;
}

/* Write `length` bytes of `byte` at `offset`, as many calls as it takes. */
static inline void fill(int fd, off_t offset, int byte, size_t length)
{
	char page[PAGE];
	ssize_t done;

	memset(page, byte, sizeof page);
	lseek(fd, offset, SEEK_SET);
	while (length) {
		done = write(fd, page, length < PAGE ? length : PAGE);
		if (done <= 0) {
			perror("fill");
			_exit(2);
		}
		length -= done;
	}
}

static inline void *map(int fd, off_t offset, size_t length, int prot, int flags)
{
	return mmap(NULL, length, prot, flags, fd, offset);
}
