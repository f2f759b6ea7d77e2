/* System V semaphores: all operations or none, waiting, undo, removal. */
#include "check.h"

#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <time.h>

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
};

static int value(int id, int n)
{
	return semctl(id, n, GETVAL);
}

static int op1(int id, int n, int op, int flags)
{
	struct sembuf b = { n, op, flags };

	return semop(id, &b, 1);
}

static void values(void)
{
	int id = semget(IPC_PRIVATE, 3, 0600);
	unsigned short all[3] = { 4, 5, 6 }, got[3];
	struct sembuf two[2] = { { 0, -1, 0 }, { 1, -9, IPC_NOWAIT } }, zero[2] = { { 0, 0, IPC_NOWAIT }, { 1, 1, 0 } };
	struct semid_ds ds;
	union semun arg = { .array = all };

	ERRNO("SETALL", semctl(id, 0, SETALL, arg), 0);
	arg.array = got;
	ERRNO("GETALL", semctl(id, 0, GETALL, arg), 0);
	CHECK("values", !memcmp(all, got, sizeof all));
	arg.buf = &ds;
	ERRNO("stat", semctl(id, 0, IPC_STAT, arg), 0);
	CHECK("stat", ds.sem_nsems == 3 && !ds.sem_otime && ds.sem_ctime > 1000000 && (ds.sem_perm.mode & 0777) == 0600);
	ERRNO("down", op1(id, 0, -4, 0), 0);
	EQUAL("value", value(id, 0), 0);
	EQUAL("by this process", semctl(id, 0, GETPID), getpid());
	ERRNO("would wait", op1(id, 0, -1, IPC_NOWAIT), EAGAIN);
	op1(id, 0, 2, 0);
	ERRNO("the second can't", semop(id, two, 2), EAGAIN);
	EQUAL("so the first is not done", value(id, 0), 2);
	ERRNO("not zero", semop(id, zero, 2), EAGAIN);
	EQUAL("unchanged", value(id, 1), 5);
	ERRNO("too high", op1(id, 0, 32767, 0), ERANGE);
	arg.val = 32768;
	ERRNO("too high", semctl(id, 0, SETVAL, arg), ERANGE);
	arg.val = 7;
	ERRNO("SETVAL", semctl(id, 2, SETVAL, arg), 0);
	EQUAL("value", value(id, 2), 7);
	ERRNO("no such semaphore", op1(id, 3, 1, 0), EFBIG);
	ERRNO("no such semaphore", semctl(id, 3, GETVAL), EINVAL);
	ERRNO("no operation", semop(id, two, 0), EINVAL);
	ERRNO("too many", semop(id, two, 501), E2BIG);
	ERRNO("EFAULT", semop(id, (void *)8, 1), EFAULT);
	ERRNO("remove", semctl(id, 0, IPC_RMID), 0);
	ERRNO("gone", op1(id, 0, 1, 0), EINVAL);
	ERRNO("none", semget(IPC_PRIVATE, 0, 0600), EINVAL);
	ERRNO("too many", semget(IPC_PRIVATE, 32001, 0600), EINVAL);
}

static void on_alarm(int signo)
{
	(void)signo;
}

static void waiting(void)
{
	int id = semget(IPC_PRIVATE, 2, 0600), status, i;
	struct sembuf down = { 0, -1, 0 };
	struct timespec ts = { 0, 10000000 };
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };

	if (!fork())
		_exit(op1(id, 0, -2, 0) || op1(id, 1, 1, 0) ? 1 : 4);
	if (!fork())
		_exit(op1(id, 1, 0, 0) || op1(id, 0, -1, 0) ? 1 : 4);
	while (semctl(id, 0, GETNCNT) != 2)
		usleep(1000);
	EQUAL("nobody waits for zero", semctl(id, 0, GETZCNT), 0);
	op1(id, 0, 3, 0);
	for (i = 0; i < 2; i++) {
		wait(&status);
		EQUAL("done", status >> 8, 4);
	}
	EQUAL("all taken", value(id, 0), 0);
	EQUAL("one given", value(id, 1), 1);
	ERRNO("time", semtimedop(id, &down, 1, &ts), EAGAIN);
	ts.tv_nsec = -1;
	ERRNO("bad time", semtimedop(id, &down, 1, &ts), EINVAL);
	sigaction(SIGALRM, &action, NULL);
	ualarm(10000, 10000); /* again and again: the first may come before the call */
	ERRNO("a signal", semop(id, &down, 1), EINTR);
	ualarm(0, 0);
	if (!fork())
		_exit(op1(id, 0, -1, 0) == -1 ? errno : 0);
	if (!fork())
		_exit(op1(id, 1, 0, 0) == -1 ? errno : 0);
	while (semctl(id, 0, GETNCNT) != 1 || semctl(id, 1, GETZCNT) != 1)
		usleep(1000);
	semctl(id, 0, IPC_RMID);
	for (i = 0; i < 2; i++) {
		wait(&status);
		EQUAL("removed", status >> 8, EIDRM);
	}
}

static void undo(void)
{
	int id = semget(IPC_PRIVATE, 2, 0600), status;
	union semun arg = { .val = 5 };

	semctl(id, 0, SETVAL, arg);
	if (!fork()) {
		op1(id, 0, -3, SEM_UNDO);
		op1(id, 1, 2, SEM_UNDO);
		op1(id, 1, 1, 0);
		_exit(value(id, 0));
	}
	wait(&status);
	EQUAL("while it ran", status >> 8, 2);
	EQUAL("taken back", value(id, 0), 5);
	EQUAL("but for one", value(id, 1), 1);
	if (!fork()) {
		op1(id, 0, -3, SEM_UNDO);
		if (!fork())
			_exit(0);
		wait(&status);
		if (value(id, 0) != 2)
			_exit(1);
		semctl(id, 0, SETVAL, arg);
		_exit(0);
	}
	wait(&status);
	EQUAL("a child has nothing to take back", status >> 8, 0);
	EQUAL("after SETVAL there is nothing", value(id, 0), 5);
	if (!fork()) {
		op1(id, 0, -5, SEM_UNDO);
		kill(getpid(), SIGKILL);
	}
	wait(&status);
	EQUAL("of somebody who was killed", value(id, 0), 5);
	semctl(id, 0, IPC_RMID);
}

int main(void)
{
	values();
	waiting();
	undo();
	return done();
}
