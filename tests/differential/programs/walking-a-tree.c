#include "common.h"

static int n, size;
static int visit(const char *p, const struct stat *s, int t, struct FTW *f)
{
	(void)p;
	n += f->level;
	size += t == FTW_F ? (int)s->st_size : 0;
	return 0;
}

int main(void)
{
	mkdir("d", 0755);
	mkdir("d/e", 0755);
	mkdir("d/e/f", 0755);
	put("d/e/f/x", "12345");
	put("d/y", "1");
	symlink("y", "d/l");
	P("%d ", nftw("d", visit, 10, FTW_PHYS));
	P("%d %d\n", n, size);
	struct dirent **l;
	int k = scandir("d", &l, 0, alphasort);
	for (int i = 0; i < k; i++)
		P("%s ", l[i]->d_name);
	P("\n");
	return 0;
}
