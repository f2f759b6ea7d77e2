/*
 * Small checks for guest tests.  Every check prints one line, `ok NAME` or `FAIL NAME: ...`, in which no address
 * stands: a run on the host and a run in the machine must print the same text.  main() ends with `return done();`,
 * which is 0, or 1 after a failure.
 */
#ifndef NOPAGE_CHECK_H
#define NOPAGE_CHECK_H

#define _FILE_OFFSET_BITS 64
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static int failures;

static inline void report(int good, const char *name, const char *detail)
{
	char line[400];
	int length;

	if (good)
		length = snprintf(line, sizeof line, "ok %s\n", name);
	else
		length = snprintf(line, sizeof line, "FAIL %s: %s\n", name, detail);
	failures += !good;
	if (write(1, line, length) != length)
		_exit(2);
}

static inline int done(void)
{
	return failures != 0;
}

/* A condition. */
#define CHECK(name, condition) report(!!(condition), name, #condition)

/* Two numbers. */
#define EQUAL(name, got, want) check_equal(name, (long long)(got), (long long)(want))
static inline void check_equal(const char *name, long long got, long long want)
{
	char text[100];

	snprintf(text, sizeof text, "got %lld, want %lld", got, want);
	report(got == want, name, text);
}

/* A system call that fails with `error`, or works (`error` 0): `call` is -1 or MAP_FAILED on failure. */
#define ERRNO(name, call, error) (errno = 0, check_errno(name, (long)(call), error))
static inline void check_errno(const char *name, long result, int error)
{
	int got = result == -1 ? errno : 0;
	char text[200];

	snprintf(text, sizeof text, "got %s, want %s", got ? strerror(got) : "success", error ? strerror(error) : "success");
	report(got == error, name, text);
}

/* Faults: what an access does, as a signal and its code. */
static sigjmp_buf fault_return;
static volatile int fault_signal, fault_code, fault_expected;
static void *volatile fault_address;

static inline void fault_handler(int signo, siginfo_t *info, void *context)
{
	(void)context;
	if (!fault_expected) {
		static const char text[] = "FAIL a fault that nobody expects\n";

		_exit(write(1, text, sizeof text - 1) > 0 ? 3 : 2);
	}
	fault_signal = signo;
	fault_code = info->si_code;
	fault_address = info->si_addr;
	siglongjmp(fault_return, 1);
}

static inline void catch_faults(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof action);
	action.sa_sigaction = fault_handler;
	action.sa_flags = SA_SIGINFO;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
}

/* `if (!CATCH()) { ...may fault... } fault_expected = 0;` */
#define CATCH() (fault_expected = 1, sigsetjmp(fault_return, 1))

/* Touch one byte; `store` negative reads, else that byte is written.  The signal, 0 when there is none. */
static inline int touch(volatile void *address, int store)
{
	fault_signal = fault_code = 0;
	fault_address = NULL;
	if (!CATCH()) {
		if (store < 0)
			(void)*(volatile unsigned char *)address;
		else
			*(volatile unsigned char *)address = store;
	}
	fault_expected = 0;
	return fault_signal;
}

/* An access that must end in (signal, code) with si_addr at the byte itself; signal 0: it must work. */
static inline void check_touch(const char *name, volatile void *address, int store, int signal, int code)
{
	char text[200];

	touch(address, store);
	snprintf(text, sizeof text, "got signal %d code %d, want signal %d code %d%s", fault_signal, fault_code, signal, code,
		 fault_signal && fault_address != (void *)address ? ", si_addr elsewhere" : "");
	report(fault_signal == signal && fault_code == code && (!signal || fault_address == (void *)address), name, text);
}
#define READS(name, address) check_touch(name, address, -1, 0, 0)
#define WRITES(name, address) check_touch(name, address, 0x5a, 0, 0)
#define NO_READ(name, address, signal, code) check_touch(name, address, -1, signal, code)
#define NO_WRITE(name, address, signal, code) check_touch(name, address, 0x5a, signal, code)

/* Whether all of a range is one byte. */
static inline int all_are(const void *start, int byte, size_t length)
{
	const unsigned char *p = start;

	while (length--)
		if (*p++ != (unsigned char)byte)
			return 0;
	return 1;
}

/* A file in /tmp without a name, of `length` bytes: byte n is 'a' + n / 4096 % 26. */
static inline int temporary_file(size_t length)
{
	char name[] = "/tmp/nopage-XXXXXX", page[PAGE];
	int fd = mkstemp(name);
	size_t at, part;

	if (fd < 0 || unlink(name) < 0) {
		perror(name);
		_exit(2);
	}
	for (at = 0; at < length; at += part) {
		part = length - at < PAGE ? length - at : PAGE;
		memset(page, 'a' + at / PAGE % 26, part);
		if (write(fd, page, part) != (ssize_t)part)
			_exit(2);
	}
	return fd;
}

/* Address space of `pages` pages that nothing else uses, with free space on both sides. */
static inline char *hole(size_t pages)
{
	char *p = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		_exit(2);
	munmap(p, (pages + 2) * PAGE);
	return p + PAGE;
}

/* `pages` anonymous pages at a place with free space around. */
static inline char *anonymous(size_t pages)
{
	char *p = mmap(hole(pages), pages * PAGE, RW, ANON | MAP_FIXED, -1, 0);

	if (p == MAP_FAILED)
		_exit(2);
	return p;
}

#endif
