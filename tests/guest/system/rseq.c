/* rseq(2): registration, and critical sections that a signal or another process interrupts. */
#include "show.h"

#include <sys/time.h>

#define SIGNATURE 0x53053053

struct area {
	uint32_t cpu_id_start, cpu_id;
	uint64_t critical;
	uint32_t flags, node_id, mm_cid, padding;
} __attribute__((aligned(32)));

struct section {
	uint32_t version, flags;
	uint64_t start, length, abort;
} __attribute__((aligned(32)));

static struct area area, other;
static volatile int signals;

static void on_signal(int signo)
{
	(void)signo;
	signals++;
}

static void registration(void)
{
	TRY(SYS_rseq, &area, 32, 2, SIGNATURE);
	TRY(SYS_rseq, &area, 31, 0, SIGNATURE);
	TRY(SYS_rseq, (char *)&area + 4, 32, 0, SIGNATURE);
	TRY(SYS_rseq, &area, 32, 1, SIGNATURE);
	area.cpu_id = -1;
	TRY(SYS_rseq, &area, 32, 0, SIGNATURE);
	CHECK("the number of the CPU", area.cpu_id != (uint32_t)-1 && area.cpu_id == area.cpu_id_start);
	TRY(SYS_rseq, &area, 32, 0, SIGNATURE);
	TRY(SYS_rseq, &area, 32, 0, 5);
	TRY(SYS_rseq, &other, 32, 0, SIGNATURE);
	TRY(SYS_rseq, &area, 32, 1, 5);
	TRY(SYS_rseq, &area, 32, 1, SIGNATURE);
	CHECK("no number any more", area.cpu_id == (uint32_t)-1);
	TRY(SYS_rseq, &area, 32, 0, SIGNATURE);
}

/* Spin inside a critical section until something aborts it. */
static int spin(void)
{
	int aborted = 0;

	__asm__ goto volatile(
		"lea 1f(%%rip), %%rax\n\t"
		"jmp 2f\n\t"
		".balign 32\n"
		"1:\t.long 0, 0\n\t.quad 3f, 4f - 3f, 5f\n"
		"2:\tmov %%rax, %[critical]\n"
		"3:\tpause\n\tjmp 3b\n"
		"4:\tjmp %l[missed]\n\t"
		".long 0x53053053\n"
		"5:\tjmp %l[aborted]\n"
		:
		: [critical] "m"(area.critical)
		: "rax", "memory"
		: missed, aborted);
missed:
	return aborted;
aborted:
	return 1;
}

int main(void)
{
	struct itimerval soon = {{0, 0}, {0, 20000}};
	int aborted = 0;
	pid_t pid;

	registration();
	signal(SIGALRM, on_signal);
	setitimer(ITIMER_REAL, &soon, NULL);
	while (!signals) /* another process may be what aborts it */
		aborted += spin();
	CHECK("a signal aborts it", aborted >= 1);
	CHECK("the section is over", !area.critical);
	pid = fork();
	if (!pid) {
		for (;;)
			;
	}
	EQUAL("another process aborts it", spin(), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	pid = fork();
	if (!pid) {
		TRY(SYS_rseq, &area, 32, 0, SIGNATURE); /* the child has it registered: EBUSY */
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return done();
}
