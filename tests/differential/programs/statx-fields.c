#include "common.h"

int main(void)
{
	put("f", "hello");
	struct {
		uint32_t mask, blksize;
		uint64_t attr;
		uint32_t nlink, uid, gid;
		uint16_t mode, pad;
		uint64_t ino, size, blocks;
		char rest[180];
	} x;
	memset(&x, 0, sizeof x);
	E(syscall(SYS_statx, AT_FDCWD, "f", 0, 0x7ff, &x));
	P("%x %u %u %o %d\n", x.mask & 0x7ff, x.blksize, x.nlink, x.mode, (int)x.size);
	E(syscall(SYS_statx, 99, "f", 0, 0x7ff, &x));
	E(syscall(SYS_statx, AT_FDCWD, "f", 0x10000000, 0, &x));
	E(syscall(SYS_statx, AT_FDCWD, "none", 0, 0, &x));
	return 0;
}
