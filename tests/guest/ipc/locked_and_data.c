/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RLIMIT_DATA where mprotect turns an area into data; RLIMIT_MEMLOCK of a user's locked segments. */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define MB (1 << 20)

static void limit(int which, rlim_t soft)
{
	struct rlimit now;

	EQUAL("getrlimit", getrlimit(which, &now), 0);
	now.rlim_cur = soft;
	EQUAL("setrlimit", setrlimit(which, &now), 0);
}

static void data(void)
{
	char *area;

	limit(RLIMIT_DATA, 10 * MB);
	area = mmap(NULL, 20 * MB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK("not data", area != MAP_FAILED);
	ERRNO("all of it", mprotect(area, 20 * MB, PROT_READ | PROT_WRITE), ENOMEM);
	EQUAL("a part", mprotect(area, 4 * MB, PROT_READ | PROT_WRITE), 0);
	ERRNO("the rest", mprotect(area + 4 * MB, 16 * MB, PROT_READ | PROT_WRITE), ENOMEM);
	EQUAL("less", mprotect(area, 4 * MB, PROT_READ), 0);
	area = mmap(NULL, 20 * MB, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EQUAL("shared", mprotect(area, 20 * MB, PROT_READ | PROT_WRITE), 0);
	limit(RLIMIT_AS, 4 * MB);
	EQUAL("no more than there was", mprotect(area, 20 * MB, PROT_READ), 0);
	EQUAL("and back", mprotect(area, 20 * MB, PROT_READ | PROT_WRITE), 0);
}

static void locked(void)
{
	int first, second;

	limit(RLIMIT_MEMLOCK, 64 << 10);
	EQUAL("setuid", setuid(40000 + getpid() % 20000), 0); /* another at the same time has an account of its own */
	first = shmget(IPC_PRIVATE, 40 << 10, 0600 | IPC_CREAT);
	second = shmget(IPC_PRIVATE, 40 << 10, 0600 | IPC_CREAT);
	EQUAL("lock", shmctl(first, SHM_LOCK, NULL), 0);
	EQUAL("again", shmctl(first, SHM_LOCK, NULL), 0);
	ERRNO("beyond", shmctl(second, SHM_LOCK, NULL), ENOMEM);
	EQUAL("unlock", shmctl(first, SHM_UNLOCK, NULL), 0);
	EQUAL("the other", shmctl(second, SHM_LOCK, NULL), 0);
	EQUAL("gone", shmctl(second, IPC_RMID, NULL), 0);
	EQUAL("lock", shmctl(first, SHM_LOCK, NULL), 0);
	limit(RLIMIT_MEMLOCK, 0);
	ERRNO("none", shmctl(first, SHM_LOCK, NULL), EPERM);
	EQUAL("unlock", shmctl(first, SHM_UNLOCK, NULL), 0);
	EQUAL("gone", shmctl(first, IPC_RMID, NULL), 0);
}

int main(void)
{
	pid_t child = fork();

	if (!child) {
		data();
		_exit(done());
	}
	waitpid(child, NULL, 0);
	if (!getuid())
		locked();
	return done();
}
