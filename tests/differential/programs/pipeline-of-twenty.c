#include "common.h"
/* a pipeline of twenty processes, each adding one */ int main() {
	int in=-1, i, p[2];
	unsigned char c=0;
	pipe(p);
	write(p[1], &c, 1);
	close(p[1]);
	in=p[0];
	for (i=0;i<20;i++) {
		pipe(p);
		if (!fork()) {
			close(p[0]);
			while (read(in, &c, 1)==1) {
				c++;
				write(p[1], &c, 1);
			}
			_exit(0);
		}
		close(in);
		close(p[1]);
		in=p[0];
} while(read(in, &c, 1)==1)P("%d\n", c);
	for (i=0;wait(0)>0;i++);
	P("%d\n", i);
	return 0;
}
