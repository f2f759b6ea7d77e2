#include "common.h"
/* what a mapping, a read and a write of one file see of each other */ int main() {
	put("a","0123456789");
	int f=open("a", O_RDWR);
	ftruncate(f, 8192);
	char*s=mmap(0, 8192, 3, MAP_SHARED, f, 0), *p=mmap(0, 8192, 3, MAP_PRIVATE, f, 0), b[20]={0};
	p[8000]=1;
	write(f,"abc", 3);
	P("%.10s %.10s\n", s, p);
	s[1]='X';
	pread(f, b, 5, 0);
	P("%s %.5s\n", b, p);
	p[2]='P';
	pread(f, b, 5, 0);
	P("%s %.5s %.5s\n", b, s, p);
	pwrite(f,"zz", 2, 0);
	P("%.5s %.5s\n", s, p);
	ftruncate(f, 4);
	P("%d %d\n", s[3], s[4]);
	ftruncate(f, 8192);
	P("%d %d\n", s[4], p[8000]);
	E(msync(s, 8192, MS_SYNC));
	struct stat st;
	fstat(f, &st);
	P("%ld\n", (long)st.st_size);
	unlink("a");
	s[5]='!';
	pread(f, b, 6, 0);
	P("%c\n", b[5]);
	munmap(s, 8192);
	close(f);
	P("%c\n", p[2]);
	return 0;
}
