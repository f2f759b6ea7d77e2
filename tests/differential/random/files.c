/* SPDX-License-Identifier: GPL-2.0-or-later */
/* files SEED COUNT [DIRECTORY]: so many random calls on a few files, with sizes and places about the edges of pages and of
   what a call takes; each with what came of it.  Left out is what file systems do differently, addresses that fault
   (since Linux 6.16 such a write makes the file longer), what is in a pipe (splice shows later writes there), and
   sendfile within one file. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILES = 8, ALL = 10, ROOM = 1 << 20 };

static unsigned long long state;
static int tmpfiles; /* a bound directory has none (docs/kernel-differences.md) */
static int fds[ALL];
static char from[ROOM], to[ROOM];
static const char *const names[] = { "a", "b", "c", "d/e", "d/f", "g", "d", "nowhere/x" };
static const long long sizes[] = { 0,	 0,	1,     2,     100,   511,   512,   4095,  4096,	 4097,
				   8191, 8192, 8193, 12288, 20000, 65535, 65536, 65537, 200000 };

static unsigned below(unsigned n)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(state >> 33) % n;
}

static size_t size(void)
{
	unsigned n = below(24);

	return n < 19 ? sizes[n] : below(20000);
}

static long long place(void)
{
	static const long long far[] = { -1, -4096, INT_MAX, INT_MAX + 1LL, 1LL << 40, LLONG_MAX };
	unsigned n = below(40);

	return n < 19 ? sizes[n] : n < 34 ? below(30000) : far[n - 34];
}

static long long near_place(void)
{
	long long at = place();

	return at < -1 || at > 200000 ? below(50000) : at;
}

static unsigned sum(const char *data, long count)
{
	unsigned value = count;

	for (long n = 0; n < count; n++)
		value = value * 31 + (unsigned char)data[n];
	return value;
}

/* D, P, F; - for none; x for one of O_PATH. */
static char kind(int fd)
{
	int flags = fcntl(fd, F_GETFL), before = errno;
	struct stat now;

	if (flags < 0 || fstat(fd, &now))
		return errno = before, '-';
	errno = before;
	return flags & O_PATH ? 'x' : S_ISDIR(now.st_mode) ? 'D' : S_ISFIFO(now.st_mode) ? 'P' : 'F';
}

static int vectors(struct iovec *all, char *base, int apart)
{
	int number = below(5);
	long used = 0;

	for (int n = 0; n < number; n++) {
		all[n].iov_base = base + (apart ? used : below(9000));
		all[n].iov_len = below(3) ? size() : 0;
		used += all[n].iov_len;
	}
	return number;
}

static void replace(int slot, int fd)
{
	if (fds[slot] >= 0)
		close(fds[slot]);
	fds[slot] = fd;
}

static long opened(const char *name, long long *flags)
{
	static const int kinds[] = { O_CREAT, O_CREAT, O_TRUNC, O_APPEND, O_EXCL, O_DIRECTORY, O_PATH, O_NOFOLLOW, O_TMPFILE };
	int slot = below(FILES);

	*flags = below(5) ? O_RDWR : below(2);
	for (unsigned n = 0; n < sizeof kinds / sizeof *kinds; n++)
		if (!below(n < 2 ? 2 : 3 + n) && (kinds[n] != O_TMPFILE || tmpfiles))
			*flags |= kinds[n];
	replace(slot, -1);
	errno = 0;
	return fds[slot] = open(name, *flags, 0600 + below(64));
}

static long mapped(int fd, int turn, unsigned *seen)
{
	long long at = near_place() & -4096;
	size_t count = size();
	int rights = below(2) ? PROT_READ | PROT_WRITE : PROT_READ, how = below(2) ? MAP_SHARED : MAP_PRIVATE;
	struct stat now = { 0 };
	char *memory = mmap(NULL, count, rights, how, fd, at);

	if (memory == MAP_FAILED)
		return -1;
	fstat(fd, &now);
	long there = now.st_size - at < (long long)count ? now.st_size - at : (long)count;
	if (there > 0) {
		*seen = sum(memory, there);
		if (rights & PROT_WRITE)
			memset(memory + there / 2, turn, there / 3), memory[below(there)] = turn;
	}
	munmap(memory, count);
	return 0;
}

static long moved(int call, int fd, int other, long long *a, long long *b, long long *c)
{
	struct stat one = { 0 }, two = { 0 };
	off_t first = place(), second = below(60000);
	off_t *in = below(2) ? &first : NULL, *out = below(2) ? &second : NULL;
	long result;

	*a = size();
	if (call == 0 && !fstat(fd, &one) && !fstat(other, &two) && one.st_ino == two.st_ino &&
	    one.st_dev == two.st_dev)
		return -2;
	if (call == 0)
		result = sendfile(fd, other, in, *a);
	else if (call == 1)
		result = copy_file_range(fd, in, other, out, *a, !below(20));
	else
		result = splice(fd, in, other, out, *a, SPLICE_F_NONBLOCK);
	return *b = first, *c = second, result;
}

static long limited(long long *most)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = below(3) ? limit.rlim_max : below(100000);
	*most = limit.rlim_cur == limit.rlim_max ? -1 : (long long)limit.rlim_cur;
	return setrlimit(RLIMIT_FSIZE, &limit);
}

