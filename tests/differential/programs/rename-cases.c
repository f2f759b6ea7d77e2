#include "common.h"

int main(void)
{
	put("a", "A");
	put("b", "B");
	mkdir("d", 0755);
	mkdir("d/e", 0755);
	E(rename("a", "b"));
	show("b");
	E(rename("none", "x"));
	E(rename("b", "d"));
	E(rename("d", "b"));
	E(rename("d", "d/e/f"));
	E(rename("b", "d/e/g"));
	E(rename("d/e", "e"));
	E(syscall(SYS_renameat2, AT_FDCWD, "e/g", AT_FDCWD, "d", 1));
	mkdir("f", 0755);
	E(rename("f", "e"));
	E(rename("d", "f"));
	E(rename("f", "f"));
	return 0;
}
