/* stat, chmod, chown, times, access, statfs, getdents and extended attributes. */
#include "check.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <utime.h>

static char dir[] = "/dev/shm/nopage-attr-XXXXXX";

static void modes(void)
{
	struct stat st;
	int fd = open("f", O_RDWR | O_CREAT, 0640);

	ERRNO("chmod", chmod("f", 06755), 0);
	stat("f", &st);
	EQUAL("mode", st.st_mode, S_IFREG | 06755);
	ERRNO("chown takes setuid", chown("f", 1, 2), 0);
	stat("f", &st);
	EQUAL("mode", st.st_mode, S_IFREG | 0755);
	CHECK("owner", st.st_uid == 1 && st.st_gid == 2);
	ERRNO("only the group", chown("f", -1, 7), 0);
	stat("f", &st);
	CHECK("owner", st.st_uid == 1 && st.st_gid == 7);
	ERRNO("fchmod", fchmod(fd, 0), 0);
	ERRNO("root reads all the same", close(open("f", O_RDONLY)), 0);
	ERRNO("but does not execute", access("f", X_OK), EACCES);
	ERRNO("mode", access("f", 8), EINVAL);
	symlink("f", "l");
	ERRNO("fchownat the link", fchownat(AT_FDCWD, "l", 5, 5, AT_SYMLINK_NOFOLLOW), 0);
	lstat("l", &st);
	EQUAL("its owner", st.st_uid, 5);
	stat("l", &st);
	EQUAL("not the file's", st.st_uid, 1);
	ERRNO("AT_EMPTY_PATH", fchownat(fd, "", 9, 9, AT_EMPTY_PATH), 0);
	fstat(fd, &st);
	EQUAL("owner", st.st_uid, 9);
	EQUAL("blocks of an empty file", st.st_blocks, 0);
	pwrite(fd, "x", 1, 100000);
	fstat(fd, &st);
	EQUAL("blocks of one page", st.st_blocks, 8);
	EQUAL("blksize", st.st_blksize, 4096);
	umask(0077);
	mkdir("d", 0777);
	stat("d", &st);
	EQUAL("umask", st.st_mode & 0777, 0700);
	chmod("d", 02770), chown("d", 0, 33);
	umask(0);
	close(open("d/f", O_CREAT | O_WRONLY, 0666));
	mkdir("d/d", 0755);
	stat("d/f", &st);
	EQUAL("group of a setgid directory", st.st_gid, 33);
	stat("d/d", &st);
	EQUAL("inherited", st.st_mode & 07777, 02755);
	stat("d", &st);
	EQUAL("links", st.st_nlink, 3);
}

static void times(void)
{
	struct timespec ts[2] = { { 1000, 5 }, { 2000, 999999999 } };
	struct timeval tv[2] = { { 7, 8 }, { 9, 10 } };
	struct utimbuf ut = { 11, 12 };
	struct stat st, later;
	int fd = open("t", O_RDWR | O_CREAT, 0600);

	ERRNO("utimensat", utimensat(AT_FDCWD, "t", ts, 0), 0);
	stat("t", &st);
	CHECK("atime", st.st_atim.tv_sec == 1000 && st.st_atim.tv_nsec == 5);
	CHECK("mtime", st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 999999999);
	ts[0].tv_nsec = UTIME_OMIT, ts[1].tv_nsec = UTIME_NOW;
	ERRNO("OMIT and NOW", utimensat(AT_FDCWD, "t", ts, 0), 0);
	stat("t", &later);
	CHECK("atime stays", later.st_atim.tv_sec == 1000);
	CHECK("mtime is now", later.st_mtim.tv_sec > 1000000);
	ts[0].tv_nsec = 1000000000;
	ERRNO("nanoseconds", utimensat(AT_FDCWD, "t", ts, 0), EINVAL);
	ERRNO("futimens", futimens(fd, NULL), 0);
	ERRNO("utimes", utimes("t", tv), 0);
	stat("t", &st);
	CHECK("utimes", st.st_atim.tv_sec == 7 && st.st_mtim.tv_nsec == 10000);
	tv[0].tv_usec = 1000000;
#ifdef __x86_64__ /* elsewhere the C library's timeval is not the kernel's */
	ERRNO("microseconds", syscall(SYS_futimesat, AT_FDCWD, "t", tv), EINVAL);
#endif
	ERRNO("utime", utime("t", &ut), 0);
	stat("t", &st);
	CHECK("utime", st.st_atim.tv_sec == 11 && st.st_mtim.tv_sec == 12);
	EQUAL("write", write(fd, "abc", 3), 3);
	fstat(fd, &st);
	CHECK("mtime moved", st.st_mtim.tv_sec > 1000000);
	CHECK("atime did not", st.st_atim.tv_sec == 11);
	lseek(fd, 0, SEEK_SET);
	EQUAL("read", read(fd, &later, 3), 3);
	fstat(fd, &st);
	CHECK("relatime", st.st_atim.tv_sec > 1000000);
	ERRNO("nothing", utimensat(AT_FDCWD, "nothing", NULL, 0), ENOENT);
	ERRNO("flags", utimensat(AT_FDCWD, "t", NULL, 1), EINVAL);
	symlink("t", "tl");
	ts[0] = (struct timespec){ 5, 0 }, ts[1] = ts[0];
	ERRNO("the link itself", utimensat(AT_FDCWD, "tl", ts, AT_SYMLINK_NOFOLLOW), 0);
	lstat("tl", &st);
	EQUAL("mtime", st.st_mtim.tv_sec, 5);
}

