/* mkdir, rename, link, symlink, unlink, getcwd and what they refuse. */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char dir[] = "/tmp/nopage-names-XXXXXX";

static void put(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		_exit(2);
	close(fd);
}

static int has(const char *name, const char *text)
{
	char buffer[100] = "";
	int fd = open(name, O_RDONLY), got;

	if (fd < 0)
		return 0;
	got = read(fd, buffer, 99);
	close(fd);
	return got >= 0 && !strcmp(buffer, text);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of a directory, sorted, in one line. */
static void list(const char *title, const char *name)
{
	char *names[100], line[2000];
	struct dirent *entry;
	DIR *d = opendir(name);
	int count = 0, i, at;

	if (!d)
		_exit(2);
	while ((entry = readdir(d)) && count < 100) {
		names[count] = malloc(strlen(entry->d_name) + 10);
		sprintf(names[count++], "%s:%d", entry->d_name, entry->d_type);
	}
	closedir(d);
	qsort(names, count, sizeof *names, compare);
	at = sprintf(line, "%s", title);
	for (i = 0; i < count; i++)
		at += sprintf(line + at, " %s", names[i]);
	report(1, line, "");
}

static void directories(void)
{
	char cwd[200], long_name[300], *long_path = malloc(6000);
	struct stat st;

	ERRNO("mkdir", mkdir("d", 0777), 0);
	stat("d", &st);
	EQUAL("mode", st.st_mode, S_IFDIR | 0755);
	EQUAL("links", st.st_nlink, 2);
	ERRNO("again", mkdir("d", 0777), EEXIST);
	ERRNO("with slash", mkdir("e/", 0777), 0);
	ERRNO("no parent", mkdir("x/y", 0777), ENOENT);
	ERRNO("of .", mkdir(".", 0777), EEXIST);
	ERRNO("of ..", mkdir("d/..", 0777), EEXIST);
	ERRNO("of /", mkdir("/", 0777), EEXIST);
	put("f", "f");
	ERRNO("below a file", mkdir("f/x", 0777), ENOTDIR);
	ERRNO("over a file", mkdir("f", 0777), EEXIST);
	ERRNO("rmdir a file", rmdir("f"), ENOTDIR);
	ERRNO("unlink a directory", unlink("d"), EISDIR);
	ERRNO("unlink with slash", unlink("f/"), ENOTDIR);
	put("d/x", "x");
	ERRNO("not empty", rmdir("d"), ENOTEMPTY);
	ERRNO("rmdir .", rmdir("d/."), EINVAL);
	ERRNO("rmdir ..", rmdir("d/.."), ENOTEMPTY);
	ERRNO("rmdir nothing", rmdir("nothing"), ENOENT);
	ERRNO("unlink nothing", unlink("nothing"), ENOENT);
	ERRNO("rmdir", rmdir("e"), 0);
	memset(long_name, 'n', 299);
	long_name[299] = 0;
	ERRNO("long name", mkdir(long_name, 0777), ENAMETOOLONG);
	long_name[255] = 0;
	ERRNO("255 is fine", mkdir(long_name, 0777), 0);
	ERRNO("rmdir", rmdir(long_name), 0);
	memset(long_path, '/', 5000);
	strcpy(long_path + 4094, "d");
	ERRNO("4095 is fine", open(long_path, O_RDONLY) == -1 && errno == ENOENT ? 0 : -1, 0);
	strcpy(long_path + 4095, "d");
	ERRNO("4096 is too much", open(long_path, O_RDONLY), ENAMETOOLONG);
	ERRNO("chdir", chdir("d"), 0);
	CHECK("getcwd", getcwd(cwd, sizeof cwd) && !strcmp(strrchr(cwd, '/'), "/d"));
	ERRNO("getcwd, too short", syscall(SYS_getcwd, cwd, 3), ERANGE);
	ERRNO("rename it meanwhile", rename("../d", "../moved"), 0);
	CHECK("getcwd follows", getcwd(cwd, sizeof cwd) && !strcmp(strrchr(cwd, '/'), "/moved"));
	unlink("x");
	ERRNO("remove it meanwhile", rmdir("../moved"), 0);
	ERRNO("getcwd", syscall(SYS_getcwd, cwd, 200), ENOENT);
	ERRNO("create in it", open("y", O_CREAT | O_WRONLY, 0600), ENOENT);
	ERRNO("mkdir in it", mkdir("y", 0700), ENOENT);
	ERRNO("..", chdir(".."), 0);
	CHECK("is where it was", getcwd(cwd, sizeof cwd) && !strcmp(cwd, dir));
	ERRNO("chdir to a file", chdir("f"), ENOTDIR);
	list("left:", ".");
}

static void renames(void)
{
	int fd;

	put("a", "a"), put("b", "b");
	mkdir("d", 0755), mkdir("e", 0755), put("e/x", "x");
	ERRNO("over a file", rename("a", "b"), 0);
	CHECK("replaced", has("b", "a") && access("a", F_OK));
	ERRNO("to itself", rename("b", "b"), 0);
	ERRNO("nothing", rename("a", "c"), ENOENT);
	ERRNO("file over directory", rename("b", "d"), EISDIR);
	ERRNO("directory over file", rename("d", "b"), ENOTDIR);
	ERRNO("over a full directory", rename("d", "e"), ENOTEMPTY);
	ERRNO("over an empty one", rename("e", "d"), 0);
	CHECK("moved with contents", has("d/x", "x"));
	ERRNO("into itself", rename("d", "d/y"), EINVAL);
	ERRNO("into itself, deeper", mkdir("d/y", 0700) || rename("d", "d/y/z") ? -1 : 0, EINVAL);
	ERRNO("a parent over its child", rename("d/y", "d"), ENOTEMPTY);
	ERRNO("of .", rename(".", "q"), EBUSY);
	ERRNO("with slash", rename("b", "c/"), ENOTDIR);
	ERRNO("NOREPLACE", syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "d", 1), EEXIST);
	ERRNO("NOREPLACE, free", syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", 1), 0);
	ERRNO("EXCHANGE", syscall(SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "d", 2), 0);
	CHECK("exchanged", has("d", "a") && has("c/x", "x"));
	ERRNO("EXCHANGE with a directory's slash", syscall(SYS_renameat2, AT_FDCWD, "d", AT_FDCWD, "c/", 2), 0);
	ERRNO("and back", syscall(SYS_renameat2, AT_FDCWD, "d/", AT_FDCWD, "c", 2), 0);
	ERRNO("EXCHANGE with a file's slash", syscall(SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "d/", 2), ENOTDIR);
	ERRNO("NOREPLACE of .", syscall(SYS_renameat2, AT_FDCWD, ".", AT_FDCWD, "..", 1), EBUSY);
	ERRNO("NOREPLACE to .", syscall(SYS_renameat2, AT_FDCWD, "d", AT_FDCWD, ".", 1), EEXIST);
	ERRNO("a link to a directory", symlink("c", "link"), 0);
	ERRNO("not as a directory", open("link", O_RDONLY | O_DIRECTORY | O_NOFOLLOW), ENOTDIR);
	ERRNO("nor for a file without a name", open("link", O_RDWR | O_TMPFILE | O_NOFOLLOW, 0600), ENOTDIR);
	ERRNO("not at all", open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	unlink("link");
	ERRNO("EXCHANGE, nothing", syscall(SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "n", 2), ENOENT);
	ERRNO("both", syscall(SYS_renameat2, AT_FDCWD, "c", AT_FDCWD, "d", 3), EINVAL);
	ERRNO("to another file system", rename("d", "/dev/shm/nopage-d"), EXDEV);
	fd = open("d", O_RDONLY);
	ERRNO("hard link", link("d", "h"), 0);
	ERRNO("rename onto the same file", rename("d", "h"), 0);
	CHECK("both stay", has("d", "a") && has("h", "a"));
	ERRNO("link a directory", link("c", "l"), EPERM);
	ERRNO("link over", link("d", "h"), EEXIST);
	ERRNO("link across", link("d", "/dev/shm/nopage-d"), EXDEV);
	ERRNO("link nothing", link("nothing", "l"), ENOENT);
	close(fd);
	list("left:", ".");
	list("left in c:", "c");
}

static void links(void)
{
	char name[20], to[20];
	struct stat st;
	int i;

	put("target", "t");
	mkdir("real", 0755);
	put("real/f", "rf");
	ERRNO("symlink", symlink("real", "dl"), 0);
	ERRNO("over", symlink("real", "dl"), EEXIST);
	ERRNO("empty", symlink("", "el"), ENOENT);
	CHECK("through it", has("dl/f", "rf"));
	lstat("dl", &st);
	EQUAL("lstat", st.st_mode, S_IFLNK | 0777);
	EQUAL("its size", st.st_size, 4);
	ERRNO("lstat with slash", lstat("dl/", &st) || !S_ISDIR(st.st_mode) ? -1 : 0, 0);
	ERRNO("rmdir the link", rmdir("dl"), ENOTDIR);
	ERRNO("rmdir the link with slash", rmdir("dl/"), ENOTDIR);
	ERRNO(".. of a link is the target's", stat("dl/../target", &st), 0);
	symlink("target", "l0");
	for (i = 1; i <= 41; i++) {
		sprintf(name, "l%d", i), sprintf(to, "l%d", i - 1);
		symlink(to, name);
	}
	CHECK("40 links", has("l39", "t"));
	ERRNO("41 links", open("l40", O_RDONLY), ELOOP);
	symlink("target/", "slash");
	ERRNO("a link that ends in a slash", open("slash", O_RDONLY), ENOTDIR);
	symlink("/", "root");
	ERRNO("absolute", stat("root/tmp", &st), 0);
	ERRNO("above the root", stat("/../../tmp", &st), 0);
	ERRNO("linkat of the link itself", linkat(AT_FDCWD, "dl", AT_FDCWD, "hl", 0), 0);
	lstat("hl", &st);
	CHECK("is a link", S_ISLNK(st.st_mode) && st.st_nlink == 2);
	ERRNO("linkat, flags", linkat(AT_FDCWD, "dl", AT_FDCWD, "x", 1), EINVAL);
	ERRNO("unlinkat, flags", unlinkat(AT_FDCWD, "dl", 1), EINVAL);
	ERRNO("unlinkat a directory", unlinkat(AT_FDCWD, "real", 0), EISDIR);
}

/* As another user. */
static void permissions(void)
{
	int status;

	chmod(".", 0755);
	mkdir("open", 0777), chmod("open", 0777);
	mkdir("sticky", 0777), chmod("sticky", 01777);
	mkdir("closed", 0700);
	put("closed/f", "f"), put("open/root", "r"), put("sticky/root", "r"), put("secret", "s");
	chmod("secret", 0600);
	fflush(stdout);
	if (!fork()) {
		if (setgid(1234) || setuid(1234))
			_exit(2);
		failures = 0;
		ERRNO("search", open("closed/f", O_RDONLY), EACCES);
		ERRNO("read", open("secret", O_RDONLY), EACCES);
		ERRNO("access", access("secret", R_OK), EACCES);
		ERRNO("access F_OK", access("secret", F_OK), 0);
		ERRNO("create", open("new", O_CREAT | O_WRONLY, 0600), EACCES);
		ERRNO("mkdir", mkdir("new", 0700), EACCES);
		ERRNO("unlink", unlink("secret"), EACCES);
		ERRNO("chmod", chmod("secret", 0666), EPERM);
		ERRNO("chown", chown("secret", 1234, -1), EPERM);
		ERRNO("sticky", unlink("sticky/root"), EPERM);
		ERRNO("sticky, rename", rename("sticky/root", "sticky/x"), EPERM);
		ERRNO("not sticky", unlink("open/root"), 0);
		ERRNO("create where allowed", close(open("open/mine", O_CREAT | O_WRONLY, 0600)), 0);
		ERRNO("own: chmod", chmod("open/mine", 0640), 0);
		ERRNO("own: chown to another", chown("open/mine", 0, -1), EPERM);
		ERRNO("own: chown to the same", chown("open/mine", 1234, 1234), 0);
		ERRNO("chroot", chroot("open"), EPERM);
		ERRNO("mknod", mknod("open/dev", S_IFCHR | 0600, 0x103), EPERM);
		ERRNO("mkfifo", mknod("open/fifo", S_IFIFO | 0600, 0), 0);
		ERRNO("truncate", truncate("secret", 0), EACCES);
		ERRNO("utimes of another's", utimensat(AT_FDCWD, "secret", NULL, 0), EACCES);
		ERRNO("chdir", chdir("closed"), EACCES);
		_exit(failures);
	}
	wait(&status);
	EQUAL("the other user", status, 0);
	ERRNO("mknod null", mknod("null", S_IFCHR | 0666, 0x103), 0);
	ERRNO("mknod of a directory", mknod("dd", S_IFDIR | 0666, 0), EPERM);
	if (!fork()) {
		if (chroot("open") || chdir("/"))
			_exit(2);
		failures = 0;
		ERRNO("in the new root", access("/mine", F_OK), 0);
		ERRNO("no way out", access("/../../secret", F_OK), ENOENT);
		_exit(failures);
	}
	wait(&status);
	EQUAL("chroot", status, 0);
}

int main(void)
{
	if (!mkdtemp(dir) || chdir(dir))
		return 2;
	directories();
	renames();
	links();
	permissions();
	return done();
}
