/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ipc SEED COUNT: random calls on System V messages, semaphores and shared memory and on POSIX message queues, now and then
   by a child that ends. Nothing is waited for.  What the system names is printed as the place where it is kept. */
#define _GNU_SOURCE
#include "random.h"

#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLACES = 4, QUEUES = 3, MAPS = 6 };
enum { MSG, SEM, SHM, KINDS };

/* Kept in memory that children share, but for where things are mapped. */
static struct kept {
	unsigned long long state;
	int ids[KINDS][PLACES], base, pids[2];
	char last[300];
} *kept;
static char *maps[MAPS];
static mqd_t queues[QUEUES] = { -1, -1, -1 };

static const int sizes[] = { 0, 1, 2, 5, 10, 100, 4096, 5000, 8192, 8193, -1 };
static const int modes[] = { 0, 0400, 0600, 0644, 0666, 0777, 01777 };

static int who(int pid)
{
	return pid == 0 ? 0 : pid == kept->pids[0] ? 1 : pid == kept->pids[1] ? 2 : 3;
}

static int key(void)
{
	return below(8) ? kept->base + below(3) : IPC_PRIVATE;
}

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
};

static int removed(int kind, int id)
{
	return kind == MSG ? msgctl(id, IPC_RMID, NULL) : kind == SEM ? semctl(id, 0, IPC_RMID, (union semun){ 0 }) :
	       shmctl(id, IPC_RMID, NULL);
}

/* A new one takes the place of another, which is removed. */
static long got(int kind, int place, int id)
{
	if (id < 0)
		return -1;
	for (int n = 0; n < PLACES; n++)
		if (kept->ids[kind][n] == id)
			return 100 + n; /* the same that is there */
	removed(kind, kept->ids[kind][place]);
	kept->ids[kind][place] = id;
	return 0;
}

static int of(int kind)
{
	int n = below(PLACES);

	while (n < PLACES - 1 && kept->ids[kind][n] == -1)
		n++;
	return kept->ids[kind][n];
}

static const char *permissions(const struct ipc_perm *perm)
{
	static char text[80];

	snprintf(text, sizeof text, "mode %o, key %d", perm->mode, perm->__key ? (int)perm->__key - kept->base : -1);
	return text;
}

static int flags(void)
{
	return (below(3) ? IPC_CREAT : 0) | (below(4) ? 0 : IPC_EXCL) | ONE_OF(modes);
}

static long message(int call)
{
	struct { long type; char text[8200]; } *buffer = (void *)malloc(sizeof *buffer);
	struct msqid_ds ds;
	struct msginfo info;
	int id = of(MSG), size = ONE_OF(sizes), place = below(PLACES);
	long result;

	memset(buffer, 0, sizeof *buffer);
	switch (call) {
	case 0:
		return free(buffer), got(MSG, place, msgget(key(), flags()));
	case 1: case 2: case 3: case 4:
		buffer->type = (long)below(6) - (below(5) ? 0 : 2);
		for (int n = 0; n < 20; n++)
			buffer->text[n] = below(256);
		result = msgsnd(id, buffer, below(3) && size > 100 ? 7 : size, IPC_NOWAIT);
		break;
	case 5: case 6: case 7: {
		static const int ways[] = { 0, 0, MSG_NOERROR, MSG_EXCEPT, 040000, 040000 | MSG_EXCEPT, MSG_NOERROR | MSG_EXCEPT };

		result = msgrcv(id, buffer, size, (long)below(7) - 2, IPC_NOWAIT | ONE_OF(ways));
		sprintf(kept->last, "%ld %u", buffer->type, sum(buffer->text, 200));
		break;
	}
	case 8: {
		static const int commands[] = { IPC_STAT, IPC_STAT, IPC_SET, IPC_RMID, IPC_INFO, 99 };
		int command = ONE_OF(commands);

		memset(&ds, 0, sizeof ds);
		if (command == IPC_SET && msgctl(id, IPC_STAT, &ds) == 0) {
			ds.msg_perm.mode = ONE_OF(modes);
			ds.msg_qbytes = below(3) ? 1000 : 16384;
		}
		result = msgctl(id, command, command == IPC_INFO ? (void *)&info : (void *)&ds);
		if (command == IPC_INFO)
			result = result < 0 ? -1 : 0;
		if (command == IPC_STAT && result == 0)
			sprintf(kept->last, "%s, %lu of %lu bytes, %d %d %d", permissions(&ds.msg_perm),
				(unsigned long)ds.msg_cbytes, (unsigned long)ds.msg_qbytes, (int)ds.msg_qnum,
				who(ds.msg_lspid), who(ds.msg_lrpid));
		break;
	}
	default:
		result = msgget(kept->base + below(3), below(2) ? 0 : IPC_CREAT | IPC_EXCL | 0600);
		result = got(MSG, place, result);
	}
	free(buffer);
	return result;
}

