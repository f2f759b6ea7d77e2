/*
 * insmod FILE|NAME [PARAMETER=VALUE...]: load a driver.
 *
 * FILE is one of those in /lib/modules/RELEASE, or a copy of one; a NAME without a slash that does not end in .ko is looked for
 * there.  A value with blanks in it is quoted for the kernel: insmod x 'text="two words"' or just insmod x 'text=two words'.
 *
 * Exit code: 0; 1 when it could not be loaded (dmesg says more).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static const char *explain(int error)
{
	switch (error) {
	case EEXIST: return "it is loaded already";
	case ENOEXEC: return "invalid module format (see dmesg)";
	case ENOENT: return "unknown parameter (see dmesg)";
	case EINVAL: return "invalid parameters (see dmesg)";
	case EIO: return "its init function failed in Python (see dmesg)";
	case EPERM: return "only root may load a driver";
	default: return strerror(error);
	}
}

/* All parameters in one text; a value with a blank gets quotes around it. */
static char *join(char **argv)
{
	size_t length = 1;
	char *text, *end, *value;
	int i;

	for (i = 0; argv[i]; i++)
		length += strlen(argv[i]) + 3;
	text = end = malloc(length);
	if (!text)
		abort();
	*end = 0;
	for (i = 0; argv[i]; i++) {
		value = strchr(argv[i], '=');
		if (value && strpbrk(value, " \t\n") && !strchr(value, '"'))
			end += sprintf(end, "%.*s\"%s\" ", (int)(value + 1 - argv[i]), argv[i], value + 1);
		else
			end += sprintf(end, "%s ", argv[i]);
	}
	return text;
}

int main(int argc, char **argv)
{
	struct utsname system;
	const char *name = argv[1];
	size_t length;
	char path[512];
	int fd;

	if (argc < 2 || *name == '-') {
		fprintf(stderr, "usage: insmod FILE|NAME [PARAMETER=VALUE...]\n");
		return 1;
	}
	length = strlen(name);
	if (strchr(name, '/') || (length > 3 && !strcmp(name + length - 3, ".ko"))) {
		snprintf(path, sizeof path, "%s", name);
	} else {
		uname(&system);
		snprintf(path, sizeof path, "/lib/modules/%s/%s.ko", system.release, name);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "insmod: %s: %s\n", path, strerror(errno));
		return 1;
	}
	if (syscall(SYS_finit_module, fd, join(argv + 2), 0)) {
		fprintf(stderr, "insmod: %s: %s\n", name, explain(errno));
		return 1;
	}
	return 0;
}