static void figures(void)
{
	struct statfs fs;
	struct stat a, b;
	char x[4096];
	int d, fd, got;

	ERRNO("statfs", statfs(".", &fs), 0);
	EQUAL("tmpfs", fs.f_type, 0x01021994);
	EQUAL("block", fs.f_bsize, 4096);
	EQUAL("names", fs.f_namelen, 255);
	ERRNO("statfs /proc", statfs("/proc", &fs), 0);
	EQUAL("proc", fs.f_type, 0x9fa0);
	ERRNO("statfs nothing", statfs("nothing", &fs), ENOENT);
	stat(".", &a), stat("/proc", &b);
	CHECK("devices differ", a.st_dev != b.st_dev);
	stat("f", &b);
	CHECK("the same here", a.st_dev == b.st_dev && a.st_ino != b.st_ino);
	link("f", "f2");
	stat("f2", &a);
	CHECK("a hard link is the same", a.st_ino == b.st_ino && a.st_nlink == 2);
	ERRNO("statx", syscall(SYS_statx, AT_FDCWD, "f", 0, 0x7ff, x), 0);
	EQUAL("stx_mode", *(unsigned short *)(x + 28), b.st_mode);
	ERRNO("statx mask", syscall(SYS_statx, AT_FDCWD, "f", 0, 0x80000000u, x), EINVAL);
	ERRNO("statx flags", syscall(SYS_statx, AT_FDCWD, "f", 0x10000, 0x7ff, x), EINVAL);
	d = open(".", O_RDONLY), fd = open("f", O_RDWR);
	ERRNO("getdents, short", syscall(SYS_getdents64, d, x, 10), EINVAL);
	ERRNO("getdents of a file", syscall(SYS_getdents64, fd, x, 4096), ENOTDIR);
	got = syscall(SYS_getdents64, d, x, 60);
	CHECK("a few", got > 0 && got <= 60);
	while ((got = syscall(SYS_getdents64, d, x, 4096)) > 0)
		;
	EQUAL("all", got, 0);
	lseek(d, 0, SEEK_SET);
	CHECK("again", syscall(SYS_getdents64, d, x, 4096) > 0);
	ERRNO("fsync", fsync(fd), 0);
	ERRNO("fdatasync a directory", fdatasync(d), 0);
	ERRNO("faccessat2", syscall(439, AT_FDCWD, "f", R_OK, 0x80000), EINVAL);
}

static void extended(void)
{
	char b[100];

	ERRNO("none", getxattr("f", "trusted.none", b, 100), ENODATA);
	ERRNO("namespace", getxattr("f", "nobody.none", b, 100), EOPNOTSUPP);
	ERRNO("set", setxattr("f", "trusted.x", "value", 5, 0), 0);
	ERRNO("create", setxattr("f", "trusted.x", "value", 5, XATTR_CREATE), EEXIST);
	ERRNO("replace", setxattr("f", "trusted.y", "value", 5, XATTR_REPLACE), ENODATA);
	EQUAL("size", getxattr("f", "trusted.x", NULL, 0), 5);
	EQUAL("get", getxattr("f", "trusted.x", b, 100), 5);
	CHECK("value", !memcmp(b, "value", 5));
	ERRNO("short", getxattr("f", "trusted.x", b, 2), ERANGE);
	EQUAL("list", listxattr("f", b, 100), 10);
	ERRNO("remove", removexattr("f", "trusted.x"), 0);
	ERRNO("remove again", removexattr("f", "trusted.x"), ENODATA);
}

static int away(const char *path, const struct stat *st, int kind, struct FTW *where)
{
	(void)st, (void)kind, (void)where;
	return remove(path);
}

int main(void)
{
	if (!mkdtemp(dir) || chdir(dir))
		return 2;
	umask(022);
	modes();
	times();
	figures();
	extended();
	CHECK("nothing is left", !chdir("/") && !nftw(dir, away, 8, FTW_DEPTH | FTW_PHYS));
	return done();
}
