/* What is asked of an open file beside its bytes: lifetime hints, seals, flags of a single transfer, sets in sets, alarm clocks. */
#include "check.h"
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define GET_RW_HINT 1035
#define SET_RW_HINT 1036
#define ADD_SEALS 1033
#define GET_SEALS 1034
#define SEAL_SEAL 0x01
#define SEAL_SHRINK 0x02
#define SEAL_EXEC 0x20
#define REALTIME_ALARM 8
#define BOOTTIME_ALARM 9

static void lifetimes(int fd)
{
	uint64_t hint = 99;
	int again = dup(fd);

	ERRNO("a hint at first", fcntl(fd, GET_RW_HINT, &hint), 0);
	EQUAL("is not set", hint, 0);
	hint = 3;
	ERRNO("set", fcntl(fd, SET_RW_HINT, &hint), 0);
	hint = 99;
	fcntl(again, GET_RW_HINT, &hint);
	EQUAL("it is the file's", hint, 3);
	hint = 6;
	ERRNO("no such lifetime", fcntl(fd, SET_RW_HINT, &hint), EINVAL);
	ERRNO("from nowhere", fcntl(fd, SET_RW_HINT, (void *)8), EFAULT);
	close(again);
}

static void transfers(int fd)
{
	char bytes[8] = "abcdefg";
	struct iovec vector = {bytes, 4};
	long size;
	long low = 0, high = 0;

	size = lseek(fd, 0, SEEK_END);
	EQUAL("preadv2 with RWF_APPEND", syscall(SYS_preadv2, fd, &vector, 1, low, high, 0x10), 4);
	EQUAL("pwritev2 with RWF_APPEND", syscall(SYS_pwritev2, fd, &vector, 1, low, high, 0x10), 4);
	EQUAL("it went to the end", lseek(fd, 0, SEEK_END), size + 4);
	ERRNO("an unknown flag", syscall(SYS_preadv2, fd, &vector, 1, low, high, 0x8000), EOPNOTSUPP);
}

static void copies(int fd)
{
	int to = temporary_file(0);
	int64_t from = 1, at = 1, last = INT64_MAX - 1;

	if (sizeof(size_t) == 8) {
		ERRNO("a count that wraps", syscall(SYS_copy_file_range, fd, &from, to, &at, (size_t)-1, 0), EOVERFLOW);
	} else {
		CHECK("a large count", syscall(SYS_copy_file_range, fd, &from, to, &at, (size_t)-1, 0) > 0);
	}
	from = 0;
	CHECK("beyond the largest file", syscall(SYS_copy_file_range, fd, &from, to, &last, (size_t)16, 0) <= 1);
	close(to);
}

static void seals(void)
{
	char name[] = "/dev/shm/nopage-XXXXXX";
	int fd = mkstemp(name);

	unlink(name);
	EQUAL("a file of tmpfs is sealed against seals", fcntl(fd, GET_SEALS), SEAL_SEAL);
	ERRNO("so none can be added", fcntl(fd, ADD_SEALS, SEAL_SHRINK), EPERM);
	close(fd);
	fd = syscall(SYS_memfd_create, "sealed", 2);
	if (write(fd, "x", 1) != 1)
		_exit(2);
	ERRNO("SEAL_EXEC of an executable file", fcntl(fd, ADD_SEALS, SEAL_EXEC), 0);
	EQUAL("seals its data, too", fcntl(fd, GET_SEALS), 0x3e);
	ERRNO("no write", write(fd, "x", 1), EPERM);
	close(fd);
	fd = syscall(SYS_memfd_create, "sealed", 2);
	fchmod(fd, 0600);
	fcntl(fd, ADD_SEALS, SEAL_EXEC);
	EQUAL("of another it does not", fcntl(fd, GET_SEALS), SEAL_EXEC);
	close(fd);
}

/* Sets of descriptors, one in the other: five, and no circle; built from the inside and from the outside. */
static void nested(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int sets[9], n, depth;

	for (n = 0; n < 9; n++)
		sets[n] = epoll_create1(0);
	for (depth = 1; depth < 9 && !epoll_ctl(sets[depth], EPOLL_CTL_ADD, sets[depth - 1], &event); depth++)
		;
	CHECK("some sets can be in each other", depth >= 5 && depth < 8 && errno == ELOOP);
	ERRNO("but no circle", epoll_ctl(sets[0], EPOLL_CTL_ADD, sets[depth - 1], &event), ELOOP);
	ERRNO("one can leave", epoll_ctl(sets[1], EPOLL_CTL_DEL, sets[0], &event), 0);
	ERRNO("then there is room", epoll_ctl(sets[depth], EPOLL_CTL_ADD, sets[depth - 1], &event), 0);
	for (n = 0; n < 9; n++)
		close(sets[n]);
}

static void alarms(void)
{
	static const int clocks[] = {REALTIME_ALARM, BOOTTIME_ALARM};
	struct itimerspec soon = {.it_value = {0, 1000000}};
	struct timespec now;
	uint64_t ticks;
	int n, fd, good = 1;

	for (n = 0; n < 2; n++) {
		fd = timerfd_create(clocks[n], 0);
		if (fd < 0)
			good &= errno == EPERM; /* a user who may not wake the machine */
		else
			good &= !timerfd_settime(fd, 0, &soon, NULL) && read(fd, &ticks, sizeof ticks) == 8 && ticks == 1;
		close(fd);
	}
	CHECK("a timer of the alarm clocks", good);
	if (clock_gettime(BOOTTIME_ALARM, &now)) { /* no clock chip */
		now = (struct timespec){0, 1};
		CHECK("no sleep on them", clock_nanosleep(BOOTTIME_ALARM, 0, &now, NULL) != 0);
	} else {
		CHECK("no sleep on them", 1);
	}
}

static int everybody(void)
{
	if (setresuid(54321, 54321, 54321) && !getuid())
		return 100;
	return kill(-1, 0) ? errno : 0;
}

int main(void)
{
	int fd = temporary_file(3 * PAGE), status;
	pid_t pid;

	lifetimes(fd);
	transfers(fd);
	copies(fd);
	seals();
	nested();
	alarms();
	pid = fork();
	if (!pid)
		_exit(everybody());
	waitpid(pid, &status, 0);
	EQUAL("nobody may be signalled, which is no error of kill(-1)", status, 0);
	return done();
}