static long call(unsigned which, int turn, int fd, int other, const char *name, const char *second, long long *a,
		 long long *b, long long *c)
{
	struct iovec pieces[4];
	struct stat now = { 0 };
	unsigned seen = 0;
	long result;
	int flags, slot = below(FILES);

	switch (which) {
	case 0: case 1: case 2:
		return opened(name, a);
	case 3:
		replace(slot, -1);
		return 0;
	case 4: case 5: case 6:
		return write(fd, from + below(9000), *a = size());
	case 7: case 8:
		memset(to, 0, *a = size());
		result = read(fd, to, *a);
		return *b = kind(fd) == 'P' ? 0 : sum(to, *a), result;
	case 9: case 10:
		return pwrite(fd, from + below(9000), *a = size(), *b = below(9) ? near_place() : below(2) ? LLONG_MAX : -1);
	case 11: case 12:
		memset(to, 0, *a = size());
		result = pread(fd, to, *a, *b = place());
		return *c = sum(to, *a), result;
	case 13:
		return kind(fd) == 'D' ? 0 : lseek(fd, *a = near_place(), *b = below(3));
	case 14:
		return ftruncate(fd, *a = near_place());
	case 15:
		return truncate(name, *a = near_place());
	case 16:
		flags = below(2) ? FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE : 0;
		return fallocate(fd, *a = flags, *b = near_place(), *c = near_place());
	case 17:
		return writev(fd, pieces, *a = vectors(pieces, from, 0) & 3);
	case 18:
		memset(to, 0, ROOM);
		result = readv(fd, pieces, *a = vectors(pieces, to, 1) & 3);
		return *b = kind(fd) == 'P' ? 0 : sum(to, ROOM), result;
	case 19: case 20: case 21:
		return moved(which - 19, fd, other, a, b, c);
	case 22:
		return rename(name, second);
	case 23:
		return link(name, second);
	case 24:
		return below(3) ? unlink(name) : rmdir(name);
	case 25:
		return symlink(name, second);
	case 26:
		return mkdir(name, 0700);
	case 27:
		result = dup(fd);
		if (result >= 0)
			replace(slot, result);
		return result;
	case 28: case 29: case 30:
		result = which == 28 ? fstat(fd, &now) : which == 29 ? stat(name, &now) : lstat(name, &now);
		*c = now.st_mode;
		if (!S_ISDIR(now.st_mode))
			*a = now.st_size, *b = now.st_nlink;
		return result;
	case 31: case 32:
		result = mapped(fd, turn, &seen);
		return *a = seen, result;
	case 33:
		return limited(a);
	case 34:
		flags = (int[]){ 0, RWF_APPEND, RWF_DSYNC, 0x4000 }[below(4)];
		return pwritev2(fd, pieces, vectors(pieces, from, 0) & 3, *a = near_place(), *b = flags);
	case 35:
		return fchmod(fd, below(01000));
	case 36:
		return below(2) ? fsync(fd) : fdatasync(fd);
	case 37:
		result = readlink(name, to, *a = below(20));
		return *b = result > 0 ? sum(to, result) : 0, result;
	default:
		return access(name, below(8));
	}
}

static int away(const char *path, const struct stat *now, int type, struct FTW *where)
{
	(void)now, (void)type, (void)where;
	return remove(path);
}

int main(int argc, char **argv)
{
	char directory[PATH_MAX];
	int ends[2], count = argc > 2 ? atoi(argv[2]) : 1000;

	state = (argc > 1 ? strtoull(argv[1], NULL, 10) : 1) * 2654435761ULL + 1;
	for (int fd = 3; fd < 300; fd++)
		close(fd);
	for (int n = 0; n < ROOM; n++)
		from[n] = n * 7 + n / 300;
	for (int slot = 0; slot < FILES; slot++)
		fds[slot] = -1;
	signal(SIGPIPE, SIG_IGN), signal(SIGXFSZ, SIG_IGN), umask(022);
	tmpfiles = argc < 4;
	snprintf(directory, sizeof directory, "%s/random.XXXXXX", argc > 3 ? argv[3] : "/tmp");
	if (!mkdtemp(directory) || chdir(directory) || mkdir("d", 0755) || pipe2(ends, O_NONBLOCK))
		return perror(directory), 1;
	fds[FILES] = ends[0], fds[FILES + 1] = ends[1];
	for (int turn = 0; turn < count; turn++) {
		int fd = fds[below(ALL)], other = fds[below(ALL)];
		const char *name = names[below(8)], *second = names[below(8)];
		unsigned which = below(39);
		char before = kind(fd), beside = kind(other);
		long long a = 0, b = 0, c = 0;

		errno = 0;
		long result = call(which, turn, fd, other, name, second, &a, &b, &c);
		printf("%d: %u %d%c %d%c %s %s %lld %lld %lld = %ld %s\n", turn, which, fd, before, other, beside, name, second,
		       a, b, c, result, result == -1 ? strerror(errno) : "");
	}
	nftw(directory, away, 8, FTW_DEPTH | FTW_PHYS);
	return fflush(stdout) != 0;
}
