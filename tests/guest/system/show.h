/* Results of raw system calls, one line each, to be compared between the host and the machine. */
#ifndef NOPAGE_SHOW_H
#define NOPAGE_SHOW_H

#include "check.h"

#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const void *const BAD = (const void *)8;

static inline void show(const char *format, ...)
{
	char line[400];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	if (write(1, line, length) != length)
		_exit(2);
}

/* The result if it is 0 or an error, else only that it worked. */
static inline void outcome(const char *call, long result)
{
	if (result == -1)
		show("%s: %s\n", call, strerror(errno));
	else
		show("%s: %s\n", call, result ? "positive" : "0");
}

static inline void value(const char *call, long result)
{
	if (result == -1)
		show("%s: %s\n", call, strerror(errno));
	else
		show("%s: %ld\n", call, result);
}

#define CALL(number, ...) (errno = 0, syscall(number, __VA_ARGS__))
#define TRY(number, ...) outcome(#number "(" #__VA_ARGS__ ")", CALL(number, __VA_ARGS__))
#define VALUE(number, ...) value(#number "(" #__VA_ARGS__ ")", CALL(number, __VA_ARGS__))

#endif
