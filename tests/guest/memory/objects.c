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

/* What forbids growth forbids pages beyond the end as well; unknown seals are refused first. */
static void seals(void)
{
	int fd = syscall(SYS_memfd_create, "sealed", 2), closed = syscall(SYS_memfd_create, "closed", 0);

	ERRNO("ftruncate", ftruncate(fd, 4 * PAGE), 0);
	ERRNO("F_SEAL_GROW", fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
	ERRNO("fallocate inside", fallocate(fd, 0, 0, 4 * PAGE), 0);
	ERRNO("fallocate beyond the end", fallocate(fd, 0, 0, 8 * PAGE), EPERM);
	ERRNO("...that leaves the size", fallocate(fd, FALLOC_FL_KEEP_SIZE, 4 * PAGE, PAGE), EPERM);
	ERRNO("a hole beyond the end",
	      fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 8 * PAGE), 0);
	ERRNO("F_SEAL_SEAL", fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	ERRNO("no more seals", fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), EPERM);
	ERRNO("an unknown seal", fcntl(fd, F_ADD_SEALS, 0x100), EINVAL);
	ERRNO("...of a file without seals", fcntl(closed, F_ADD_SEALS, 0x100), EINVAL);
}

/* Pages that fallocate took are holes until somebody writes or maps them. */
static void fallocated(void)
{
	int fd = syscall(SYS_memfd_create, "allocated", 0);
	unsigned char resident[8] = "";
	char buffer[10];
	struct stat st;
	char *p;

	ERRNO("ftruncate", ftruncate(fd, 4 * PAGE), 0);
	EQUAL("a page with data", pwrite(fd, "x", 1, 0), 1);
	ERRNO("fallocate", fallocate(fd, 0, 0, 6 * PAGE), 0);
	EQUAL("six pages are taken", fstat(fd, &st) ? -1 : st.st_blocks, 48);
	EQUAL("a hole behind the data", lseek(fd, 0, SEEK_HOLE), PAGE);
	ERRNO("no data there", lseek(fd, PAGE, SEEK_DATA), ENXIO);
	EQUAL("reading", pread(fd, buffer, 10, 2 * PAGE), 10);
	CHECK("...gives zeros", all_are(buffer, 0, 10));
	ERRNO("...and no data", lseek(fd, PAGE, SEEK_DATA), ENXIO);
	EQUAL("writing", pwrite(fd, "y", 1, 2 * PAGE + 5), 1);
	EQUAL("...makes data", lseek(fd, PAGE, SEEK_DATA), 2 * PAGE);
	p = mmap(NULL, 6 * PAGE, RW, MAP_SHARED, fd, 0);
	mincore(p, 6 * PAGE, resident);
	EQUAL("in core", resident[0] | resident[1] << 1 | resident[2] << 2 | resident[3] << 3, 5);
	CHECK("a touch", p[4 * PAGE] == 0 && p[2 * PAGE + 5] == 'y');
	EQUAL("...makes data, too", lseek(fd, 3 * PAGE, SEEK_DATA), 4 * PAGE);
	EQUAL("still six pages", fstat(fd, &st) ? -1 : st.st_blocks, 48);
	ERRNO("a hole", fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, PAGE, 2 * PAGE), 0);
	EQUAL("four pages", fstat(fd, &st) ? -1 : st.st_blocks, 32);
	ERRNO("shorter", ftruncate(fd, 4 * PAGE), 0);
	EQUAL("two pages", fstat(fd, &st) ? -1 : st.st_blocks, 16);
	munmap(p, 6 * PAGE);
	close(fd);
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
}

static long vm_call(long call, pid_t pid, void *local, size_t length, void *remote, size_t remote_length)
{
	struct iovec here = {local, length}, there = {remote, remote_length};

	return syscall(call, pid, &here, 1L, &there, 1L, 0L);
}

