/* A debugger reaches the memory of a traced program, but not the device pages that it has mapped (VM_IO). */
#include "traced.h"

int main(int argc, char **argv)
{
	int fd = open(argv[argc - 1], O_RDWR | O_SYNC), memory;
	char *device = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0xa0000), *plain = anonymous(1), path[64], byte;
	unsigned long word = 0;
	struct iovec mine = {&word, sizeof word}, its = {device, sizeof word};
	pid_t pid;

	CHECK("mapped", device != MAP_FAILED);
	memset(plain, 7, PAGE);
	device[0] = 9;
	pid = fork();
	if (!pid) {
		raw(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(device[0] == 9 && plain[0] == 7 ? 0 : 1);
	}
	stop_of(pid);
	ERRNO("its memory", raw(PTRACE_PEEKDATA, pid, (unsigned long)plain, (unsigned long)&word), 0);
	EQUAL("is there", word & 0xff, 7);
	ERRNO("the device", raw(PTRACE_PEEKDATA, pid, (unsigned long)device, (unsigned long)&word), EIO);
	ERRNO("nor written", raw(PTRACE_POKEDATA, pid, (unsigned long)device, 1), EIO);
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	memory = open(path, O_RDWR);
	ERRNO("nor by /proc/PID/mem", pread(memory, &byte, 1, (unsigned long)device), EIO);
	ERRNO("nor written there", pwrite(memory, "x", 1, (unsigned long)device), EIO);
	EQUAL("its memory is", pread(memory, &byte, 1, (unsigned long)plain), 1);
	ERRNO("nor by process_vm_readv", syscall(SYS_process_vm_readv, pid, &mine, 1, &its, 1, 0), EFAULT);
	raw(PTRACE_CONT, pid, 0, 0);
	EQUAL("the program itself reads it", WEXITSTATUS(stop_of(pid)), 0);
	return done();
}
