#include "common.h"
/* faults of every kind by siginfo */ static sigjmp_buf j;
static siginfo_t g;
static char*base;
static void h(int s, siginfo_t*i, void*u) {
	g=*i;
	siglongjmp(j, 1);
}

#define T(x) do{if(!sigsetjmp(j, 1)){x;P("%s: fine\n", #x);}else P("%s: signal %d code %d at %ld\n", #x, g.si_signo, g.si_code, g.si_addr?(long)((char*)g.si_addr-base):-1L);}while(0)
int main() {
	struct sigaction a={.sa_sigaction=h, .sa_flags=SA_SIGINFO};
	sigaction(SIGSEGV, &a, 0);
	sigaction(SIGBUS, &a, 0);
	base=mmap(0, 8*4096, 0, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);
	volatile char*p=base;
	mprotect(base+4096, 4096, 1);
	mprotect(base+8192, 4096, 3);
	munmap(base+12288, 4096);
	put("a","x");
	int f=open("a", O_RDWR);
	mmap(base+16384, 8192, 3, MAP_SHARED|MAP_FIXED, f, 0);
	mprotect(base+24576, 4096, 2);
	T(p[0]=1);
	T(p[4096]=1);
	T((void)p[4096]);
	T(p[8192]=1);
	T(p[12288]=1);
	T((void)p[12287]);
	T(p[16384]=1);
	T(p[20480]=1);
	T((void)p[20481]);
	T(p[24576]=1);
	T((void)p[24577]);
	T(((void(*)(void))(base+8192))());
	T(*(volatile int*)(base+8192+4094)=1);
	char*n=0;
	T(memcpy(base+8192, base+4096, 8192));
	ftruncate(f, 8192);
	T(p[20480]=1);
	ftruncate(f, 0);
	T((void)p[16384]);
	return 0;
}