/* What lies behind the first byte that can't be had is not moved, in another vector neither. */
static void other_vectors(pid_t pid, char *buffer, char *p)
{
	struct iovec here = {buffer, 30}, bad_first[] = {{p + PAGE, 10}, {p, 10}},
		     bad_second[] = {{p, 10}, {p + PAGE - 5, 10}, {p, 10}};

	ERRNO("a hole before what is there",
	      syscall(SYS_process_vm_readv, pid, &here, 1L, bad_first, 2L, 0L), EFAULT);
	EQUAL("a hole between", syscall(SYS_process_vm_readv, pid, &here, 1L, bad_second, 3L, 0L), 15);
	ERRNO("a hole before, writing", syscall(SYS_process_vm_writev, pid, &here, 1L, bad_first, 2L, 0L), EFAULT);
}

static void other_process(void)
{
	char *p = anonymous(4), buffer[100] = "", byte = 0;
	int pipes[2], status;
	pid_t pid;

	strcpy(p, "parent");
	munmap(p + PAGE, PAGE);
	mprotect(p + 2 * PAGE, PAGE, PROT_READ);
	if (pipe(pipes))
		_exit(2);
	pid = fork();
	if (!pid) {
		strcpy(p, "child");
		if (read(pipes[0], &byte, 1) != 1)
			_exit(1);
		_exit(strcmp(p, "CHILD") ? 1 : 7);
	}
	while (vm_call(SYS_process_vm_readv, pid, buffer, 6, p, 6) == 6 && strcmp(buffer, "child"))
		usleep(1000);
	CHECK("process_vm_readv of a child", !strcmp(buffer, "child") && !strcmp(p, "parent"));
	EQUAL("process_vm_writev to a child", vm_call(SYS_process_vm_writev, pid, "CHILD", 5, p, 5), 5);
	EQUAL("up to a hole, reading", vm_call(SYS_process_vm_readv, pid, buffer, 50, p + PAGE - 20, 50), 20);
	EQUAL("up to a hole, writing", vm_call(SYS_process_vm_writev, pid, buffer, 50, p + PAGE - 20, 50), 20);
	EQUAL("the shorter of the two", vm_call(SYS_process_vm_readv, pid, buffer, 50, p, 7), 7);
	ERRNO("in a hole", vm_call(SYS_process_vm_readv, pid, buffer, 10, p + PAGE, 10), EFAULT);
	ERRNO("to a read-only page", vm_call(SYS_process_vm_writev, pid, buffer, 10, p + 2 * PAGE, 10), EFAULT);
	ERRNO("into a bad buffer", vm_call(SYS_process_vm_readv, pid, p + PAGE, 10, p, 10), EFAULT);
	other_vectors(pid, buffer, p);
	ERRNO("a process that is not", vm_call(SYS_process_vm_readv, 99999999, buffer, 10, p, 10), ESRCH);
	ERRNO("unknown flags", syscall(SYS_process_vm_readv, pid, NULL, 0L, NULL, 0L, 1L), EINVAL);
	EQUAL("nothing", vm_call(SYS_process_vm_readv, pid, buffer, 0, p, 10), 0);
	EQUAL("nothing, of a process that is not", vm_call(SYS_process_vm_readv, 99999999, buffer, 10, p, 0), 0);
	ERRNO("a negative length there", vm_call(SYS_process_vm_readv, pid, buffer, 10, p, -1), EINVAL);
	ERRNO("...for writing", vm_call(SYS_process_vm_writev, pid, buffer, 10, p, -1), EINVAL);
	ERRNO("a negative length here", vm_call(SYS_process_vm_readv, pid, buffer, -1, p, 10), EINVAL);
	EQUAL("nothing here, nobody looks there",
	      syscall(SYS_process_vm_readv, pid, &(struct iovec){buffer, 0}, 1L, (void *)64, 1L, 0L), 0);
	if (write(pipes[1], "x", 1) != 1)
		_exit(2);
	waitpid(pid, &status, 0);
	EQUAL("the child saw it", WEXITSTATUS(status), 7);
}

int main(void)
{
	catch_faults();
	dev_zero();
	memfd();
	seals();
	fallocated();
	dev_shm();
	proc_mem();
	other_process();
	return done();
}
