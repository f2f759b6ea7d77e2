/*
 * Waiting until somebody sleeps: what comes next finds it in the call that it was about to make, however slow the
 * machine is.  Nothing is promised about calls before that one, which must not sleep.
 */
#ifndef NOPAGE_ASLEEP_H
#define NOPAGE_ASLEEP_H

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Wait until /proc says one of `states` of a process, or of its `thread`; after half a minute, or when it has ended, the caller's check
 * fails. */
static inline void until_state(pid_t pid, pid_t thread, const char *states)
{
	struct timespec moment = {0, 1000000};
	char path[80], text[512], *end;
	int i, fd, length;

	if (thread)
		snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)thread);
	else
		snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	for (i = 0; i < 25000; i++) {
		fd = open(path, O_RDONLY);
		length = fd < 0 ? 0 : (int)read(fd, text, sizeof text - 1);
		if (fd >= 0)
			close(fd);
		text[length > 0 ? length : 0] = 0;
		end = strrchr(text, ')');
		if (fd < 0 || (end && end[1] && (end[2] == 'Z' || strchr(states, end[2]))))
			return;
		nanosleep(&moment, NULL);
	}
}

static inline void until_asleep(pid_t pid)
{
	until_state(pid, 0, "S");
}

#endif
