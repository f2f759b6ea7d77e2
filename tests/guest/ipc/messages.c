/* System V messages: types, lengths, full queues, removal. */
#include "check.h"
#include "../asleep.h"

#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>

#define MSG_COPY 040000

static struct {
	long type;
	char text[9000];
} m;

static int put(int id, long type, const char *text, int flags)
{
	m.type = type;
	strcpy(m.text, text);
	return msgsnd(id, &m, strlen(text), flags);
}

/* The text, "" for none. */
static const char *get(int id, long type, int flags)
{
	long n = msgrcv(id, &m, 100, type, flags | IPC_NOWAIT);

	m.text[n < 0 ? 0 : n] = 0;
	return m.text;
}

static void types(void)
{
	int id = msgget(IPC_PRIVATE, 0600);
	struct msqid_ds ds;

	put(id, 3, "three", 0);
	put(id, 1, "one", 0);
	put(id, 2, "two", 0);
	put(id, 1, "uno", 0);
	ERRNO("stat", msgctl(id, IPC_STAT, &ds), 0);
	CHECK("stat", ds.msg_qnum == 4 && ds.__msg_cbytes == 14 && ds.msg_qbytes == 16384 && ds.msg_lspid == getpid());
	CHECK("times", ds.msg_stime > 1000000 && !ds.msg_rtime && !ds.msg_lrpid);
	CHECK("of a type", !strcmp(get(id, 2, 0), "two") && m.type == 2);
	CHECK("up to a type", !strcmp(get(id, -2, 0), "one") && m.type == 1);
	CHECK("other than a type", !strcmp(get(id, 3, MSG_EXCEPT), "uno"));
	ERRNO("none", msgrcv(id, &m, 100, 5, IPC_NOWAIT), ENOMSG);
	ERRNO("too long", msgrcv(id, &m, 2, 0, 0), E2BIG);
	EQUAL("cut", msgrcv(id, &m, 2, 0, MSG_NOERROR), 2);
	CHECK("what is left", !memcmp(m.text, "th", 2) && m.type == 3);
	ERRNO("empty", msgrcv(id, &m, 100, 0, IPC_NOWAIT), ENOMSG);
	EQUAL("no text", put(id, 4, "", 0), 0);
	EQUAL("no text", msgrcv(id, &m, 0, 0, 0), 0);
	ERRNO("type 0", put(id, 0, "x", 0), EINVAL);
	m.type = 1;
	ERRNO("too long", msgsnd(id, &m, 8193, 0), EINVAL);
	ERRNO("EFAULT", msgsnd(id, (void *)8, 1, 0), EFAULT);
	ERRNO("copy", msgrcv(id, &m, 100, 0, MSG_COPY), EINVAL);
	ERRNO("negative", msgsnd(-1, &m, 1, 0), EINVAL);
	ERRNO("command", msgctl(id, 77, &ds), EINVAL);
	ds.msg_qbytes = 20, ds.msg_perm.mode = 0644, ds.msg_perm.uid = geteuid(), ds.msg_perm.gid = getegid();
	ERRNO("set", msgctl(id, IPC_SET, &ds), 0);
	EQUAL("fits", put(id, 1, "0123456789", IPC_NOWAIT), 0);
	ERRNO("does not", put(id, 1, "01234567890", IPC_NOWAIT), EAGAIN);
	msgctl(id, IPC_STAT, &ds);
	CHECK("set", ds.msg_qbytes == 20 && (ds.msg_perm.mode & 0777) == 0644);
	ERRNO("remove", msgctl(id, IPC_RMID, NULL), 0);
	ERRNO("gone", msgctl(id, IPC_STAT, &ds), EINVAL);
}

static void waiting(void)
{
	int id = msgget(IPC_PRIVATE, 0600), status, i;
	pid_t pid;
	long sum = 0;

	if (!fork()) {
		for (i = 0; i < 20; i++) {
			m.type = i % 3 + 1;
			memset(m.text, i, 5000);
			if (msgsnd(id, &m, 5000, 0))
				_exit(1);
		}
		_exit(6);
	}
	for (i = 0; i < 20; i++) {
		if (msgrcv(id, &m, 9000, 0, 0) != 5000)
			return report(0, "a message", "its length");
		sum += m.text[4999];
	}
	EQUAL("all came", sum, 190);
	wait(&status);
	EQUAL("all were sent", status >> 8, 6);
	if (!(pid = fork()))
		_exit(msgrcv(id, &m, 100, 9, 0) == -1 ? errno : 0);
	until_asleep(pid);
	put(id, 8, "not for it", 0);
	put(id, 9, "for it", 0);
	wait(&status);
	EQUAL("one of its type", status >> 8, 0);
	if (!(pid = fork()))
		_exit(msgrcv(id, &m, 100, 9, 0) == -1 ? errno : 0);
	until_asleep(pid);
	msgctl(id, IPC_RMID, NULL);
	wait(&status);
	EQUAL("removed", status >> 8, EIDRM);
}

int main(void)
{
	types();
	waiting();
	return done();
}
