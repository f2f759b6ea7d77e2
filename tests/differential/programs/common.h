/* What the small programs share: every header, P to print, E to print a call's result and errno. */
#pragma once
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <getopt.h>
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <regex.h>
#include <sched.h>
#include <search.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include "../../guest/asleep.h"
#define P(...) (printf(__VA_ARGS__), fflush(stdout))
#define E(call)                                                                                              \
	(errno = 0, result = (long)(call), P("%s = %ld %s\n", #call, result, errno ? strerror(errno) : ""))
static long result __attribute__((unused));
static inline void put(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (write(fd, text, strlen(text)) < 0)
		_exit(9);
	close(fd);
}
static inline void show(const char *name)
{
	char text[300] = "";
	int fd = open(name, O_RDONLY), n = fd < 0 ? -1 : (int)read(fd, text, sizeof text - 1);
	P("%s: %d \"%s\"\n", name, n, text);
	if (fd >= 0)
		close(fd);
}
static inline void status_of(int s)
{
	if (WIFEXITED(s))
		P("exit %d\n", WEXITSTATUS(s));
	else if (WIFSIGNALED(s))
		P("signal %d\n", WTERMSIG(s));
	else if (WIFSTOPPED(s))
		P("stopped %d\n", WSTOPSIG(s));
	else if (WIFCONTINUED(s))
		P("continued\n");
}
