/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TLS descriptor that changes while FS is loaded with it: the new base at once, and no selector when it is cleared. */
#include "check.h"
#include <asm/ldt.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned first[2] = { 0x11111111, 0x33333333 }, second[2] = { 0x22222222, 0x44444444 };

static unsigned at(unsigned offset)
{
	unsigned value;

	__asm__ volatile("movl %%fs:(%1), %0" : "=r"(value) : "r"(offset));
	return value;
}

static unsigned selector(void)
{
	unsigned value = 0;

	__asm__ volatile("movw %%fs, %w0" : "+r"(value));
	return value & 0xffff;
}

/* Every combination of the last word's bits: which are taken, and what get_thread_area says then. */
static void bits(int entry)
{
	unsigned each, words[4];
	int wrong = 0;

	for (each = 0; each < 256; each++) {
		int good = (each & 1) && (each >> 1 & 3) < 2 && !(each & 0x20);

		words[0] = entry, words[1] = 0x1000, words[2] = 0xfffff, words[3] = each;
		wrong += syscall(SYS_set_thread_area, words) != (good ? 0 : -1);
		words[3] = 0;
		wrong += syscall(SYS_get_thread_area, words) != 0;
		wrong += good && words[3] != (each & 0x7f);
	}
	EQUAL("bits of an entry", wrong, 0);
	words[1] = words[2] = 0, words[3] = 0x80;
	EQUAL("nothing but lm clears", syscall(SYS_set_thread_area, words), 0);
	EQUAL("and is shown", syscall(SYS_get_thread_area, words), 0);
	EQUAL("as absent", words[3], 0x28);
	words[3] = 0xa8;
	EQUAL("as is an empty one with lm", syscall(SYS_set_thread_area, words), 0);
	EQUAL("the same", syscall(SYS_get_thread_area, words), 0);
	EQUAL("is shown", words[3], 0x28);
}

int main(void)
{
	struct user_desc one;

	memset(&one, 0, sizeof one);
	one.entry_number = -1;
	one.base_addr = (unsigned long)first;
	one.limit = 0xfffff;
	one.seg_32bit = one.limit_in_pages = one.useable = 1;
	EQUAL("an entry", syscall(SYS_set_thread_area, &one), 0);
	__asm__ volatile("movw %w0, %%fs" : : "r"(one.entry_number << 3 | 3));
	EQUAL("its base", at(0), 0x11111111);
	one.base_addr = (unsigned long)second;
	EQUAL("changed", syscall(SYS_set_thread_area, &one), 0);
	EQUAL("the new base at once", at(0), 0x22222222);
	EQUAL("and behind it", at(4), 0x44444444);
	EQUAL("the selector", selector(), one.entry_number << 3 | 3);
	one.base_addr = one.limit = 0;
	one.seg_32bit = one.limit_in_pages = one.useable = 0;
	one.read_exec_only = one.seg_not_present = 1;
	EQUAL("cleared", syscall(SYS_set_thread_area, &one), 0);
	EQUAL("no selector", selector(), 0);
	bits(one.entry_number);
	return done();
}
