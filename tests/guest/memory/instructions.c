/*
 * Faults in the middle of things: accesses that cross into a bad page, string instructions that stop half way, code
 * that changes under its own feet or is reached through two mappings.
 */
#include "check.h"

#include <stdint.h>
#include <ucontext.h>

#ifdef __x86_64__
#define REG_COUNT REG_RCX
#define REG_TO REG_RDI
#define REG_FROM REG_RSI
#define REG_PC REG_RIP
#else
#define REG_COUNT REG_ECX
#define REG_TO REG_EDI
#define REG_FROM REG_ESI
#define REG_PC REG_EIP
#endif

static volatile long seen_count, seen_to, seen_from, seen_fault;
static char *repair;

static void look(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)signo;
	seen_count = uc->uc_mcontext.gregs[REG_COUNT];
	seen_to = uc->uc_mcontext.gregs[REG_TO];
	seen_from = uc->uc_mcontext.gregs[REG_FROM];
	seen_fault = (long)info->si_addr;
	mprotect(repair, PAGE, RW | PROT_EXEC);
}

static void repairing(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof action);
	action.sa_sigaction = look;
	action.sa_flags = SA_SIGINFO;
	sigaction(SIGSEGV, &action, NULL);
}

static void string_instructions(void)
{
	char *p = anonymous(4), *to = p + 2 * PAGE - 100, *from = p;
	unsigned long count = 300;

	repairing();
	memset(p, 'f', PAGE);
	mprotect(p + 2 * PAGE, PAGE, PROT_READ);
	repair = p + 2 * PAGE;
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	EQUAL("rep movsb: what was left at the fault", seen_count, 200);
	CHECK("rep movsb: where it stood", seen_to == (long)repair && seen_from == (long)(p + 100) && seen_fault == (long)repair);
	CHECK("rep movsb: finished", count == 0 && all_are(p + 2 * PAGE - 100, 'f', 300));
	mprotect(repair, PAGE, PROT_NONE);
	to = p + 2 * PAGE - 8;
	count = 6;
	__asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(0x41414141) : "memory");
	EQUAL("rep stosl: what was left", seen_count, 4);
	CHECK("rep stosl: finished", all_are(p + 2 * PAGE - 8, 'A', 24));
	mprotect(repair, PAGE, PROT_NONE);
	to = p + 2 * PAGE - 4;
	count = 100;
	__asm__ volatile("xor %%eax, %%eax; repne scasb" : "+D"(to), "+c"(count) : : "eax", "cc");
	EQUAL("repne scasb: what was left", seen_count, 96);
	CHECK("repne scasb: went on", count < 96);
	catch_faults();
}

static void across(void)
{
	char *p = anonymous(3);
	uint32_t *word = (uint32_t *)(p + PAGE - 2);
	uint64_t *quad = (uint64_t *)(p + PAGE - 3);

	memset(p, 'o', 2 * PAGE);
	mprotect(p + PAGE, PAGE, PROT_READ);
	if (!CATCH()) {
		__asm__ volatile("movl $0x58585858, (%0)" : : "r"(word) : "memory");
		fault_signal = 0;
	}
	CHECK("a store across the edge of a read-only page", fault_signal == SIGSEGV && fault_code == SEGV_ACCERR);
	CHECK("...names the page", fault_address == p + PAGE);
	CHECK("...and does nothing", all_are(p, 'o', 2 * PAGE));
	if (!CATCH()) {
		__asm__ volatile("lock; addl $1, (%0)" : : "r"(word) : "memory");
		fault_signal = 0;
	}
	CHECK("a locked add", fault_signal == SIGSEGV && all_are(p, 'o', 2 * PAGE));
	munmap(p + PAGE, PAGE);
	if (!CATCH()) {
		uint32_t value;

		__asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(word));
		fault_signal = 0;
	}
	CHECK("a load across the edge of nothing", fault_signal == SIGSEGV && fault_code == SEGV_MAPERR);
	CHECK("...names the page, too", fault_address == p + PAGE);
	p = anonymous(2);
	quad = (uint64_t *)(p + PAGE - 3);
	*quad = 0x0807060504030201;
	CHECK("a store across two fresh pages", p[PAGE - 3] == 1 && p[PAGE - 1] == 3 && p[PAGE] == 4 && p[PAGE + 4] == 8);
	CHECK("...and a load", *quad == 0x0807060504030201);
}

