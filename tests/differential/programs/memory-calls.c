#include "common.h"
#include <sys/ipc.h>
#include <sys/shm.h>
#define PS 4096
#define AN (MAP_PRIVATE|MAP_ANONYMOUS)
static long field(const char*file, const char*name) {
	char l[300];
	FILE*f=fopen(file,"r");
	long v=-1;
	while (fgets(l, 300, f))if(!strncmp(l, name, strlen(name))) {
		v=atol(l+strlen(name)+1);
		break;
	}
	fclose(f);
	return v;
}

#define M(...) do{errno=0;void*q_=mmap(__VA_ARGS__);P("mmap(%s) %s %s\n", #__VA_ARGS__, q_==MAP_FAILED?"FAILED":"ok", q_==MAP_FAILED?strerror(errno):"");}while(0)
static sigjmp_buf jb;
static siginfo_t si;
static void h(int s, siginfo_t*i, void*c) {
	si=*i;
	siglongjmp(jb, 1);
}

#define TRY(x) do{ if(!sigsetjmp(jb, 1)){x; P("%s fine\n", #x);} else P("%s signal %d code %d\n", #x, si.si_signo, si.si_code);}while(0)
int main() {
	struct sigaction sa={.sa_sigaction=h, .sa_flags=SA_SIGINFO|SA_NODEFER};
	sigaction(SIGSEGV, &sa, 0);
	sigaction(SIGBUS, &sa, 0);
	put("f","hello");
	int fd=open("f", O_RDWR);
	int ro=open("f", O_RDONLY);
	int wo=open("f", O_WRONLY);
	M(0, 0, 3, AN, -1, 0);
	M(0, PS, 3, MAP_ANONYMOUS, -1, 0);
	M(0, PS, 3, MAP_PRIVATE, -1, 0);
	M(0, PS, 3, MAP_SHARED, ro, 0);
	M(0, PS, 3, MAP_PRIVATE, ro, 0);
	M(0, PS, 1, MAP_SHARED, wo, 0);
	M(0, PS, 2, MAP_SHARED, wo, 0);
	M(0, PS, 3, MAP_PRIVATE, fd, 1);
	M((void*)1, PS, 3, AN|MAP_FIXED, -1, 0);
	M((void*)-PS, PS, 3, AN|MAP_FIXED, -1, 0);
	M(0, -1L, 3, AN, -1, 0);
	M(0, PS, 3, MAP_SHARED_VALIDATE, fd, 0);
	M(0, PS, 3, MAP_SHARED_VALIDATE|0x80000, fd, 0);
	M(0, PS, 3, MAP_SHARED|(1<<7), fd, 0);
	M(0, PS, 3, AN|MAP_HUGETLB, -1, 0);
	M(0, 2<<20, 3, AN|MAP_HUGETLB, -1, 0);
	M(0, 2<<20, 3, AN|MAP_HUGETLB|(30<<26), -1, 0);
	M(0, 2<<20, 3, AN|MAP_HUGETLB|(22<<26), -1, 0);
	M(0, PS, 3, MAP_PRIVATE|MAP_HUGETLB, fd, 0);
	M(0, PS, 3, AN|MAP_LOCKED, -1, 0);
	M(0, PS, 3, AN|MAP_NONBLOCK|MAP_POPULATE, -1, 0);
	M(0, PS, 3, AN|MAP_STACK, -1, 0);
	M(0, PS, 3, AN|MAP_DENYWRITE|MAP_EXECUTABLE, -1, 0);
	M(0, PS, 3, AN|0x40, -1, 0);
	M(0, PS, 3, AN, 99, 0);
	M(0, PS, 0x1000000|3, AN, -1, 0);
	M(0, PS, 3, 4|MAP_ANONYMOUS, -1, 0);
	M(0, PS, 3, MAP_SHARED_VALIDATE|MAP_ANONYMOUS, -1, 0);
	M(0, PS, 3, MAP_PRIVATE|8|MAP_ANONYMOUS, -1, 0);
	M(0, PS, 3, MAP_SHARED|MAP_GROWSDOWN|MAP_ANONYMOUS, -1, 0);
	M(0, PS, 3, MAP_SHARED, fd, 0x7ffffffffffff000);
	M(0, PS, 3, MAP_SHARED, fd, (off_t)0xfffffffffffff000ULL);
	M(0, PS*2, 3, MAP_SHARED, fd, 0x7ffffffffffff000);
	int d=open(".", O_RDONLY);
	M(0, PS, 1, MAP_SHARED, d, 0);
	int pp[2];
	pipe(pp);
	M(0, PS, 1, MAP_SHARED, pp[0], 0);
	int op=open("f", O_PATH);
	M(0, PS, 1, MAP_PRIVATE, op, 0);
	int n=open("/dev/null", O_RDWR);
	M(0, PS, 3, MAP_PRIVATE, n, 0);
	M(0, PS, 3, MAP_SHARED, n, 0);
	int z=open("/dev/zero", O_RDWR);
	M(0, PS, 3, MAP_SHARED, z, 0);
	int pr=open("/proc/self/maps", O_RDONLY);
	M(0, PS, 1, MAP_PRIVATE, pr, 0);
	int ef=eventfd(0, 0);
	M(0, PS, 1, MAP_PRIVATE, ef, 0);
	char*p=mmap(0, 3*PS, 3, MAP_SHARED, fd, 0);
	TRY(p[5]=1);
	TRY(p[PS]=1);
	TRY((void)*(volatile char*)(p+2*PS));
	show("f");
	ftruncate(fd, PS+10);
	TRY(p[PS]='x');
	TRY(p[2*PS]=1);
	ftruncate(fd, 0);
	TRY(p[0]=1);
	ftruncate(fd, 100);
	TRY(p[0]='q');
	E(p[0]);
	E(munmap(p+1, PS));
	E(munmap(p, 0));
	E(munmap(p+PS, PS));
	E(munmap(p+PS, PS));
	E(munmap((void*)-PS, PS));
	TRY(p[PS]=1);
	TRY(*(volatile char*)(p+2*PS));
	E(mprotect(p, PS, 7));
	E(mprotect(p+1, PS, 7));
	E(mprotect(p, 3*PS, 1));
	E(mprotect(p, 0, 1));
	E(mprotect(p, PS, 0x100));
	E(mprotect(p, PS, PROT_GROWSUP|1));
	E(mprotect(p, PS, PROT_GROWSDOWN|1));
	E(mprotect(p, -PS, 1));
	E(mprotect((void*)-PS, PS, 1));
	char*r=mmap(0, PS, 1, MAP_SHARED, ro, 0);
	E(mprotect(r, PS, 3));
	TRY(r[0]=1);
	r=mmap(0, PS, 1, MAP_PRIVATE, ro, 0);
	E(mprotect(r, PS, 3));
	TRY(r[0]=1);
	char*a=mmap(0, 8*PS, 3, AN, -1, 0);
	a[0]=1;
	a[PS]=2;
	E(mremap(a, PS, 2*PS, 0));
	E(mremap(a, 8*PS, 9*PS, 0)!=MAP_FAILED);
	E(mremap(a, PS, PS, MREMAP_FIXED));
	E(mremap(a, PS, PS, MREMAP_FIXED|MREMAP_MAYMOVE, a));
	E(mremap(a, PS, PS, 8));
	E(mremap((void*)PS, PS, 2*PS, 1));
	E(mremap(a, 2*PS, PS, MREMAP_FIXED|MREMAP_MAYMOVE, a+PS+1));
	E(mremap(a, 2*PS, 2*PS, MREMAP_FIXED|MREMAP_MAYMOVE, a+PS));
	E(mremap(a, 0, PS, 1));
	E(mremap(a, 0, PS, 0));
	char*s=mmap(0, 2*PS, 3, MAP_SHARED|MAP_ANONYMOUS, -1, 0);
	s[0]='S';
	char*s2=mremap(s, 0, 2*PS, 1);
	P("dup %d %c\n", s2!=MAP_FAILED, s2==MAP_FAILED?'-':s2[0]);
	char*du=mremap(a, PS, PS, MREMAP_MAYMOVE|MREMAP_DONTUNMAP);
	P("dontunmap %d %d %d\n", du!=MAP_FAILED, du==MAP_FAILED?0:du[0], a[0]);
	E(mremap(a, PS, 2*PS, MREMAP_MAYMOVE|MREMAP_DONTUNMAP));
	E(mremap(s, PS, PS, MREMAP_MAYMOVE|MREMAP_DONTUNMAP)!=MAP_FAILED);
	E(mremap(a, PS, PS, MREMAP_DONTUNMAP));
	unsigned char v[16];
	E(mincore(a, 8*PS, v));
	for (int i=0;i<8;i++)P("%d", v[i]&1);
	P("\n");
	E(mincore(a+1, PS, v));
	E(mincore(a, PS, (void*)1));
	E(mincore((void*)PS, PS, v));
	E(mincore(a, 0, v));
	E(mincore((void*)-PS, PS, v));
	E(msync(a, 8*PS, MS_SYNC));
	E(msync(a, PS, MS_SYNC|MS_ASYNC));
	E(msync(a, PS, 0));
	E(msync(a+1, PS, MS_SYNC));
	E(msync((void*)PS, PS, MS_SYNC));
	E(msync(a, PS, 8));
	E(msync(a, -PS, MS_SYNC));
	E(msync(a, 0, MS_SYNC));
	E(mlock(a, PS));
	E(msync(a, PS, MS_INVALIDATE));
	E(madvise(a, PS, MADV_DONTNEED));
	E(munlock(a, PS));
	E(mlock((void*)PS, PS));
	E(mlock(a, -1));
	E(munlock((void*)PS, PS));
	E(syscall(SYS_mlock2, a, PS, 1));
	E(syscall(SYS_mlock2, a, PS, 2));
	E(mlockall(0));
	E(mlockall(8));
	E(mlockall(MCL_ONFAULT));
	E(mlockall(MCL_CURRENT|MCL_ONFAULT));
	E(munlockall());
	E(mlockall(MCL_FUTURE));
	char*lk=mmap(0, PS*4, 3, AN, -1, 0);
	E(mincore(lk, 4*PS, v));
	for (int i=0;i<4;i++)P("%d", v[i]&1);
	P("\n");
	E(field("/proc/self/status","VmLck:"));
	E(munlockall());
	E(field("/proc/self/status","VmLck:"));
	for (int i=-1;i<30;i++) {
		errno=0;
		int q=madvise(a, PS, i);
		P("madvise %d: %d %s\n", i, q, strerror(errno));
	}
	for (int i=100;i<104;i++) {
		errno=0;
		int q=madvise(s, PS, i>101?100:i);
		P("madvise %d: %d %s\n", i, q, strerror(errno));
	}
	return 0;
}
