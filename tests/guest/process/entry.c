/* The ways into the kernel: what a system call changes, numbers that are none, int 0x80 from 64-bit code. */
#include "check.h"

#include <stdint.h>
#include <sys/syscall.h>

static void numbers(void)
{
	static const long none[] = {-1, 1000, 0x7fffffff, 0x12345678};
	unsigned i;

	for (i = 0; i < sizeof none / sizeof *none; i++)
		EQUAL("a number that is none", syscall(none[i]) == -1 ? errno : 0, ENOSYS);
}

#ifdef __x86_64__
static void instruction(void)
{
	register long r8 __asm__("r8") = 0x88888888, r9 __asm__("r9") = 0x99999999, r10 __asm__("r10") = 0x1010101010,
		      r12 __asm__("r12") = 0x1212, r15 __asm__("r15") = 0x1515;
	unsigned long result, flags, rdi = 0xd1, rsi = 0x51, rdx = 0xd2;

	__asm__ volatile("std\n\tsyscall\n\tpushf\n\tpop %[flags]\n\tcld"
			 : "=a"(result), [flags] "=&b"(flags), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r8), "+r"(r9), "+r"(r10),
			   "+r"(r12), "+r"(r15)
			 : "0"((long)SYS_getpid)
			 : "rcx", "r11", "memory", "cc");
	CHECK("the result", result == (unsigned long)getpid());
	CHECK("the flags are kept", flags & 0x400);
	CHECK("nothing else changes", rdi == 0xd1 && rsi == 0x51 && rdx == 0xd2 && r8 == 0x88888888 && r9 == 0x99999999 &&
					      r10 == 0x1010101010 && r12 == 0x1212 && r15 == 0x1515);
	__asm__ volatile("syscall" : "=a"(result) : "0"(0xffffffff00000000UL | SYS_getpid) : "rcx", "r11", "memory");
	CHECK("a number is 32 bits wide", result == (unsigned long)getpid());
}

/* The table of i386, arguments of 32 bits, pointers below 4 GiB. */
static void compatible(void)
{
	char *low = mmap((void *)0x10000000, PAGE, RW, ANON | MAP_32BIT, -1, 0);
	unsigned long result, kept = 0x1111111111111111;

	CHECK("MAP_32BIT", low != MAP_FAILED && (uintptr_t)low < 0x80000000);
	__asm__ volatile("int $0x80" : "=a"(result), "+r"(kept) : "0"(20L) : "memory", "r8", "r9", "r10", "r11");
	CHECK("int 0x80: getpid", result == (unsigned long)getpid());
	CHECK("registers are kept", kept == 0x1111111111111111);
	strcpy(low, "ok by int 0x80\n");
	__asm__ volatile("int $0x80" : "=a"(result) : "0"(4L), "b"(1L), "c"(low), "d"(15L) : "memory", "r8", "r9", "r10", "r11");
	EQUAL("int 0x80: write", result, 15);
	__asm__ volatile("int $0x80" : "=a"(result) : "0"(6L), "b"(999L) : "memory", "r8", "r9", "r10", "r11");
	EQUAL("int 0x80: close of nothing", (long)result, -EBADF);
}

static void segments(void)
{
	unsigned long base, value = 0x5e5e, got;

	EQUAL("arch_prctl ARCH_GET_FS", syscall(SYS_arch_prctl, 0x1003, &base), 0);
	__asm__ volatile("mov %%fs:0, %0" : "=r"(got));
	CHECK("fs:0 is there", got == *(unsigned long *)base);
	EQUAL("ARCH_SET_GS", syscall(SYS_arch_prctl, 0x1001, &value), 0);
	__asm__ volatile("mov %%gs:0, %0" : "=r"(got));
	CHECK("gs:0 is there", got == value);
	EQUAL("ARCH_SET_GS of the kernel", syscall(SYS_arch_prctl, 0x1001, -1L) == -1 ? errno : 0, EPERM);
	EQUAL("arch_prctl, unknown", syscall(SYS_arch_prctl, 0x9999, 0L) == -1 ? errno : 0, EINVAL);
}
#else
static void instruction(void)
{
	unsigned long result, ecx = 0xc1, edx = 0xd2, esi = 0x51, edi = 0xd1, flags;

	__asm__ volatile("std\n\tint $0x80\n\tpushf\n\tpop %[flags]\n\tcld"
			 : "=a"(result), "+c"(ecx), "+d"(edx), "+S"(esi), "+D"(edi), [flags] "=r"(flags)
			 : "0"(SYS_getpid)
			 : "memory", "cc");
	CHECK("the result", result == (unsigned long)getpid());
	CHECK("the flags are kept", flags & 0x400);
	CHECK("nothing else changes", ecx == 0xc1 && edx == 0xd2 && esi == 0x51 && edi == 0xd1);
}

static void compatible(void)
{
}

static void segments(void)
{
	unsigned long got, again;

	__asm__ volatile("mov %%gs:0, %0\n\tmov %%gs:0, %1" : "=r"(got), "=r"(again));
	CHECK("gs:0 points at itself", got == again && *(unsigned long *)got == got);
}
#endif

/* Whatever the other process does with its registers, this one's stay. */
static void floating_point(void)
{
	double x = 1.5, y;
	float four[4] = {1, 2, 3, 4}, back[4];
	int i, pipes[2], good = 1;
	char byte = 0;

	if (pipe(pipes))
		_exit(2);
	if (!fork()) {
		for (i = 0; i < 50; i++) {
			__asm__ volatile("fldpi\n\tfstp %%st(0)\n\tpcmpeqd %%xmm0, %%xmm0\n\tmovaps %%xmm0, %%xmm7" : : : "xmm0", "xmm7");
			if (write(pipes[1], "x", 1) != 1)
				_exit(1);
		}
		_exit(0);
	}
	for (i = 0; i < 50; i++) {
		long result = SYS_read;

#ifdef __x86_64__
		__asm__ volatile("fldl %[x]\n\tmovups %[four], %%xmm7\n\tsyscall\n\tmovups %%xmm7, %[back]\n\tfstpl %[y]"
				 : "+a"(result), [back] "=m"(back), [y] "=m"(y)
				 : [x] "m"(x), [four] "m"(four), "D"((long)pipes[0]), "S"(&byte), "d"(1L)
				 : "rcx", "r11", "memory", "xmm7");
#else
		__asm__ volatile("fldl %[x]\n\tmovups %[four], %%xmm7\n\tint $0x80\n\tmovups %%xmm7, %[back]\n\tfstpl %[y]"
				 : "+a"(result), [back] "=m"(back), [y] "=m"(y)
				 : [x] "m"(x), [four] "m"(four), "b"(pipes[0]), "c"(&byte), "d"(1)
				 : "memory", "xmm7");
#endif
		good &= result == 1 && y == 1.5 && !memcmp(four, back, sizeof four);
	}
	CHECK("floating point over a switch", good);
}

int main(void)
{
	numbers();
	instruction();
	compatible();
	segments();
	floating_point();
	return done();
}