static unsigned char const returns[] = {0xb8, 1, 0, 0, 0, 0xc3}; /* mov eax, 1; ret */

static int call(void *code)
{
	return ((int (*)(void))(uintptr_t)code)();
}

static void changing_code(void)
{
	int fd = temporary_file(PAGE), i, good = 1;
	unsigned char *p = mmap(NULL, PAGE, RW | PROT_EXEC, MAP_SHARED, fd, 0);
	unsigned char *q = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), *r;

	memcpy(p, returns, sizeof returns);
	EQUAL("code", call(p), 1);
	p[1] = 2;
	EQUAL("changed in place", call(p), 2);
	q[1] = 3;
	EQUAL("changed through another mapping", call(p), 3);
	CHECK("changed by pwrite", pwrite(fd, "\4", 1, 1) == 1 && call(p) == 4);
	r = mmap(p, PAGE, RW | PROT_EXEC, ANON | MAP_FIXED, -1, 0);
	memcpy(r, returns, sizeof returns);
	EQUAL("another page at the same address", call(r), 1);
	r = mremap(r, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, hole(1));
	r[1] = 5;
	EQUAL("moved and changed", call(r), 5);
	for (i = 0; i < 200; i++) {
		r[1] = i;
		good &= call(r) == i;
	}
	CHECK("changed 200 times", good);
	mprotect(r, PAGE, RW);
	CHECK("not executable any more", (CATCH() || call(r) == 1000) && fault_code == SEGV_ACCERR);
	mprotect(r, PAGE, PROT_READ | PROT_EXEC);
	EQUAL("executable again", call(r), 199);
	munmap(r, PAGE);
	fault_code = 0;
	CHECK("gone", (CATCH() || call(r) == 1000) && fault_code == SEGV_MAPERR && fault_address == r);
	p = anonymous(2);
	mprotect(p, 2 * PAGE, RW | PROT_EXEC);
	memcpy(p + PAGE - 3, returns, sizeof returns);
	EQUAL("an instruction across two pages", call(p + PAGE - 3), 1);
	p[PAGE] = 1;
	EQUAL("its second half changed", call(p + PAGE - 3), 65537);
	mprotect(p + PAGE, PAGE, RW);
	fault_code = 0;
	CHECK("its second half not executable", (CATCH() || call(p + PAGE - 3) == 1000) &&
						       fault_code == SEGV_ACCERR && fault_address == p + PAGE);
}

/* An instruction that changes the one behind it. */
static void next_instruction(void)
{
	unsigned char *p = mmap(NULL, PAGE, RW | PROT_EXEC, ANON, -1, 0);
#ifdef __x86_64__
	/* movb $9, 1(%rip) ; mov eax, 1 ; ret */
	static const unsigned char code[] = {0xc6, 0x05, 1, 0, 0, 0, 9, 0xb8, 1, 0, 0, 0, 0xc3};

	memcpy(p, code, sizeof code);
#else
	static const unsigned char code[] = {0xc6, 0x05, 0, 0, 0, 0, 9, 0xb8, 1, 0, 0, 0, 0xc3};
	uint32_t address = (uint32_t)(uintptr_t)(p + 8);

	memcpy(p, code, sizeof code);
	memcpy(p + 2, &address, 4);
#endif
	EQUAL("the next instruction changed", call(p), 9);
}

int main(void)
{
	catch_faults();
	across();
	string_instructions();
	changing_code();
	next_instruction();
	return done();
}
