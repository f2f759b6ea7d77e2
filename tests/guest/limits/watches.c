/*
 * watches KIND: as many epoll items, inotify watches or inotify descriptors as a user may have, over several sets and
 * two processes; then the errno, and that they can all be had again.
 */
#include "check.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/wait.h>

static long limit(const char *name)
{
	FILE *f = fopen(name, "r");
	long value = -1;

	if (!f || fscanf(f, "%ld", &value) != 1)
		return -1;
	fclose(f);
	return value;
}

static long epoll_items(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	long n = 0;

	for (;;) {
		int set = epoll_create1(0);

		for (int fd = 10; fd < 210; fd++, n++)
			if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event))
				return n;
	}
}

static long inotify_watches(void)
{
	int group = inotify_init1(0);
	char name[40];
	long n;

	for (n = 0;; n++) {
		snprintf(name, sizeof name, "/dev/shm/w%ld", n % 1000);
		if (n < 1000)
			close(open(name, O_CREAT | O_WRONLY, 0600));
		else if (n % 1000 == 0)
			group = inotify_init1(0);
		if (inotify_add_watch(group, name, IN_OPEN) < 0)
			return n;
	}
}

static long inotify_groups(void)
{
	long n = 0;

	while (inotify_init1(0) >= 0)
		n++;
	return n;
}

/* In a child, so that all is closed afterwards. */
static void take(const char *name, long (*all)(void), long wanted, int error)
{
	long found[2] = {-1, 0};
	int ends[2];

	if (pipe(ends))
		_exit(9);
	if (!fork()) {
		found[0] = all(), found[1] = errno;
		_exit(write(ends[1], found, sizeof found) != sizeof found);
	}
	wait(0);
	if (read(ends[0], found, sizeof found) != sizeof found)
		_exit(9);
	close(ends[0]), close(ends[1]);
	EQUAL(name, found[0], wanted);
	EQUAL("errno", found[1], error);
}

int main(void)
{
	struct rlimit many = {4096, 4096};
	int ends[2];

	if (setrlimit(RLIMIT_NOFILE, &many) || pipe(ends))
		return 2;
	for (int fd = 10; fd < 210; fd++)
		dup2(ends[0], fd);
	for (int i = 0; i < 2; i++) {
		take("epoll", epoll_items, limit("/proc/sys/fs/epoll/max_user_watches"), ENOSPC);
		take("watches", inotify_watches, limit("/proc/sys/fs/inotify/max_user_watches"), ENOSPC);
		take("groups", inotify_groups, limit("/proc/sys/fs/inotify/max_user_instances"), EMFILE);
	}
	return done();
}
