/* The same test for the other target uses the same names on the host, and may run beside this one: not at a time. */
#ifndef NOPAGE_ALONE_H
#define NOPAGE_ALONE_H

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

/* Wait for the others of this `name`; they wait until this program ends. */
static inline void alone(const char *name)
{
	int low = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666), fd = fcntl(low, F_DUPFD_CLOEXEC, 900);

	if (fd >= 0) /* a high one, since some tests count theirs */
		close(low);
	flock(fd >= 0 ? fd : low, LOCK_EX);
}

#endif
