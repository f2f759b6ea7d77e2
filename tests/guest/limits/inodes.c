/*
 * inodes DIR: what an empty tmpfs says of its inodes, and ENOSPC when there are no more (mm/shmem.c:
 * shmem_reserve_inode): a further name of a file counts too, and so does an open file without one.
 */
#include "check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static long before;

static long left(void)
{
	struct statfs fs;

	return statfs(".", &fs) == 0 ? (long)fs.f_ffree : -1;
}

/* How many inodes the call has taken. */
static void costs(const char *name, long result, long wanted)
{
	long now = left();

	CHECK(name, result >= 0);
	EQUAL(name, before - now, wanted);
	before = now;
}

int main(int argc, char **argv)
{
	struct statfs fs;
	char name[40];
	long fd, other, n;

	if (argc != 2 || chdir(argv[1]) || statfs(".", &fs))
		return 2;
	before = left();
	EQUAL("the root's", fs.f_files - fs.f_ffree, 1);
	costs("open", fd = open("a", O_CREAT | O_RDWR, 0600), 1);
	costs("open again", close(open("a", O_CREAT | O_RDWR, 0600)), 0);
	costs("mkdir", mkdir("d", 0700), 1);
	costs("symlink", symlink("nowhere", "s"), 1);
	costs("mkfifo", mkfifo("f", 0600), 1);
	costs("link", link("a", "b"), 1);
	costs("link below", link("a", "d/c"), 1);
	costs("write", write(fd, name, 1), 0);
	costs("rename onto itself", rename("b", "d/c"), 0);
	costs("rename over it", rename("s", "f"), -1);
	costs("unlink of three", unlink("d/c"), -1);
	costs("unlink of two", unlink("b"), -1);
	costs("unlink of an open one", unlink("a"), 0);
	costs("its close", close(fd), -1);
	costs("O_TMPFILE", other = open(".", O_TMPFILE | O_RDWR, 0600), 1);
	snprintf(name, sizeof name, "/proc/self/fd/%ld", other);
	costs("a name for it", linkat(AT_FDCWD, name, AT_FDCWD, "t", AT_SYMLINK_FOLLOW), 0);
	costs("close", close(other), 0);
	costs("rmdir", rmdir("d"), -1);
	for (n = 0; left() > 0; n++) {
		snprintf(name, sizeof name, "filler%ld", n);
		if (mknod(name, S_IFREG | 0600, 0))
			return 3;
	}
	ERRNO("open of a full one", open("x", O_CREAT | O_RDWR, 0600), ENOSPC);
	ERRNO("mkdir", mkdir("x", 0700), ENOSPC);
	ERRNO("symlink", symlink("y", "x"), ENOSPC);
	ERRNO("mkfifo", mkfifo("x", 0600), ENOSPC);
	ERRNO("link", link("filler0", "x"), ENOSPC);
	ERRNO("O_TMPFILE", open(".", O_TMPFILE | O_RDWR, 0600), ENOSPC);
	ERRNO("data", write(fd = open("filler0", O_WRONLY), name, sizeof name) == sizeof name ? 0 : -1, 0);
	before = 0;
	costs("unlink", unlink("filler1"), -1);
	costs("mkdir", mkdir("x", 0700), 1);
	costs("rename over one", rename("filler2", "filler3"), -1);
	return done();
}