static long operate(int id)
{
	struct sembuf each[5];
	int count = below(4), result;
	struct timespec soon = { 0, below(3) ? 1000 : 2000000000 };

	for (int n = 0; n < 5; n++)
		each[n] = (struct sembuf){ below(4), (short)below(7) - 3, (below(4) ? IPC_NOWAIT : 0) | (below(3) ? 0 : SEM_UNDO) };
	if (!below(20))
		each[0].sem_op = 32767;
	if (!below(5))
		result = semtimedop(id, each, count, &soon);
	else {
		for (int n = 0; n < 5; n++)
			each[n].sem_flg |= IPC_NOWAIT;
		result = semop(id, each, below(20) ? count : 501);
	}
	return result;
}

static long control(int id)
{
	static const int commands[] = { GETVAL, SETVAL, GETPID, GETNCNT, GETZCNT, GETALL, SETALL, IPC_STAT, IPC_SET, 99 };
	int command = below(40) ? (int)ONE_OF(commands) : IPC_RMID, number = (int)below(6) - !below(6);
	unsigned short values[250];
	struct semid_ds ds;
	union semun arg;
	long result;

	memset(&ds, 0, sizeof ds);
	memset(values, 0, sizeof values);
	sprintf(kept->last, "%d ", command);
	switch (command) {
	case SETVAL:
		arg.val = below(5) ? (int)below(10) : below(2) ? -1 : 40000;
		break;
	case GETALL: case SETALL:
		for (int n = 0; n < 250; n++)
			values[n] = command == GETALL ? 0 : below(20) ? below(5) : 40000;
		arg.array = values;
		break;
	case IPC_SET:
		if (semctl(id, 0, IPC_STAT, (union semun){ .buf = &ds }) == 0)
			ds.sem_perm.mode = ONE_OF(modes);
		/* fall through */
	default:
		arg.buf = &ds;
	}
	result = semctl(id, number, command, arg);
	if (command == GETPID && result > 0)
		result = who(result);
	if (command == GETALL)
		sprintf(kept->last + 3, "%u", sum(values, 20));
	if (command == IPC_STAT && !result)
		sprintf(kept->last + 3, "%s, %d", permissions(&ds.sem_perm), (int)ds.sem_nsems);
	return result;
}

static long memory(int call)
{
	int id = of(SHM), where = below(MAPS), place = below(PLACES), size;
	struct shmid_ds ds;
	long result;

	switch (call) {
	case 0: case 1:
		size = ONE_OF(sizes);
		return got(SHM, place, shmget(key(), size < 0 && sizeof(long) == 4 ? 0 : size, flags())); /* 4 GiB might be had */
	case 2: case 3: {
		char *slot = (char *)0x20000000 + where * 4 * 4096;
		void *now = shmat(id, below(3) ? slot + (below(3) ? 0 : 100 * below(50)) : NULL,
				  (below(3) ? 0 : SHM_RDONLY) | (below(3) ? SHM_RND : 0) | (below(6) ? 0 : SHM_REMAP));

		if (now == (void *)-1)
			return -1;
		for (int n = 0; n < MAPS; n++)
			if (maps[n] == now)
				return 1; /* it was replaced */
		if (maps[where] && shmdt(maps[where]))
			strcpy(kept->last, "was gone");
		maps[where] = now;
		return 0;
	}
	case 4:
		/* what is behind one that was put anywhere is not the same everywhere */
		result = shmdt(maps[where] ? maps[where] + (below(4) ? 0 : (unsigned long)maps[where] >> 24 == 0x20 ? 4096 : 1) : NULL);
		if (!result)
			maps[where] = NULL;
		return result;
	case 5:
		/* read and write as the area allows: by the kernel, which says EFAULT */
		if (maps[where]) {
			int fds[2];
			char c = 'a' + below(26);

			if (pipe(fds))
				return -1;
			if (write(fds[1], &c, 1) != 1)
				return -2;
			result = read(fds[0], maps[where] + below(2) * 4095, 1);
			sprintf(kept->last, "%d, %u", (int)write(fds[1], maps[where], 1), (unsigned)errno);
			close(fds[0]), close(fds[1]);
			return result;
		}
		return 0;
	default: {
		static const int commands[] = { IPC_STAT, IPC_STAT, IPC_SET, IPC_RMID, SHM_LOCK, SHM_UNLOCK, 99 };
		int command = ONE_OF(commands);

		memset(&ds, 0, sizeof ds);
		if (command == IPC_SET && shmctl(id, IPC_STAT, &ds) == 0)
			ds.shm_perm.mode = ONE_OF(modes);
		result = shmctl(id, command, &ds);
		sprintf(kept->last, "%d ", command);
		if (command == IPC_STAT && !result)
			sprintf(kept->last + 2, "%s, %ld, %d, %d %d", permissions(&ds.shm_perm), (long)ds.shm_segsz, (int)ds.shm_nattch,
				who(ds.shm_cpid), who(ds.shm_lpid));
		return result;
	}
	}
}

static const char *queue_name(int n)
{
	static char text[40];

	sprintf(text, "/random.%d.%d", kept->base, n);
	return n == 3 ? "/" : n == 4 ? "x/y" : text;
}

