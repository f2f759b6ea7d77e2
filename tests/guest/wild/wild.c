/*
 * Wild pointers in every system call that takes one: EFAULT, never a signal, never a success.
 *
 * Each row names the argument that is the pointer and says whether the kernel reads a string there, reads a structure,
 * or writes.  It is called with an address that nothing maps, with a PROT_NONE page, with kernel addresses, and with
 * what suits its kind: a string that runs into a bad page, a structure that begins in front of one, a read-only page.
 * (Bytes to write are no structure: of those in front of a bad page the first are written.)
 */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>

/* The old names, which musl keeps to itself where time_t is wider than the call's. */
#if defined __i386__ && !defined SYS_gettimeofday
#define SYS_gettimeofday SYS_gettimeofday_time32
#define SYS_clock_gettime SYS_clock_gettime32
#define SYS_clock_getres SYS_clock_getres_time32
#define SYS_clock_nanosleep SYS_clock_nanosleep_time32
#define SYS_timerfd_settime SYS_timerfd_settime32
#define SYS_timerfd_gettime SYS_timerfd_gettime32
#endif

enum kind { STRING, BYTES, IN, OUT };

/* What stands for something that exists only at run time. */
enum { FILE_FD = 0x7eef0000, DIR_FD, PIPE_IN, PIPE_OUT, EPOLL_FD, TIMER_FD, BUFFER, PATH, BAD };

struct row {
	const char *name;
	long number;
	enum kind kind;
	long arguments[6];
};

