/* Instructions that are stepped over one by one, and need a page that does not come.  steps full|waits|device|left */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096

static int uffd;

static char *map(size_t size, int prot, int flags)
{
	return mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

/* Straight code up to the end of its page, behind which is nothing. */
static char *last_page(const char *unit, size_t size)
{
	char *code = map(2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);
	size_t i;

	munmap(code + PAGE, PAGE);
	memset(code, 0x90, PAGE);
	for (i = 0; i + size <= PAGE; i += size)
		memcpy(code + i, unit, size);
	return code;
}

static void *ends(void *unused)
{
	struct pollfd asked = {.fd = uffd, .events = POLLIN};

	poll(&asked, 1, -1);
	puts("end");
	exit(0);
}

static char *nobody_provides(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register r = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	char *page = map(PAGE, PROT_READ | PROT_WRITE, 0);

	uffd = syscall(SYS_userfaultfd, O_NONBLOCK);
	r.range = (struct uffdio_range){(uintptr_t)page, PAGE};
	if (ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &r))
		_exit(2);
	return page;
}

/* What ENTER copies out of registers, after stores to others: bytes of these may not be among it. */
static int left(void)
{
	char *registers = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, open("/dev/mem", O_RDWR), 0xfe000000);
	static char stack[4 * PAGE];

	for (int at = 0x100; at < 0x200; at += 16)
		__asm__ volatile("movups %0, %%xmm0\n\tmovups %%xmm0, %1"
				 : : "m"(*(char(*)[16])"KEY-OF-SOMEBODY"), "m"(*(char(*)[16])(registers + at)) : "xmm0", "memory");
#ifdef __x86_64__
	__asm__ volatile("mov %%rsp, %%r12\n\tmov %%rbp, %%r13\n\tmov %1, %%rbp\n\tmov %0, %%rsp\n\tenter $0, $31\n\t"
			 "mov %%r13, %%rbp\n\tmov %%r12, %%rsp"
			 : : "r"(stack + 3 * PAGE), "r"(registers + 0x200) : "r12", "r13", "memory");
#endif
	for (size_t i = 0; i < sizeof stack - 4; i++)
		if (!memcmp(stack + i, "SOME", 4) || !memcmp(stack + i, "BODY", 4))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (!strcmp(argv[1], "left"))
		return left();
	if (!strcmp(argv[1], "full")) { /* add $4096, %rdi; mov %al, (%rdi) */
		char *code = last_page("\x48\x81\xc7\x00\x10\x00\x00\x88\x07", 9), *all = map(1ul << 30, 3, MAP_NORESERVE);

		for (size_t i = 0; i < (size_t)atoi(argv[2]) * PAGE; i += PAGE)
			all[i] = 1;
		__asm__ volatile("call *%1" ::"D"(all + (600ul << 20)), "r"(code) : "memory");
	} else if (!strcmp(argv[1], "waits")) { /* mov (%rdi), %cl */
		char *page = nobody_provides(), *code = last_page("\x8a\x0f", 2);

		__asm__ volatile("call *%1" ::"D"(page), "r"(code + PAGE - 16) : "rcx", "memory");
	} else {
		char *device = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, open("/dev/mem", O_RDWR | O_SYNC), 0xfe000000);
		char *page = nobody_provides();

		pthread_create(&thread, NULL, ends, NULL);
		__asm__ volatile("movsb" : "+S"(device), "+D"(page)::"memory");
	}
	return 1;
}
