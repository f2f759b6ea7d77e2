/* System V shared memory: segments, attachments, permissions, removal; POSIX shared memory beside it. */
#include "check.h"
#include "../alone.h"

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int mapped(const char *what)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[300];
	int found = 0;

	while (fgets(line, sizeof line, f))
		found += !!strstr(line, what);
	fclose(f);
	return found;
}

static long attached(int id)
{
	struct shmid_ds ds;

	return shmctl(id, IPC_STAT, &ds) ? -1 : (long)ds.shm_nattch;
}

static void segments(void)
{
	int id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0640), status;
	struct shmid_ds ds;
	char *a, *b, *at, line[300];
	FILE *f;
	int listed = 0;

	CHECK("shmget", id >= 0);
	ERRNO("stat", shmctl(id, IPC_STAT, &ds), 0);
	EQUAL("size", ds.shm_segsz, 10000);
	EQUAL("mode", ds.shm_perm.mode, 0640);
	CHECK("owner", ds.shm_perm.uid == geteuid() && ds.shm_perm.cuid == geteuid());
	CHECK("made here", ds.shm_cpid == getpid() && !ds.shm_lpid && !ds.shm_atime && ds.shm_ctime > 1000000);
	a = shmat(id, NULL, 0);
	b = shmat(id, NULL, SHM_RDONLY);
	CHECK("attached", a != (char *)-1 && b != (char *)-1 && a != b);
	EQUAL("twice", attached(id), 2);
	CHECK("zeros", all_are(a, 0, 12288));
	strcpy(a + 8192, "shared");
	CHECK("one memory", !strcmp(b + 8192, "shared"));
	NO_WRITE("read-only", b, SIGSEGV, SEGV_ACCERR);
	EQUAL("named in maps", mapped("/SYSV00000000 (deleted)"), 2);
	if (!fork()) {
		if (attached(id) != 4)
			_exit(1);
		a[0] = 'c';
		munmap(b, PAGE);
		if (attached(id) != 4)
			_exit(2);
		if (shmdt(b) || attached(id) != 3)
			_exit(3);
		_exit(9);
	}
	wait(&status);
	EQUAL("the child's", status >> 8, 9);
	EQUAL("the child's store", a[0], 'c');
	EQUAL("its end detaches", attached(id), 2);
	munmap(a + PAGE, PAGE);
	EQUAL("two areas now", attached(id), 3);
	ERRNO("shmdt of what is left", shmdt(a), 0);
	EQUAL("one", attached(id), 1);
	ERRNO("again", shmdt(a), EINVAL);
	ERRNO("not aligned", shmdt(b + 1), EINVAL);
	ERRNO("at an address that is taken", shmat(id, b, 0), EINVAL);
	ERRNO("not aligned", shmat(id, a + 5, 0), EINVAL);
	at = hole(3);
	CHECK("rounded", shmat(id, at + 5, SHM_RND) == at);
	CHECK("over it", shmat(id, b, SHM_REMAP) == b);
	b[1] = 'w';
	EQUAL("writable now", at[1], 'w');
	ERRNO("remap nowhere", shmat(id, NULL, SHM_REMAP), EINVAL);
	ERRNO("remove", shmctl(id, IPC_RMID, NULL), 0);
	shmctl(id, IPC_STAT, &ds);
	EQUAL("lives until the last is gone", ds.shm_perm.mode, 0640 | 01000);
	f = fopen("/proc/sysvipc/shm", "r");
	while (fgets(line, sizeof line, f)) {
		int key, number, mode;
		long size;

		if (sscanf(line, "%d %d %o %ld", &key, &number, &mode, &size) == 4 && number == id)
			listed = key == 0 && mode == 01640 && size == 10000;
	}
	fclose(f);
	EQUAL("/proc/sysvipc/shm", listed, 1);
	shmdt(at);
	shmdt(b);
	ERRNO("gone", shmctl(id, IPC_STAT, &ds), EINVAL);
}

static void keys(void)
{
	key_t key = 0x6e6f7000 + (getpid() & 0xff);
	struct shmid_ds ds;
	int id, other, status;

	ERRNO("none", shmget(key, 100, 0), ENOENT);
	ERRNO("no size", shmget(key, 0, IPC_CREAT | 0600), EINVAL);
	id = shmget(key, 100, IPC_CREAT | 0600);
	EQUAL("again", shmget(key, 0, 0) == id, 1);
	EQUAL("smaller", shmget(key, 50, IPC_CREAT | 0600) == id, 1);
	ERRNO("larger", shmget(key, 101, 0), EINVAL);
	ERRNO("exclusive", shmget(key, 100, IPC_CREAT | IPC_EXCL | 0600), EEXIST);
	ds.shm_perm.uid = 7, ds.shm_perm.gid = 8, ds.shm_perm.mode = 0604;
	ERRNO("set", shmctl(id, IPC_SET, &ds), 0);
	shmctl(id, IPC_STAT, &ds);
	CHECK("set", ds.shm_perm.uid == 7 && ds.shm_perm.gid == 8 && ds.shm_perm.mode == 0604 && ds.shm_perm.cuid == geteuid());
	if (!fork()) {
		setgid(1000), setuid(1000);
		_exit(shmat(id, NULL, SHM_RDONLY) == (void *)-1 ? 1 : shmat(id, NULL, 0) != (void *)-1 || errno != EACCES ? 2 :
		      shmctl(id, IPC_RMID, NULL) != -1 || errno != EPERM ? 3 : shmget(key, 1, 0006) != -1 || errno != EACCES ? 4 : 5);
	}
	wait(&status);
	EQUAL("somebody else", status >> 8, 5);
	other = shmget(IPC_PRIVATE, 1, 0600);
	CHECK("another", other != id);
	ERRNO("rmid", shmctl(id, IPC_RMID, NULL), 0);
	ERRNO("rmid again", shmctl(id, IPC_RMID, NULL), EINVAL);
	ERRNO("at", shmat(id, NULL, 0), EINVAL);
	ERRNO("none", shmget(key, 100, 0), ENOENT);
	ERRNO("command", shmctl(other, 99, NULL), EINVAL);
	ERRNO("negative", shmctl(-1, IPC_STAT, &ds), EINVAL);
	shmctl(other, IPC_RMID, NULL);
}

static void posix(void)
{
	int fd = open("/dev/shm/nopage-posix", O_RDWR | O_CREAT | O_EXCL, 0600), status;
	char *a;

	ftruncate(fd, 5000);
	a = mmap(NULL, 5000, RW, MAP_SHARED, fd, 0);
	if (!fork()) {
		int other = open("/dev/shm/nopage-posix", O_RDWR);
		char *b = mmap(NULL, 5000, RW, MAP_SHARED, other, 0);

		strcpy(b + 4096, "posix");
		_exit(0);
	}
	wait(&status);
	CHECK("POSIX", !strcmp(a + 4096, "posix"));
	unlink("/dev/shm/nopage-posix");
	munmap(a, 5000);
	close(fd);
}

int main(void)
{
	alone("/tmp/nopage-shared-alone");
	catch_faults();
	segments();
	keys();
	posix();
	return done();
}