static const struct row rows[] = {
	{"read", SYS_read, OUT, {FILE_FD, BAD, 10}},
	{"write to a file", SYS_write, BYTES, {FILE_FD, BAD, 10}},
	{"write to a pipe", SYS_write, IN, {PIPE_OUT, BAD, 10}},
	{"pread64", SYS_pread64, OUT, {FILE_FD, BAD, 10, 0, 0, 0}},
	{"pwrite64", SYS_pwrite64, BYTES, {FILE_FD, BAD, 10, 0, 0, 0}},
	{"readv", SYS_readv, IN, {FILE_FD, BAD, 2}},
	{"writev", SYS_writev, IN, {FILE_FD, BAD, 2}},
	{"preadv", SYS_preadv, IN, {FILE_FD, BAD, 2, 0, 0}},
	{"pwritev", SYS_pwritev, IN, {FILE_FD, BAD, 2, 0, 0}},
	{"open", SYS_open, STRING, {BAD, O_RDONLY}},
	{"openat", SYS_openat, STRING, {AT_FDCWD, BAD, O_RDONLY}},
	{"creat", SYS_creat, STRING, {BAD, 0600}},
	{"access", SYS_access, STRING, {BAD, 0}},
	{"faccessat", SYS_faccessat, STRING, {AT_FDCWD, BAD, 0}},
#ifdef __i386__
	{"stat64, path", SYS_stat64, STRING, {BAD, BUFFER}},
	{"stat64, buffer", SYS_stat64, OUT, {PATH, BAD}},
	{"fstat64", SYS_fstat64, OUT, {FILE_FD, BAD}},
	{"fstatat64", SYS_fstatat64, OUT, {AT_FDCWD, PATH, BAD, 0}},
	{"_llseek", SYS__llseek, OUT, {FILE_FD, 0, 0, BAD, SEEK_SET}},
	{"select", SYS__newselect, IN, {10, BAD, 0, 0, 0}},
	{"set_thread_area", SYS_set_thread_area, IN, {BAD}},
	{"getrlimit", SYS_ugetrlimit, OUT, {RLIMIT_AS, BAD}},
	{"statfs64", SYS_statfs64, STRING, {BAD, 84, BUFFER}},
	{"fstatfs64", SYS_fstatfs64, OUT, {FILE_FD, 84, BAD}},
	{"clock_gettime64", SYS_clock_gettime64, OUT, {CLOCK_MONOTONIC, BAD}},
	{"truncate64", SYS_truncate64, STRING, {BAD, 0, 0}},
#else
	{"stat, path", SYS_stat, STRING, {BAD, BUFFER}},
	{"stat, buffer", SYS_stat, OUT, {PATH, BAD}},
	{"fstat", SYS_fstat, OUT, {FILE_FD, BAD}},
	{"newfstatat", SYS_newfstatat, OUT, {AT_FDCWD, PATH, BAD, 0}},
	{"select", SYS_select, IN, {10, BAD, 0, 0, 0}},
	{"arch_prctl", SYS_arch_prctl, OUT, {0x1003, BAD}},
	{"getrlimit", SYS_getrlimit, OUT, {RLIMIT_AS, BAD}},
	{"statfs, path", SYS_statfs, STRING, {BAD, BUFFER}},
	{"statfs, buffer", SYS_statfs, OUT, {PATH, BAD}},
	{"fstatfs", SYS_fstatfs, OUT, {FILE_FD, BAD}},
	{"truncate", SYS_truncate, STRING, {BAD, 0}},
#endif
	{"statx, path", SYS_statx, STRING, {AT_FDCWD, BAD, 0, 0x7ff, BUFFER}},
	{"statx, buffer", SYS_statx, OUT, {AT_FDCWD, PATH, 0, 0x7ff, BAD}},
	{"chdir", SYS_chdir, STRING, {BAD}},
	{"chroot", SYS_chroot, STRING, {BAD}},
	{"mkdir", SYS_mkdir, STRING, {BAD, 0700}},
	{"rmdir", SYS_rmdir, STRING, {BAD}},
	{"unlink", SYS_unlink, STRING, {BAD}},
	{"unlinkat", SYS_unlinkat, STRING, {AT_FDCWD, BAD, 0}},
	{"rename, old", SYS_rename, STRING, {BAD, PATH}},
	{"rename, new", SYS_rename, STRING, {PATH, BAD}},
	{"link, old", SYS_link, STRING, {BAD, PATH}},
	{"link, new", SYS_link, STRING, {PATH, BAD}},
	{"symlink, text", SYS_symlink, STRING, {BAD, PATH}},
	{"symlink, path", SYS_symlink, STRING, {PATH, BAD}},
	{"readlink, path", SYS_readlink, STRING, {BAD, BUFFER, 100}},
	{"readlink, buffer", SYS_readlink, OUT, {PATH, BAD, 100}},
	{"chmod", SYS_chmod, STRING, {BAD, 0600}},
	{"chown", SYS_chown, STRING, {BAD, 0, 0}},
	{"mknod", SYS_mknod, STRING, {BAD, S_IFIFO | 0600, 0}},
	{"utimensat, path", SYS_utimensat, STRING, {AT_FDCWD, BAD, 0, 0}},
	{"utimensat, times", SYS_utimensat, IN, {FILE_FD, 0, BAD, 0}},
	{"getcwd", SYS_getcwd, OUT, {BAD, 100}},
	{"getdents64", SYS_getdents64, OUT, {DIR_FD, BAD, 1000}},
	{"pipe", SYS_pipe, OUT, {BAD}},
	{"pipe2", SYS_pipe2, OUT, {BAD, 0}},
	{"poll", SYS_poll, IN, {BAD, 2, 0}},
	{"ppoll", SYS_ppoll, IN, {BAD, 2, 0, 0, 0}},
	{"ioctl FIONREAD", SYS_ioctl, OUT, {PIPE_IN, FIONREAD, BAD}},
	{"fcntl F_GETLK", SYS_fcntl, IN, {FILE_FD, F_GETLK, BAD}},
	{"epoll_ctl", SYS_epoll_ctl, IN, {EPOLL_FD, EPOLL_CTL_ADD, PIPE_OUT, BAD}},
	{"epoll_wait", SYS_epoll_wait, OUT, {EPOLL_FD, BAD, 1, 0}},
	{"timerfd_settime", SYS_timerfd_settime, IN, {TIMER_FD, 0, BAD, 0}},
	{"timerfd_gettime", SYS_timerfd_gettime, OUT, {TIMER_FD, BAD}},
	{"signalfd4", SYS_signalfd4, IN, {-1, BAD, 8, 0}},
	{"memfd_create", SYS_memfd_create, STRING, {BAD, 0}},
	{"sendfile", SYS_sendfile, IN, {PIPE_OUT, FILE_FD, BAD, 10}},
	{"execve, path", SYS_execve, STRING, {BAD, 0, 0}},
	{"execve, argv", SYS_execve, IN, {PATH, BAD, 0}},
	{"execve, envp", SYS_execve, IN, {PATH, 0, BAD}},
	{"uname", SYS_uname, OUT, {BAD}},
	{"sysinfo", SYS_sysinfo, OUT, {BAD}},
	{"gettimeofday", SYS_gettimeofday, OUT, {BAD, 0}},
	{"time", SYS_time, OUT, {BAD}},
	{"times", SYS_times, OUT, {BAD}},
	{"clock_gettime", SYS_clock_gettime, OUT, {CLOCK_MONOTONIC, BAD}},
	{"clock_getres", SYS_clock_getres, OUT, {CLOCK_MONOTONIC, BAD}},
	{"nanosleep", SYS_nanosleep, IN, {BAD, 0}},
	{"clock_nanosleep", SYS_clock_nanosleep, IN, {CLOCK_MONOTONIC, 0, BAD, 0}},
	{"getitimer", SYS_getitimer, OUT, {ITIMER_REAL, BAD}},
	{"setitimer", SYS_setitimer, IN, {ITIMER_REAL, BAD, 0}},
	{"getrusage", SYS_getrusage, OUT, {RUSAGE_SELF, BAD}},
	{"setrlimit", SYS_setrlimit, IN, {RLIMIT_AS, BAD}},
	{"prlimit64, old", SYS_prlimit64, OUT, {0, RLIMIT_AS, 0, BAD}},
	{"prlimit64, new", SYS_prlimit64, IN, {0, RLIMIT_AS, BAD, 0}},
	{"getresuid", SYS_getresuid, OUT, {BAD, BUFFER, BUFFER}},
	{"getresgid", SYS_getresgid, OUT, {BUFFER, BUFFER, BAD}},
	{"setgroups", SYS_setgroups, IN, {2, BAD}},
	{"rt_sigaction, new", SYS_rt_sigaction, IN, {SIGUSR1, BAD, 0, 8}},
	{"rt_sigaction, old", SYS_rt_sigaction, OUT, {SIGUSR1, 0, BAD, 8}},
	{"rt_sigprocmask, new", SYS_rt_sigprocmask, IN, {SIG_BLOCK, BAD, 0, 8}},
	{"rt_sigprocmask, old", SYS_rt_sigprocmask, OUT, {SIG_BLOCK, 0, BAD, 8}},
	{"rt_sigpending", SYS_rt_sigpending, OUT, {BAD, 8}},
	{"rt_sigsuspend", SYS_rt_sigsuspend, IN, {BAD, 8}},
	{"rt_sigtimedwait", SYS_rt_sigtimedwait, IN, {BAD, 0, 0, 8}},
	{"sigaltstack, new", SYS_sigaltstack, IN, {BAD, 0}},
	{"sigaltstack, old", SYS_sigaltstack, OUT, {0, BAD}},
	{"mincore", SYS_mincore, OUT, {PATH, 4096, BAD}},
	{"getrandom", SYS_getrandom, OUT, {BAD, 16, 0}},
	{"prctl PR_SET_NAME", SYS_prctl, STRING, {PR_SET_NAME, BAD}},
	{"prctl PR_GET_NAME", SYS_prctl, OUT, {PR_GET_NAME, BAD}},
	{"sched_getaffinity", SYS_sched_getaffinity, OUT, {0, 128, BAD}},
	{"sched_getparam", SYS_sched_getparam, OUT, {0, BAD}},
	{"getcpu", SYS_getcpu, OUT, {BAD, 0, 0}},
	{"sethostname", SYS_sethostname, IN, {BAD, 5}},
};

