/* i386: set_thread_area, get_thread_area, and the 16-bit id calls. */
#include "show.h"

#include <asm/ldt.h>

static unsigned value_at_gs(unsigned short selector, unsigned offset)
{
	unsigned result;
	unsigned short old;

	__asm__ volatile("mov %%gs, %0" : "=r"(old));
	__asm__ volatile("mov %1, %%gs\n\tmov %%gs:(%2), %0\n\tmov %3, %%gs" : "=&r"(result) : "r"(selector), "r"(offset), "r"(old));
	return result;
}

int main(void)
{
	static unsigned words[4] = {0x11111111, 0x22222222, 0x33333333, 0x44444444};
	struct user_desc area = {.entry_number = -1, .base_addr = (unsigned)(uintptr_t)words, .limit = 0xfffff,
				 .seg_32bit = 1, .limit_in_pages = 1, .useable = 1}, got;
	unsigned short ids[3];
	unsigned first;

	TRY(SYS_set_thread_area, &area);
	CHECK("an entry of the GDT", area.entry_number >= 12 && area.entry_number <= 14);
	first = area.entry_number;
	EQUAL("the segment begins there", value_at_gs(first * 8 + 3, 0), 0x11111111);
	EQUAL("and goes on", value_at_gs(first * 8 + 3, 8), 0x33333333);
	memset(&got, 0xff, sizeof got);
	got.entry_number = first;
	TRY(SYS_get_thread_area, &got);
	CHECK("the base comes back", got.base_addr == area.base_addr && got.limit == area.limit);
	show("bits %d %d %d %d %d %d\n", got.seg_32bit, got.contents, got.read_exec_only, got.limit_in_pages,
	     got.seg_not_present, got.useable);
	got.entry_number = 11;
	TRY(SYS_get_thread_area, &got);
	got.entry_number = 15;
	TRY(SYS_get_thread_area, &got);
	TRY(SYS_get_thread_area, BAD);
	TRY(SYS_set_thread_area, BAD);
	area.entry_number = 5;
	TRY(SYS_set_thread_area, &area);
	area.entry_number = first;
	area.seg_32bit = 0;
	TRY(SYS_set_thread_area, &area);
	area.seg_32bit = 1, area.contents = 2;
	TRY(SYS_set_thread_area, &area);
	area.contents = 0, area.base_addr += 4;
	TRY(SYS_set_thread_area, &area);
	EQUAL("it moved", value_at_gs(first * 8 + 3, 0), 0x22222222);
	area.entry_number = -1;
	TRY(SYS_set_thread_area, &area);
	area.entry_number = -1;
	TRY(SYS_set_thread_area, &area);
	area.entry_number = -1;
	TRY(SYS_set_thread_area, &area);
	memset(&area, 0, sizeof area);
	area.entry_number = first;
	TRY(SYS_set_thread_area, &area);
	TRY(SYS_getresuid, &ids[0], &ids[1], &ids[2]);
	show("%d %d %d\n", ids[0], ids[1], ids[2]);
	TRY(SYS_setuid, 0xffff);
	VALUE(SYS_getuid, 0);
	VALUE(SYS_nice, 3);
	VALUE(SYS_getpriority, 0, 0);
	return done();
}
