#include "common.h"
#define PS 4096
#define AN (MAP_PRIVATE|MAP_ANONYMOUS)
static void map_of(void*at, int n) {
	char l[400];
	FILE*f=fopen("/proc/self/maps","r");
	while (fgets(l, 400, f)) {
		unsigned long x, y;
		char pr[8];
		sscanf(l,"%lx-%lx %s", &x, &y, pr);
		if (y>(long)at&&x<(long)at+n*PS)P("  +%ld..%ld %s\n", ((long)x-(long)at)/PS, ((long)y-(long)at)/PS, pr);
	}
	fclose(f);
}

int main() {
	char*a=mmap((void*)0x30000000, 16*PS, 3, AN, -1, 0);
	madvise(a, 16*PS, MADV_NOHUGEPAGE);
	munmap(a+8*PS, PS);
	/* a hole */  E(madvise(a, 16*PS, MADV_DONTNEED));
	E(mprotect(a, 16*PS, 1));
	map_of(a, 16);
	E(mlock(a, 16*PS));
	E(munlock(a, 16*PS));
	E(msync(a, 16*PS, 4));
	unsigned char v[16];
	E(mincore(a, 16*PS, v));
	E(madvise(a+8*PS, PS, MADV_DONTNEED));
	E(madvise(a, 16*PS, MADV_WILLNEED));
	E(madvise(a, 16*PS, MADV_DONTFORK));
	map_of(a, 16);
	mprotect(a, 16*PS, 3);
	madvise(a, 16*PS, MADV_DOFORK);
	map_of(a, 8);
	memset(a, 1, 8*PS);
	mlock(a, 2*PS);
	munlock(a, 2*PS);
	E(madvise(a, 2*PS, MADV_FREE));
	E(madvise(a, 2*PS, MADV_COLD));
	E(madvise(a, 2*PS, MADV_PAGEOUT));
	E(madvise(a, 2*PS, 22));
	E(madvise(a, 2*PS, 23));
	E(madvise(a, 2*PS, 24));
	E(madvise(a, 2*PS, 25));
	E(madvise(a, 2*PS, MADV_WIPEONFORK));
	a[0]=7;
	a[3*PS]=8;
	int st;
	if (!fork()) {
		P("child %d %d\n", a[0], a[3*PS]);
		_exit(0);
	}
	wait(&st);
	E(madvise(a, 2*PS, MADV_KEEPONFORK));
	E(madvise(a, PS, MADV_DONTFORK));
	if (!fork()) {
		a[0]=1;
		_exit(0);
	}
	wait(&st);
	status_of(st);
	madvise(a, PS, MADV_DONTDUMP);
	E(madvise(a, PS, MADV_DODUMP));
	E(madvise(a, PS, MADV_MERGEABLE));
	E(madvise(a, PS, MADV_UNMERGEABLE));
	E(madvise(a, PS, MADV_HUGEPAGE));
	E(madvise(a, PS, MADV_HWPOISON+100));
	put("f","some file text");
	int fd=open("f", O_RDWR);
	ftruncate(fd, 4*PS);
	char*s=mmap(0, 4*PS, 3, MAP_SHARED, fd, 0);
	s[0]='S';
	s[PS]='T';
	E(madvise(s, 2*PS, MADV_REMOVE));
	P("%d %d\n", s[0], s[PS]);
	show("f");
	E(madvise(s, PS, MADV_FREE));
	E(madvise(s, PS, MADV_WIPEONFORK));
	E(madvise(s, PS, MADV_DONTNEED));
	E(madvise(s+1, PS, MADV_DONTNEED));
	E(madvise(s, -1, MADV_DONTNEED));
	E(madvise(s, 0, MADV_DONTNEED));
	char*p=mmap(0, 4*PS, 3, MAP_PRIVATE, fd, 0);
	p[0]='P';
	(void)*(volatile char*)(p+PS);
	E(madvise(p, 4*PS, MADV_DONTNEED));
	P("%d\n", p[0]);
	E(madvise(p, PS, MADV_REMOVE));
	char*g=mmap(0, 16*PS, 3, AN, -1, 0);
	munmap(g, 16*PS);
	g=mmap(g+15*PS, PS, 3, AN|MAP_FIXED|MAP_GROWSDOWN, -1, 0);
	g[0]=1;
	g[-PS]=1;
	g[-5*PS]=2;
	E(g[-PS]);
	map_of(g-15*PS, 16);
	E(mprotect(g, PS, 1|PROT_GROWSDOWN));
	map_of(g-15*PS, 16);
	/* remap file pages */  s=mmap(0, 4*PS, 3, MAP_SHARED, fd, 0);
	for (int i=0;i<4;i++)s[i*PS]='0'+i;
	E(remap_file_pages(s, PS, 0, 3, 0));
	P("%c\n", s[0]);
	E(remap_file_pages(s, PS, 1, 3, 0));
	E(remap_file_pages(a, PS, 0, 0, 0));
	E(remap_file_pages(s+PS, 2*PS, 0, 0, 0));
	P("%c%c%c%c\n", s[0], s[PS], s[2*PS], s[3*PS]);
	E(syscall(SYS_pkey_mprotect, a+PS, PS, 1, -1));
	E(syscall(SYS_pkey_mprotect, a+PS, PS, 1, 5));
	E(syscall(SYS_pkey_alloc, 1, 0));
	E(syscall(SYS_pkey_alloc, 0, 8));
	E(syscall(SYS_pkey_free, 3));
	return 0;
}