static char path[PAGE] __attribute__((aligned(4096))) = "/proc/self/exe";
static char *pages; /* [0] readable and writable, [1] PROT_NONE, [2] read-only, [3] nothing */
static int file_fd, dir_fd, pipes[2], epoll_fd, timer_fd;

static long value(long argument, long bad)
{
	static char buffer[PAGE];

	switch (argument) {
	case FILE_FD: return file_fd;
	case DIR_FD: return dir_fd;
	case PIPE_IN: return pipes[0];
	case PIPE_OUT: return pipes[1];
	case EPOLL_FD: return epoll_fd;
	case TIMER_FD: return timer_fd;
	case BUFFER: return (long)buffer;
	case PATH: return (long)path;
	case BAD: return bad;
	default: return argument;
	}
}

static int call(const struct row *row, long bad)
{
	const long *a = row->arguments;
	long result;

	errno = 0;
	result = syscall(row->number, value(a[0], bad), value(a[1], bad), value(a[2], bad), value(a[3], bad),
			 value(a[4], bad), value(a[5], bad));
	return result == -1 ? errno : 0;
}

static void run(const struct row *row)
{
	long bad[6], special = (long)(pages + PAGE - 1);
	static const char *const names[] = {"unmapped", "PROT_NONE", "kernel", "top", "edge", "noncanonical"};
	char name[100], text[200];
	int i, error;

	bad[0] = (long)(pages + 3 * PAGE);
	bad[1] = (long)(pages + PAGE);
#ifdef __i386__
	bad[2] = 0xffffe000;
#else
	bad[2] = 0xffff888000000000;
#endif
	bad[3] = -1;
	bad[4] = row->kind == OUT ? (long)(pages + 2 * PAGE) : row->kind == BYTES ? (long)(pages + PAGE) : special;
#ifdef __i386__
	bad[5] = 8;
#else
	bad[5] = 0x0123456789abcdef;
#endif
	for (i = 0; i < 6; i++) {
		error = call(row, bad[i]);
		snprintf(name, sizeof name, "%s: %s", row->name, names[i]);
		snprintf(text, sizeof text, "got %d", error);
		report(error == EFAULT, name, text);
	}
}

