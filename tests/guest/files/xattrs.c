/* Extended attributes of a file in memory, by path, link and descriptor. */
#include "check.h"
#include "../alone.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define FILE_NAME "/dev/shm/nopage-xattr"

/* How many of ours it has: the host may add attributes of its own, and the order is nobody's business. */
static int count(const char *path)
{
	char names[300];
	long length = listxattr(path, names, sizeof names);
	int found = 0;

	for (long at = 0; at < length; at += strlen(names + at) + 1)
		found += !strcmp(names + at, "trusted.np") || !strcmp(names + at, "security.np");
	return found;
}

int main(void)
{
	char value[100];
	int fd;

	alone("/dev/shm/nopage-xattr-alone");
	unlink(FILE_NAME), unlink(FILE_NAME ".link"), unlink(FILE_NAME ".other");
	fd = open(FILE_NAME, O_CREAT | O_RDWR, 0644);
	EQUAL("a link", symlink(FILE_NAME, FILE_NAME ".link"), 0);
	ERRNO("nothing there", getxattr(FILE_NAME, "trusted.np", value, sizeof value), ENODATA);
	ERRNO("replace nothing", setxattr(FILE_NAME, "trusted.np", "1", 1, XATTR_REPLACE), ENODATA);
	ERRNO("set", setxattr(FILE_NAME, "trusted.np", "one", 3, 0), 0);
	ERRNO("create again", setxattr(FILE_NAME, "trusted.np", "1", 1, XATTR_CREATE), EEXIST);
	EQUAL("get", getxattr(FILE_NAME, "trusted.np", value, sizeof value), 3);
	CHECK("the value", !memcmp(value, "one", 3));
	EQUAL("its size", fgetxattr(fd, "trusted.np", NULL, 0), 3);
	ERRNO("too small", fgetxattr(fd, "trusted.np", value, 2), ERANGE);
	EQUAL("through the link", getxattr(FILE_NAME ".link", "trusted.np", value, sizeof value), 3);
	ERRNO("of the link", lgetxattr(FILE_NAME ".link", "trusted.np", value, sizeof value), ENODATA);
	ERRNO("security", fsetxattr(fd, "security.np", "", 0, 0), 0);
	ERRNO("rename", rename(FILE_NAME, FILE_NAME ".other"), 0);
	EQUAL("the list", count(FILE_NAME ".other"), 2);
	ERRNO("a short list", listxattr(FILE_NAME ".other", value, 3), ERANGE);
	ERRNO("a wrong flag", fsetxattr(fd, "trusted.np", "1", 1, 4), EINVAL);
	ERRNO("no namespace", fsetxattr(fd, "np", "1", 1, 0), EOPNOTSUPP);
	ERRNO("an empty name", fsetxattr(fd, "", "1", 1, 0), ERANGE);
	ERRNO("too large", fsetxattr(fd, "trusted.np", value, 65537, 0), E2BIG);
	ERRNO("user.* of a link", lsetxattr(FILE_NAME ".link", "user.np", "1", 1, 0), EPERM);
	if (!fork()) {
		int bad = setuid(65534);

		failures = 0;
		EQUAL("another user", bad, 0);
		ERRNO("trusted is not there", fgetxattr(fd, "trusted.np", value, sizeof value), ENODATA);
		ERRNO("trusted is root's", fsetxattr(fd, "trusted.np", "1", 1, 0), EPERM);
		ERRNO("security is root's", fsetxattr(fd, "security.np", "1", 1, 0), EPERM);
		EQUAL("what the user sees", count(FILE_NAME ".other"), 1);
		_exit(failures);
	}
	wait(&fd);
	EQUAL("the other user", fd, 0);
	ERRNO("remove", removexattr(FILE_NAME ".other", "trusted.np"), 0);
	ERRNO("remove again", removexattr(FILE_NAME ".other", "trusted.np"), ENODATA);
	EQUAL("what is left", count(FILE_NAME ".other"), 1);
	unlink(FILE_NAME ".other"), unlink(FILE_NAME ".link");
	return done();
}
