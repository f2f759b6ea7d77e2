/*
 * rmmod [-w] NAME...: unload drivers.
 *
 * One that is in use stays, and the message says who holds it: nopage's kernel tells that in /sys/module/NAME/users, a line a
 * user: process, its name, file and descriptor or "(mapped)", parted by tabs.  With -w it waits until the last user is gone;
 * nobody can open the device meanwhile.  A NAME may be the driver's file, too (/lib/modules/.../NAME.ko).
 *
 * Exit code: 0; 1 when one could not be unloaded.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* "mapper (pid 5) /dev/scullp0 (mapped), cat (pid 6) /dev/scullp0 (fd 3)"; nothing where the kernel does not say. */
static void tell_users(const char *name)
{
	char path[256], line[4500], *comm, *what;
	int many = 0;
	FILE *users;

	snprintf(path, sizeof path, "/sys/module/%s/users", name);
	users = fopen(path, "r");
	if (!users)
		return;
	while (fgets(line, sizeof line, users)) {
		line[strcspn(line, "\n")] = 0;
		comm = strchr(line, '\t');
		what = comm ? strchr(comm + 1, '\t') : NULL;
		if (!what)
			continue;
		*comm++ = *what++ = 0;
		if (atoi(line) == getpid()) /* a shell's redirection is inherited; the shell itself is in the list */
			continue;
		fprintf(stderr, "%s%s (pid %s) %s", many++ ? ", " : " by: ", comm, line, what);
	}
	fclose(users);
	if (!many)
		fprintf(stderr, " by: rmmod itself");
}

static int unload(const char *given, unsigned flags)
{
	const char *slash = strrchr(given, '/');
	char name[56];

	snprintf(name, sizeof name, "%s", slash ? slash + 1 : given);
	if (strlen(name) > 3 && !strcmp(name + strlen(name) - 3, ".ko"))
		name[strlen(name) - 3] = 0;
	if (!syscall(SYS_delete_module, name, flags))
		return 0;
	switch (errno) {
	case EWOULDBLOCK:
		fprintf(stderr, "rmmod: %s is in use", name);
		tell_users(name);
		fputc('\n', stderr);
		break;
	case ENOENT:
		fprintf(stderr, "rmmod: %s is not loaded\n", name);
		break;
	case EBUSY:
		fprintf(stderr, "rmmod: %s can't be unloaded: it has no exit function, or is just being loaded or unloaded\n", name);
		break;
	case EPERM:
		fprintf(stderr, "rmmod: %s: only root may unload a driver\n", name);
		break;
	default:
		fprintf(stderr, "rmmod: %s: %s\n", name, strerror(errno));
	}
	return 1;
}

int main(int argc, char **argv)
{
	unsigned flags = O_NONBLOCK;
	int option, status = 0;

	while ((option = getopt(argc, argv, "w")) == 'w')
		flags = 0;
	if (option != -1 || optind == argc) {
		fprintf(stderr, "usage: rmmod [-w] NAME...\n");
		return 1;
	}
	for (; optind < argc; optind++)
		status |= unload(argv[optind], flags);
	return status;
}
