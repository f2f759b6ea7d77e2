#include "common.h"
/* the letters of VmFlags in smaps, after each call that changes one */ static char*at;
static void flags(const char*what) {
	char l[400];
	FILE*f=fopen("/proc/self/smaps","r");
	int on=0;
	while (fgets(l, 400, f)) {
		unsigned long x, y;
		if (sscanf(l,"%lx-%lx ", &x, &y)==2&&strchr(l,'-')<strchr(l,' '))on=x<=(unsigned long)at&&(unsigned long)at<y;
		else if(on&&!strncmp(l,"VmFlags", 7))P("%s: %s", what, l);
	}
	fclose(f);
}

#define A(advice) do{errno=0;int r=madvise(at, 8192, advice);P("%d ", r);flags(#advice);}while(0)
int main() {
	at=mmap((void*)0x30000000, 65536, 3, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);
	flags("new");
	A(MADV_NOHUGEPAGE);
	A(MADV_HUGEPAGE);
	A(MADV_NOHUGEPAGE);
	A(MADV_RANDOM);
	A(MADV_SEQUENTIAL);
	A(MADV_NORMAL);
	A(MADV_DONTFORK);
	A(MADV_DOFORK);
	A(MADV_DONTDUMP);
	A(MADV_DODUMP);
	A(MADV_WIPEONFORK);
	A(MADV_KEEPONFORK);
	A(MADV_MERGEABLE);
	A(MADV_UNMERGEABLE);
	mlock(at, 4096);
	flags("mlock");
	munlock(at, 4096);
	flags("munlock");
	mprotect(at, 4096, 1);
	flags("read");
	mprotect(at, 4096, 0);
	flags("none");
	mprotect(at, 4096, 7);
	flags("all");
	at=mmap((void*)0x40000000, 4096, 1, MAP_SHARED|MAP_ANONYMOUS, -1, 0);
	flags("shared");
	at=mmap((void*)0x50000000, 4096, 3, MAP_PRIVATE|MAP_ANONYMOUS|MAP_NORESERVE|MAP_STACK, -1, 0);
	flags("noreserve");
	at=mmap((void*)0x60000000, 4096, 3, MAP_PRIVATE|MAP_ANONYMOUS|MAP_GROWSDOWN|MAP_LOCKED, -1, 0);
	flags("growsdown");
	put("a","x");
	int f=open("a", O_RDONLY);
	at=mmap((void*)0x70000000, 4096, 1, MAP_SHARED, f, 0);
	flags("file read-only");
	at=mmap((void*)0x20000000, 4096, 1, MAP_PRIVATE, f, 0);
	flags("file private");
	return 0;
}
