/* Memory that is an object: /dev/zero, memfd_create, /dev/shm, /proc/self/mem, process_vm_readv. */
#include "check.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

static void dev_zero(void)
{
	int fd = open("/dev/zero", O_RDWR), status;
	char *p = mmap(NULL, 2 * PAGE, RW, MAP_PRIVATE, fd, 0), *q, buffer[100];
	pid_t pid;

	CHECK("/dev/zero, private", p != MAP_FAILED && all_are(p, 0, 2 * PAGE));
	p[0] = 'x';
	EQUAL("...writable", p[0], 'x');
	q = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
	CHECK("/dev/zero, shared", q != MAP_FAILED && q[0] == 0);
	pid = fork();
	if (!pid) {
		q[0] = 'c';
		_exit(0);
	}
	waitpid(pid, &status, 0);
	EQUAL("...with a child", q[0], 'c');
	memset(buffer, 'x', sizeof buffer);
	EQUAL("read of /dev/zero", read(fd, buffer, sizeof buffer), sizeof buffer);
	CHECK("...is zeros", all_are(buffer, 0, sizeof buffer));
	EQUAL("write to /dev/zero", write(fd, buffer, 10), 10);
}

static void memfd(void)
{
	int fd = syscall(SYS_memfd_create, "name", 3);
	char *p, *q;
	struct stat st;

	CHECK("memfd_create", fd >= 0);
	ERRNO("memfd_create, unknown flags", syscall(SYS_memfd_create, "x", 0x8000), EINVAL);
	p = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
	NO_READ("an empty memfd", p, SIGBUS, BUS_ADRERR);
	ERRNO("ftruncate", ftruncate(fd, 3 * PAGE), 0);
	READS("now it is there", p);
	q = mmap(NULL, 3 * PAGE, RW, MAP_SHARED, fd, 0);
	p[7] = 'm';
	EQUAL("two mappings", q[7], 'm');
	EQUAL("its size", fstat(fd, &st) ? -1 : st.st_size, 3 * PAGE);
	ERRNO("MADV_REMOVE punches a hole", madvise(q, PAGE, MADV_REMOVE), 0);
	EQUAL("...of zeros", p[7], 0);
	ERRNO("F_ADD_SEALS with a writable mapping", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EBUSY);
	munmap(p, PAGE);
	munmap(q, 3 * PAGE);
	ERRNO("F_ADD_SEALS", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
	EQUAL("F_GET_SEALS", fcntl(fd, F_GET_SEALS), F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW);
	ERRNO("write to a sealed file", write(fd, "x", 1), EPERM);
	ERRNO("shrink a sealed file", ftruncate(fd, PAGE), EPERM);
	ERRNO("grow a sealed file", ftruncate(fd, 9 * PAGE), EPERM);
	ERRNO("map a sealed file for writing", mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0), EPERM);
	ERRNO("...for reading", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0), 0);
}

static void dev_shm(void)
{
	char name[100];
	int fd, other;
	char *p, *q;

	snprintf(name, sizeof name, "/dev/shm/nopage-%d", getpid());
	fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK("a file in /dev/shm", fd >= 0);
	other = open(name, O_RDWR);
	ERRNO("unlink it", unlink(name), 0);
	ERRNO("ftruncate it", ftruncate(fd, 2 * PAGE), 0);
	p = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
	q = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, other, 0);
	p[PAGE] = 's';
	EQUAL("shared over two opens", q[PAGE], 's');
}

static void proc_mem(void)
{
	int fd = open("/proc/self/mem", O_RDWR);
	char *p = anonymous(3), buffer[16];
	struct iovec local = {buffer, 10}, remote = {p, 10};

	strcpy(p, "some text");
	CHECK("/proc/self/mem", fd >= 0);
	EQUAL("read", pread(fd, buffer, 10, (uintptr_t)p), 10);
	CHECK("...the text", !strcmp(buffer, "some text"));
	EQUAL("write", pwrite(fd, "SOME", 4, (uintptr_t)p), 4);
	CHECK("...shows", !strcmp(p, "SOME text"));
	mprotect(p, PAGE, PROT_READ);
	EQUAL("write to a read-only page", pwrite(fd, "more", 4, (uintptr_t)p), 4);
	CHECK("...copies it", !strcmp(p, "more text"));
	munmap(p + PAGE, PAGE);
	EQUAL("up to a hole", pread(fd, buffer, 10, (uintptr_t)p + PAGE - 3), 3);
	ERRNO("in a hole", pread(fd, buffer, 10, (uintptr_t)p + PAGE), EIO);
	EQUAL("process_vm_readv", syscall(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0L), 10);
	CHECK("...the text, too", !strcmp(buffer, "more text"));
	remote.iov_base = p + PAGE;
	ERRNO("process_vm_readv in a hole", syscall(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0L), EFAULT);
	ERRNO("process_vm_readv of nobody", syscall(SYS_process_vm_readv, 99999999, &local, 1, &remote, 1, 0L), ESRCH);
}

int main(void)
{
	catch_faults();
	dev_zero();
	memfd();
	dev_shm();
	proc_mem();
	return done();
}
