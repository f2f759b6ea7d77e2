/* Options that few programs use: of openat2, prctl, ioctl, fcntl, and a soft RLIMIT_DATA of 0. */
#include "common.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

struct how {
	uint64_t flags, mode, resolve;
};

int main(void)
{
	struct how how = { O_RDONLY, 0, 32 };
	struct rlimit none;
	int fd, size = 0;
	put("f", "text");
	E(syscall(437, AT_FDCWD, "f", &how, sizeof how) >= 0);
	how.flags = O_CREAT | O_RDWR;
	how.mode = 0600;
	E(syscall(437, AT_FDCWD, "g", &how, sizeof how));
	how.resolve = 64;
	E(syscall(437, AT_FDCWD, "f", &how, sizeof how));
	E(fd = open("f", O_RDWR));
	E(ioctl(fd, FIGETBSZ, &size));
	P("%d\n", size);
	E(fcntl(fd, F_SETFL, O_ASYNC | O_APPEND));
	P("%o\n", fcntl(fd, F_GETFL) & ~0100000);
	E(prctl(31, 0, 0, 0, 0));
	E(prctl(32, 0, 0, 0, 0));
	E(prctl(52, 0, 0, 0, 0) >= 0);
	E(prctl(52, 99, 0, 0, 0));
	E(prctl(52, 0, 1, 0, 0));
	getrlimit(RLIMIT_DATA, &none);
	none.rlim_cur = 0;
	E(setrlimit(RLIMIT_DATA, &none));
	E(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	none.rlim_cur = 1;
	E(setrlimit(RLIMIT_DATA, &none));
	E(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	return 0;
}
