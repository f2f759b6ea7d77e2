/* The instruction `syscall` leaves the address behind it in rcx and the flags in r11. */
#include "check.h"

#include <sys/syscall.h>

int main(void)
{
	unsigned long result, rcx, r11, here;

	__asm__ volatile("std\n\tlea 1f(%%rip), %[here]\n\tsyscall\n1:\tmov %%r11, %[flags]\n\tcld"
			 : "=a"(result), "=&c"(rcx), [flags] "=&b"(r11), [here] "=&r"(here)
			 : "0"((long)SYS_getpid)
			 : "r11", "memory", "cc");
	CHECK("rcx is the address behind it", rcx == here);
	CHECK("r11 is the flags", r11 & 0x400);
	return done();
}
