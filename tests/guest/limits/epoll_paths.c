/*
 * epoll_paths: sets of epoll in one another, each holding the one below many times by duplicates.  How many ways there
 * may be from a file to the outermost sets is limited by their depth (fs/eventpoll.c: reverse_path_check); sets without
 * any file are not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

static struct epoll_event in = {.events = EPOLLIN};

/* Add `fd` to `set` up to `most` times; how many could be. */
static int add(int set, int fd, int most)
{
	for (int n = 0; n < most; n++) {
		int copy = dup(fd);

		if (epoll_ctl(set, EPOLL_CTL_ADD, copy, &in)) {
			printf(" (errno %d)", errno);
			close(copy);
			return n;
		}
	}
	return most;
}

static void tower(int file, int each)
{
	struct epoll_event got;

	printf("%s, %d:", file < 0 ? "nothing" : "a file", each);
	for (int level = 0, inner = file; level < 5; level++) {
		int set = epoll_create1(0);

		printf(" %d", inner < 0 ? 0 : add(set, inner, each));
		inner = set;
		if (level == 4) {
			printf("; %d ready", epoll_wait(set, &got, 1, 0));
			if (file >= 0) {
				eventfd_write(file, 1);
				printf(", %d then\n", epoll_wait(set, &got, 1, 0));
			} else
				printf("\n");
		}
	}
	for (int fd = 3; fd < 4096; fd++)
		close(fd);
}

/* Ways that are gone count no longer; those of another file do not; a file comes last. */
static void others(void)
{
	int a = eventfd(0, 0), b = eventfd(0, 0), inner = epoll_create1(0), outer = epoll_create1(0), top = epoll_create1(0);

	printf("others: %d", add(inner, a, 100));
	printf(" %d", add(outer, inner, 10));
	printf(" %d", add(inner, b, 60));
	printf(" %d", epoll_ctl(outer, EPOLL_CTL_DEL, dup(inner), &in) ? -errno : 0);
	for (int fd = 3; fd < 400; fd++) /* the first duplicates */
		epoll_ctl(inner, EPOLL_CTL_DEL, fd, &in);
	printf(" %d", add(outer, inner, 600));
	printf(" %d", add(inner, b, 5));
	printf(" %d\n", add(top, outer, 3));
}

int main(void)
{
	static const int each[] = {1, 2, 3, 5, 7, 10, 13, 23, 40, 300};
	struct rlimit many = {4096, 4096};

	setrlimit(RLIMIT_NOFILE, &many);
	for (int fd = 3; fd < 4096; fd++)
		close(fd);
	for (unsigned i = 0; i < sizeof(each) / sizeof(*each); i++)
		tower(eventfd(0, 0), each[i]);
	tower(-1, 60);
	others();
	return 0;
}