static long posix(int call)
{
	static char text[200];
	int n = below(QUEUES), size;
	struct mq_attr attr = { .mq_maxmsg = below(5), .mq_msgsize = below(8) ? 50 : below(3) };
	struct timespec past = { 1, below(8) ? 5 : 2000000000 };
	unsigned priority = below(5);
	mqd_t q = queues[n];
	long result;

	switch (call) {
	case 0: case 1: {
		static const int ways[] = { O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY };
		int make = below(4) ? O_CREAT : 0, unique = below(5) ? 0 : O_EXCL;

		q = mq_open(queue_name(below(5)), ONE_OF(ways) | O_NONBLOCK | make | unique, ONE_OF(modes), below(8) ? &attr : NULL);
		if (q == -1)
			return -1;
		if (queues[n] != -1)
			mq_close(queues[n]);
		queues[n] = q;
		return 0;
	}
	case 2: case 3: case 4:
		for (int i = 0; i < 10; i++)
			text[i] = below(256);
		size = below(9) ? below(50) : 60;
		return below(4) ? mq_send(q, text, size, below(20) ? priority : 40000) : mq_timedsend(q, text, size, priority, &past);
	case 5: case 6:
		memset(text, 0, sizeof text);
		size = below(6) ? 100 : below(60);
		result = below(4) ? mq_receive(q, text, size, &priority) : mq_timedreceive(q, text, size, &priority, &past);
		sprintf(kept->last, "%u %u", priority, sum(text, 60));
		return result;
	case 7:
		memset(&attr, 0, sizeof attr);
		if (below(3))
			result = mq_getattr(q, &attr);
		else {
			struct mq_attr new = { .mq_flags = below(8) ? O_NONBLOCK : O_NONBLOCK | 1 };

			result = mq_setattr(q, &new, &attr);
		}
		sprintf(kept->last, "%lx %ld %ld %ld", attr.mq_flags, attr.mq_maxmsg, attr.mq_msgsize, attr.mq_curmsgs);
		return result;
	case 8: {
		static const int ways[] = { SIGEV_SIGNAL, SIGEV_SIGNAL, SIGEV_NONE, 9 };
		struct sigevent event = { .sigev_notify = ONE_OF(ways), .sigev_signo = below(5) ? SIGUSR1 : 99,
					  .sigev_value.sival_int = 77 };

		return mq_notify(q, below(3) ? &event : NULL);
	}
	case 9: {
		sigset_t set;
		siginfo_t info;
		struct timespec now = { 0, 0 };
		int is;

		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		is = sigtimedwait(&set, &info, &now);
		if (is > 0)
			sprintf(kept->last, "code %d, value %d, by %d", info.si_code, info.si_value.sival_int, who(info.si_pid));
		return is;
	}
	case 10: {
		char bytes[200];

		result = read(q, bytes, sizeof bytes);
		if (result > 0)
			sprintf(kept->last, "%.*s", (int)result - 1, bytes);
		{
			char *pid = strstr(kept->last, "NOTIFY_PID:");

			if (pid)
				sprintf(pid + 11, "%d", who(atoi(pid + 11)));
		}
		return result < 0 ? -1 : 0;
	}
	case 11:
		result = mq_close(q);
		queues[n] = -1;
		return result;
	default:
		return mq_unlink(queue_name(below(5)));
	}
}

static void one(void)
{
	int kind = below(4), call;
	long result;

	kept->last[0] = 0;
	errno = 0;
	switch (kind) {
	case MSG:
		result = message(call = below(10));
		break;
	case SEM:
		call = below(8);
		result = call < 2 ? got(SEM, below(PLACES), semget(key(), below(9) ? below(5) : 40000, flags())) : call < 5 ? operate(of(SEM)) :
			 control(of(SEM));
		break;
	case SHM:
		result = memory(call = below(9));
		break;
	default:
		result = posix(call = below(13));
	}
	printf("%d %d = %s", kind, call, came(result));
	printf("  %s\n", kept->last);
}

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[2]) : 1000;
	sigset_t set;

	seed(argc > 1 ? argv[1] : "1");
	kept = mmap(NULL, sizeof *kept, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(kept->ids, -1, sizeof kept->ids);
	kept->base = getpid() << 8;
	kept->pids[0] = getpid();
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (int n = 0; n < count; n++) {
		if (below(25)) {
			one();
			continue;
		}
		fflush(stdout);
		kept->state = random_state;
		if (!(kept->pids[1] = fork())) {
			kept->pids[1] = getpid();
			for (int calls = below(6); calls >= 0; calls--)
				printf("child "), one();
			kept->state = random_state;
			fflush(stdout);
			if (below(2))
				_exit(0);
			kill(getpid(), SIGKILL);
		}
		wait(NULL);
		random_state = kept->state;
		kept->pids[1] = -5;
		printf("it ends\n");
	}
	for (int kind = 0; kind < KINDS; kind++)
		for (int n = 0; n < PLACES; n++)
			removed(kind, kept->ids[kind][n]);
	for (int n = 0; n < 3; n++) {
		mq_unlink(queue_name(n));
		removed(MSG, msgget(kept->base + n, 0));
		removed(SEM, semget(kept->base + n, 0, 0));
		removed(SHM, shmget(kept->base + n, 0, 0));
	}
	return fflush(stdout) != 0;
}
