/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which comes first when a watched object in a watched directory goes: its own events, or the directory's. */
#define _GNU_SOURCE
#include "check.h"
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

static void show(const char *what, int fd)
{
	char events[4096] __attribute__((aligned(8)));
	int size = read(fd, events, sizeof events);

	printf("%s\n", what);
	for (char *at = events; size > 0 && at < events + size;) {
		struct inotify_event *event = (void *)at;

		printf("  %d %x %s\n", event->wd, event->mask, event->len ? event->name : "");
		at += sizeof *event + event->len;
	}
}

int main(void)
{
	EQUAL("mkdir", mkdir("order.d", 0755), 0);
	for (int kind = 0; kind < 4; kind++) {
		int fd = inotify_init1(IN_NONBLOCK), kept = -1;

		mkdir("order.d/s", 0755);
		close(creat("order.d/f", 0644));
		inotify_add_watch(fd, "order.d", IN_ALL_EVENTS);
		inotify_add_watch(fd, "order.d/s", IN_ALL_EVENTS);
		inotify_add_watch(fd, "order.d/f", IN_ALL_EVENTS);
		if (kind == 1)
			link("order.d/f", "order.d/g");
		if (kind == 2)
			kept = open("order.d/f", O_RDWR);
		if (kind == 3) {
			close(creat("order.d/h", 0644));
			rename("order.d/h", "order.d/f");
			mkdir("order.d/t", 0755);
			rename("order.d/t", "order.d/s");
			show("replaced", fd);
		}
		rmdir("order.d/s"), show("rmdir", fd);
		unlink("order.d/f"), show("unlink", fd);
		close(kept), show("close", fd);
		unlink("order.d/g"), show("the other name", fd);
		close(fd);
	}
	EQUAL("rmdir", rmdir("order.d"), 0);
	return done();
}
