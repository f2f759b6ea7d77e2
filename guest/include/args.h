/* Arguments of the demo programs: numbers in decimal, hexadecimal (0x) or octal (0). */
#ifndef NOPAGE_ARGS_H
#define NOPAGE_ARGS_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The value of `text`; anything that is no number ends the program with exit code 1. */
static inline unsigned long long number(const char *program, const char *text)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (end == text || *end || errno || strchr(text, '-')) {
		fprintf(stderr, "%s: not a number: \"%s\"\n", program, text);
		exit(1);
	}
	return value;
}

#endif
