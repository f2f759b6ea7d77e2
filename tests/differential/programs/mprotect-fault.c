#include "common.h"

static sigjmp_buf jb;
static void on(int s, siginfo_t *i, void *u)
{
	(void)u;
	P("signal %d code %d\n", s, i->si_code);
	siglongjmp(jb, 1);
}

int main(void)
{
	struct sigaction a = {.sa_sigaction = on, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &a, 0);
	sigaction(SIGBUS, &a, 0);
	volatile char *p = mmap(0, 8192, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	p[0] = 1;
	E(mprotect((void *)p, 4096, PROT_READ));
	if (!sigsetjmp(jb, 1))
		p[0] = 2;
	E(mprotect((void *)p, 4096, PROT_NONE));
	if (!sigsetjmp(jb, 1))
		P("%d\n", p[0]);
	munmap((void *)p, 8192);
	if (!sigsetjmp(jb, 1))
		P("%d\n", p[0]);
	int fd = open("e", O_RDWR | O_CREAT, 0600);
	p = mmap(0, 4096, 3, MAP_SHARED, fd, 0);
	if (!sigsetjmp(jb, 1))
		p[0] = 1;
	return 0;
}
