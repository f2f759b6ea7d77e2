#include "common.h"
/* copy-on-write among parent, child and grandchild; shared memory among them */ int main() {
	int n=64, i;
	char*p=mmap(0, n*4096, 3, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0), *s=mmap(0, 4096, 3, MAP_SHARED|MAP_ANONYMOUS, -1, 0);
	for (i=0;i<n;i++)p[i*4096]=i;
	if (!fork()) {
		for (i=0;i<n;i+=2)p[i*4096]=100;
		if (!fork()) {
			for (i=0;i<n;i+=3)p[i*4096]=101;
			int t=0;
			for (i=0;i<n;i++)t+=p[i*4096];
			s[0]=t%251;
			_exit(0);
		}
		wait(0);
		int t=0;
		for (i=0;i<n;i++)t+=p[i*4096];
		s[1]=t%251;
		_exit(0);
	}
	wait(0);
	int t=0;
	for (i=0;i<n;i++)t+=p[i*4096];
	P("%d %d %d\n", s[0]&255, s[1]&255, t);
	return 0;
}
