/* open, read, write, lseek and truncate on regular files, errno by errno. */
#include "check.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static char dir[] = "/tmp/nopage-open-XXXXXX";

static void flags(void)
{
	int fd, other;
	struct stat st;

	ERRNO("no such file", open("nothing", O_RDONLY), ENOENT);
	ERRNO("empty path", open("", O_RDONLY), ENOENT);
	ERRNO("bad pointer", syscall(SYS_open, (char *)8, O_RDONLY), EFAULT);
	fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0666);
	CHECK("created", fd >= 0);
	ERRNO("again", open("file", O_RDWR | O_CREAT | O_EXCL, 0666), EEXIST);
	fstat(fd, &st);
	EQUAL("umask", st.st_mode & 07777, 0644);
	EQUAL("size", st.st_size, 0);
	EQUAL("links", st.st_nlink, 1);
	EQUAL("F_GETFL", fcntl(fd, F_GETFL) & ~0100000, O_RDWR);
	EQUAL("write", write(fd, "hello, world\n", 13), 13);
	ERRNO("not a directory", open("file/x", O_RDONLY), ENOTDIR);
	ERRNO("slash after a file", open("file/", O_RDONLY), ENOTDIR);
	ERRNO("O_DIRECTORY", open("file", O_RDONLY | O_DIRECTORY), ENOTDIR);
	ERRNO("a directory for writing", open(".", O_WRONLY), EISDIR);
	ERRNO("O_CREAT of a directory", open(".", O_RDONLY | O_CREAT, 0666), EISDIR);
	ERRNO("O_CREAT with slash", open("new/", O_WRONLY | O_CREAT, 0666), EISDIR);
	other = open(".", O_RDONLY);
	ERRNO("read a directory", read(other, dir, 0), EISDIR);
	close(other);
	other = open("file", O_WRONLY | O_TRUNC);
	fstat(fd, &st);
	EQUAL("O_TRUNC", st.st_size, 0);
	ERRNO("read from write-only", read(other, &st, 1), EBADF);
	EQUAL("hole", pwrite(other, "x", 1, 10000), 1);
	fstat(fd, &st);
	EQUAL("size with a hole", st.st_size, 10001);
	close(other);
	other = open("file", O_WRONLY | O_APPEND);
	EQUAL("append", write(other, "y", 1), 1);
	EQUAL("position", lseek(other, 0, SEEK_CUR), 10002);
	EQUAL("pwrite appends", pwrite(other, "z", 1, 0), 1);
	fstat(fd, &st);
	EQUAL("size", st.st_size, 10003);
	close(other);
	close(fd);
	ERRNO("closed", read(fd, &st, 1), EBADF);
	ERRNO("close twice", close(fd), EBADF);
	ERRNO("write", write(-1, "x", 1), EBADF);
}