/* Where some of the bytes can be had, the count says how many. */
static void partial(void)
{
	struct iovec vector[2] = {{pages, 10}, {pages + PAGE, 10}};
	int fd = temporary_file(3 * PAGE), p[2];

	EQUAL("write to a file, half", pwrite(fd, pages, 2 * PAGE, 0), PAGE);
	EQUAL("read from a file, half", pread(fd, pages, 2 * PAGE, 0), PAGE);
	EQUAL("writev, the second is bad", writev(fd, vector, 2), 10);
	lseek(fd, 0, SEEK_SET);
	EQUAL("readv, the second is bad", readv(fd, vector, 2), 10);
	if (pipe(p))
		_exit(2);
	EQUAL("write to a pipe, ten bytes of a hundred", write(p[1], pages + PAGE - 10, 100) == -1 ? errno : 0, EFAULT);
	EQUAL("ten good bytes", write(p[1], "0123456789", 10), 10);
	EQUAL("read from a pipe into nothing", read(p[0], pages + PAGE, 10) == -1 ? errno : 0, EFAULT);
	EQUAL("...loses nothing", read(p[0], pages, 10), 10);
	EQUAL("length 0 at a bad address", write(fd, (void *)8, 0), 0);
	EQUAL("read of length 0 at a bad address", read(fd, (void *)8, 0), 0);
	EQUAL("writev of kernel memory", (vector[0].iov_base = (void *)-4096, writev(fd, vector, 1)) == -1 ? errno : 0, EFAULT);
	EQUAL("futex at a bad address", syscall(SYS_futex, pages + PAGE, FUTEX_WAIT, 0, NULL) == -1 ? errno : 0, EFAULT);
	EQUAL("futex at an odd address", syscall(SYS_futex, pages + 1, FUTEX_WAIT, 0, NULL) == -1 ? errno : 0, EINVAL);
#ifdef __x86_64__ /* a 64-bit kernel's limit is not that of a 32-bit program */
	EQUAL("a kernel address in a length-0 write", write(fd, (void *)-1, 0) == -1 ? errno : 0, EFAULT);
	EQUAL("a length of -1", write(fd, pages, -1) == -1 ? errno : 0, EFAULT);
#endif
}

int main(void)
{
	unsigned i;

	pages = anonymous(4);
	memset(pages, 'x', PAGE);
	mprotect(pages + PAGE, PAGE, PROT_NONE);
	mprotect(pages + 2 * PAGE, PAGE, PROT_READ);
	munmap(pages + 3 * PAGE, PAGE);
	file_fd = temporary_file(3 * PAGE);
	lseek(file_fd, 0, SEEK_SET);
	dir_fd = open("/", O_RDONLY | O_DIRECTORY);
	if (pipe(pipes))
		return 2;
	epoll_fd = epoll_create1(0);
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipes[1], &(struct epoll_event){.events = EPOLLOUT}))
		return 2;
	timer_fd = timerfd_create(CLOCK_MONOTONIC, 0);
	for (i = 0; i < sizeof rows / sizeof *rows; i++)
		run(&rows[i]);
	partial();
	return done();
}