static void links(void)
{
	char buffer[20] = "";

	symlink("file", "link");
	symlink("nowhere", "dangling");
	symlink("loop", "loop");
	ERRNO("O_NOFOLLOW", open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	ERRNO("loop", open("loop", O_RDONLY), ELOOP);
	ERRNO("dangling", open("dangling", O_RDONLY), ENOENT);
	ERRNO("O_EXCL does not follow", open("dangling", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	CHECK("O_CREAT follows", open("dangling", O_RDWR | O_CREAT, 0600) >= 0);
	ERRNO("so the target is there", access("nowhere", F_OK), 0);
	EQUAL("readlink", readlink("link", buffer, 20), 4);
	CHECK("text", !strcmp(buffer, "file"));
	EQUAL("cut", readlink("link", buffer, 2), 2);
	ERRNO("no link", readlink("file", buffer, 20), EINVAL);
	ERRNO("size 0", syscall(SYS_readlink, "link", buffer, 0), EINVAL);
}

static void paths(void)
{
	int fd = open("file", O_PATH), d = open(".", O_PATH | O_DIRECTORY), x;
	struct stat st;

	CHECK("O_PATH", fd >= 0);
	ERRNO("read", read(fd, &st, 1), EBADF);
	ERRNO("fchmod", syscall(SYS_fchmod, fd, 0600), EBADF);
	ERRNO("mmap", mmap(NULL, 1, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0, EBADF);
	ERRNO("fstat works", fstat(fd, &st), 0);
	CHECK("F_GETFL", fcntl(fd, F_GETFL) & O_PATH);
	ERRNO("F_SETFL", fcntl(fd, F_SETFL, 0), EBADF);
	x = openat(d, "file", O_RDONLY);
	CHECK("openat an O_PATH directory", x >= 0);
	ERRNO("openat a file", openat(x, "file", O_RDONLY), ENOTDIR);
	ERRNO("openat nothing", openat(77, "file", O_RDONLY), EBADF);
	ERRNO("absolute ignores it", close(openat(77, "/tmp", O_RDONLY)), 0);
	ERRNO("AT_EMPTY_PATH", fstatat(fd, "", &st, AT_EMPTY_PATH), 0);
	ERRNO("without", fstatat(fd, "", &st, 0), ENOENT);
	ERRNO("bad flags", fstatat(fd, "", &st, 0x40000000), EINVAL);
	close(x);
	close(d);
	close(fd);
}

static void seeking(void)
{
	int fd = open("seek", O_RDWR | O_CREAT | O_TRUNC, 0644);
	char page[4096];

	memset(page, 'a', sizeof page);
	EQUAL("write", pwrite(fd, page, 4096, 8192), 4096);
	EQUAL("SEEK_END", lseek(fd, -1, SEEK_END), 12287);
	EQUAL("SEEK_CUR", lseek(fd, 10000, SEEK_CUR), 22287);
	EQUAL("read beyond", read(fd, page, 10), 0);
	ERRNO("negative", lseek(fd, -1, SEEK_SET), EINVAL);
	ERRNO("whence", lseek(fd, 0, 9), EINVAL);
	EQUAL("SEEK_DATA", lseek(fd, 0, SEEK_DATA), 8192);
	EQUAL("SEEK_HOLE", lseek(fd, 0, SEEK_HOLE), 0);
	EQUAL("SEEK_HOLE at the end", lseek(fd, 8192, SEEK_HOLE), 12288);
	ERRNO("SEEK_DATA beyond", lseek(fd, 12288, SEEK_DATA), ENXIO);
	EQUAL("the hole", pread(fd, page, 4096, 4096), 4096);
	CHECK("is zero", all_are(page, 0, 4096));
	EQUAL("across", pread(fd, page, 4096, 8190), 4096);
	CHECK("two zeros, then data", !page[0] && !page[1] && all_are(page + 2, 'a', 4094));
	EQUAL("at the end", pread(fd, page, 4096, 12280), 8);
	ERRNO("negative offset", pread(fd, page, 1, -1), EINVAL);
	ERRNO("ftruncate", ftruncate(fd, 8193), 0);
	EQUAL("size", lseek(fd, 0, SEEK_END), 8193);
	ERRNO("longer again", ftruncate(fd, 9000), 0);
	EQUAL("read", pread(fd, page, 4096, 8192), 808);
	CHECK("one byte left", page[0] == 'a' && all_are(page + 1, 0, 807));
	ERRNO("negative", ftruncate(fd, -1), EINVAL);
	ERRNO("truncate by name", truncate("seek", 5), 0);
	EQUAL("size", lseek(fd, 0, SEEK_END), 5);
	ERRNO("truncate a directory", truncate(".", 5), EISDIR);
	close(fd);
	fd = open("seek", O_RDONLY);
	ERRNO("ftruncate read-only", ftruncate(fd, 0), EINVAL);
	close(fd);
}

static void vectors(void)
{
	int fd = open("vector", O_RDWR | O_CREAT | O_TRUNC, 0644);
	char a[4] = "abc", b[6] = "defgh", *m = anonymous(2);
	struct iovec v[3] = { { a, 3 }, { NULL, 0 }, { b, 5 } };

	EQUAL("writev", writev(fd, v, 3), 8);
	memset(a, 0, 4), memset(b, 0, 6);
	EQUAL("preadv", preadv(fd, v, 3, 1), 7);
	CHECK("scattered", !memcmp(a, "bcd", 3) && !memcmp(b, "efgh", 4));
	EQUAL("none", writev(fd, v, 0), 0);
	ERRNO("too many", writev(fd, v, 2000), EINVAL);
	v[2].iov_len = (size_t)-1;
	ERRNO("negative length", writev(fd, v, 3), EINVAL);
	munmap(m + PAGE, PAGE);
	memset(m, 'q', PAGE);
	EQUAL("half of the buffer is there", pwrite(fd, m + PAGE - 10, 20, 0), 10);
	ERRNO("nothing is there", write(fd, m + PAGE, 20), EFAULT);
	EQUAL("read into half of it", pread(fd, m + PAGE - 4, 10, 0), 4);
	ERRNO("read into nothing", pread(fd, m + PAGE, 10, 0), EFAULT);
	EQUAL("read nothing", pread(fd, m + PAGE, 0, 0), 0);
	ERRNO("kernel address", read(fd, (void *)-4096, 100), EFAULT);
	close(fd);
}

static void limits(void)
{
	struct rlimit old, now = { 100, 100 };
	int fd = open("limit", O_RDWR | O_CREAT | O_TRUNC, 0644), got;
	char b[200] = "";

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	now.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &now);
	EQUAL("up to RLIMIT_FSIZE", write(fd, b, 200), 100);
	ERRNO("beyond", write(fd, b, 1), EFBIG);
	ERRNO("ftruncate beyond", ftruncate(fd, 200), EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	getrlimit(RLIMIT_NOFILE, &old);
	now.rlim_cur = 10;
	now.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_NOFILE, &now);
	while ((got = dup(fd)) >= 0)
		;
	EQUAL("EMFILE", errno, EMFILE);
	ERRNO("dup2 beyond", dup2(fd, 10), EBADF);
	ERRNO("F_DUPFD beyond", fcntl(fd, F_DUPFD, 10), EINVAL);
	ERRNO("close_range", syscall(436, 5, ~0U, 0), 0);
	ERRNO("closed", fcntl(6, F_GETFD), EBADF);
	ERRNO("close_range backwards", syscall(436, 5, 4, 0), EINVAL);
	setrlimit(RLIMIT_NOFILE, &old);
	EQUAL("lowest", dup(fd), 5);
	EQUAL("F_DUPFD_CLOEXEC", fcntl(fd, F_DUPFD_CLOEXEC, 20), 20);
	EQUAL("FD_CLOEXEC", fcntl(20, F_GETFD), FD_CLOEXEC);
	EQUAL("dup3", dup3(fd, 21, O_CLOEXEC), 21);
	ERRNO("dup3 onto itself", dup3(21, 21, 0), EINVAL);
	EQUAL("dup2 onto itself", dup2(21, 21), 21);
	EQUAL("shared position", lseek(21, 42, SEEK_SET), 42);
	EQUAL("seen here", lseek(fd, 0, SEEK_CUR), 42);
	ERRNO("ioctl", ioctl(fd, 0x5401, b), ENOTTY);
	ERRNO("FIOCLEX", ioctl(fd, FIOCLEX), 0);
	EQUAL("set", fcntl(fd, F_GETFD), FD_CLOEXEC);
	ERRNO("fcntl", fcntl(fd, 4242, 0), EINVAL);
}

static void temporary(void)
{
	int fd = open(".", O_TMPFILE | O_RDWR, 0600), n;
	char name[40];
	struct stat st;

	CHECK("O_TMPFILE", fd >= 0);
	fstat(fd, &st);
	EQUAL("no links", st.st_nlink, 0);
	EQUAL("write", write(fd, "abc", 3), 3);
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	ERRNO("give it a name", linkat(AT_FDCWD, name, AT_FDCWD, "named", AT_SYMLINK_FOLLOW), 0);
	n = open("named", O_RDONLY);
	EQUAL("read it", read(n, name, 10), 3);
	ERRNO("read-only", open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
	ERRNO("unlink", unlink("named"), 0);
	lseek(n, 0, SEEK_SET);
	EQUAL("still there", read(n, name, 10), 3);
	fstat(n, &st);
	EQUAL("no links again", st.st_nlink, 0);
}

/* openat2: what each RESOLVE flag forbids. */
static int resolving(int dirfd, const char *path, unsigned long long flags, unsigned long long resolve)
{
	unsigned long long how[3] = { flags, 0, resolve };

	return syscall(437, dirfd, path, how, sizeof how);
}

static void resolves(void)
{
	int d;
	unsigned long long long_how[4] = { O_RDONLY, 0, 0, 1 };

	mkdir("tree", 0755), mkdir("tree/sub", 0755);
	close(open("tree/f", O_CREAT | O_WRONLY, 0644));
	symlink("../f", "tree/sub/in"), symlink("../../file", "tree/sub/out"), symlink("/f", "tree/abs");
	symlink("/proc/self/root", "tree/magic");
	d = open("tree", O_PATH | O_DIRECTORY);
	ERRNO("plain", close(resolving(d, "sub/in", O_RDONLY, 0)), 0);
	ERRNO("NO_SYMLINKS", resolving(d, "sub/in", O_RDONLY, 4), ELOOP);
	ERRNO("NO_SYMLINKS, none", close(resolving(d, "sub/../f", O_RDONLY, 4)), 0);
	ERRNO("NO_MAGICLINKS", resolving(d, "magic/tmp", O_RDONLY, 2), ELOOP);
	ERRNO("NO_MAGICLINKS, usual link", close(resolving(d, "sub/in", O_RDONLY, 2)), 0);
	ERRNO("BENEATH", close(resolving(d, "sub/in", O_RDONLY, 8)), 0);
	ERRNO("BENEATH, out", resolving(d, "sub/out", O_RDONLY, 8), EXDEV);
	ERRNO("BENEATH, ..", resolving(d, "..", O_RDONLY, 8), EXDEV);
	ERRNO("BENEATH, absolute", resolving(d, "/f", O_RDONLY, 8), EXDEV);
	ERRNO("BENEATH, absolute link", resolving(d, "abs", O_RDONLY, 8), EXDEV);
	ERRNO("IN_ROOT", close(resolving(d, "/f", O_RDONLY, 16)), 0);
	ERRNO("IN_ROOT, absolute link", close(resolving(d, "abs", O_RDONLY, 16)), 0);
	ERRNO("IN_ROOT, ..", close(resolving(d, "../../f", O_RDONLY, 16)), 0);
	ERRNO("IN_ROOT, out", resolving(d, "sub/out", O_RDONLY, 16), ENOENT);
	ERRNO("IN_ROOT, magic", resolving(d, "/../../proc/self/root", O_RDONLY, 16), ENOENT);
	ERRNO("NO_XDEV", resolving(AT_FDCWD, "/proc/version", O_RDONLY, 1), EXDEV);
	ERRNO("both roots", resolving(d, "f", O_RDONLY, 8 | 16), EINVAL);
	ERRNO("unknown", resolving(d, "f", O_RDONLY, 64), EINVAL);
	ERRNO("unknown flag", resolving(d, "f", 1ULL << 40, 0), EINVAL);
	ERRNO("too long", syscall(437, d, "f", long_how, sizeof long_how), E2BIG);
	ERRNO("too short", syscall(437, d, "f", long_how, 16), EINVAL);
}

/* The names of open files in /proc follow rename and unlink. */
static void named(const char *title, int fd, const char *want)
{
	char name[40], text[200] = "";

	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	if (readlink(name, text, 199) < 0)
		_exit(2);
	CHECK(title, !strcmp(text + strlen(dir), want));
}

static void proc_names(void)
{
	int fd = open("name", O_CREAT | O_RDWR, 0600);

	named("opened", fd, "/name");
	rename("name", "other");
	named("renamed", fd, "/other");
	mkdir("below", 0700);
	rename("other", "below/name");
	rename("below", "moved");
	named("its directory too", fd, "/moved/name");
	unlink("moved/name");
	named("removed", fd, "/moved/name (deleted)");
}

int main(void)
{
	if (!mkdtemp(dir) || chdir(dir))
		return 2;
	flags();
	links();
	paths();
	seeking();
	vectors();
	limits();
	temporary();
	resolves();
	proc_names();
	return done();
}
