#include "common.h"
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/sem.h>
#include <sys/msg.h>
union semun {
	int val;
	struct semid_ds*buf;
	unsigned short*array;
	struct seminfo*__buf;
};

int main() {
	int id=shmget(IPC_PRIVATE, 5000, IPC_CREAT|0600);
	struct shmid_ds ds;
	E(shmctl(id, IPC_STAT, &ds));
	P("%d %d %o\n", (int)ds.shm_segsz, (int)ds.shm_nattch, ds.shm_perm.mode);
	char*p=shmat(id, 0, 0);
	P("%d\n", p!=(void*)-1);
	p[8191]=1;
	strcpy(p,"seg");
	char*q=shmat(id, 0, SHM_RDONLY);
	P("%s\n", q);
	E(shmat(id, (void*)1, 0));
	E(shmat(id, p, 0));
	E(shmat(id, p, SHM_REMAP)==p);
	E(shmat(id, 0, SHM_REMAP));
	E(shmat(9999, 0, 0));
	E(shmdt(p+1));
	E(shmdt(p));
	E(shmdt(p));
	E(shmctl(id, IPC_STAT, &ds));
	P("%d\n", (int)ds.shm_nattch);
	E(shmctl(id, SHM_LOCK, 0));
	E(shmctl(id, SHM_UNLOCK, 0));
	E(shmctl(id, 99, 0));
	E(shmctl(-1, IPC_STAT, &ds));
	E(shmctl(id, IPC_STAT, (void*)1));
	if (!fork()) {
		P("child %s\n", q);
		setuid(1234);
		E(shmat(id, 0, 0));
		E(shmctl(id, IPC_RMID, 0));
		E(shmctl(id, IPC_STAT, &ds));
		_exit(0);
	}
	wait(0);
	E(shmctl(id, IPC_RMID, 0));
	P("%s\n", q);
	E(shmctl(id, IPC_STAT, &ds));
	P("%o\n", ds.shm_perm.mode&01000);
	E(shmdt(q));
	E(shmctl(id, IPC_STAT, &ds));
	E(shmget(0x1234, 0, IPC_CREAT|0600));
	E(shmget(0x1234, 100, 0));
	id=shmget(0x1234, 100, IPC_CREAT|IPC_EXCL|0600);
	E(shmget(0x1234, 100, IPC_CREAT|IPC_EXCL|0600));
	E(shmget(0x1234, 200, 0));
	E(shmget(0x1234, 50, 0)==id);
	E(shmctl(id, IPC_RMID, 0));
	E(shmget(IPC_PRIVATE, 1<<20, SHM_HUGETLB|0600));
	int s=semget(IPC_PRIVATE, 3, 0600);
	union semun u;
	struct seminfo in;
	u.__buf=&in;
	E(semget(IPC_PRIVATE, 0, 0600));
	E(semget(IPC_PRIVATE, 99999, 0600));
	E(semget(0x777, 1, 0));
	u.val=2;
	E(semctl(s, 0, SETVAL, u));
	u.val=-1;
	E(semctl(s, 0, SETVAL, u));
	u.val=40000;
	E(semctl(s, 0, SETVAL, u));
	E(semctl(s, 9, GETVAL));
	E(semctl(s, 0, GETVAL));
	E(semctl(s, 0, GETPID)==getpid());
	E(semctl(s, 0, GETNCNT));
	E(semctl(s, 0, GETZCNT));
	unsigned short ar[3]={1, 2, 3};
	u.array=ar;
	E(semctl(s, 0, SETALL, u));
	E(semctl(s, 1, GETVAL));
	E(semctl(s, 0, 99));
	struct sembuf b[3]={{0, -1, IPC_NOWAIT}, {1, -5, IPC_NOWAIT}, {2, 0, IPC_NOWAIT}};
	E(semop(s, b, 1));
	E(semop(s, b, 2));
	E(semctl(s, 0, GETVAL));
	E(semop(s, b+2, 1));
	b[0].sem_num=9;
	E(semop(s, b, 1));
	E(semop(s, b, 0));
	E(semop(s, b, 600));
	b[0]=(struct sembuf){0, 32767, 0};
	E(semop(s, b, 1));
	E(semop(s, b, 1));
	struct timespec t={0, 10000000};
	b[0]=(struct sembuf){1, -9, 0};
	E(semtimedop(s, b, 1, &t));
	t.tv_nsec=-1;
	E(semtimedop(s, b, 1, &t));
	if (!fork()) {
		struct sembuf x={1, -1, SEM_UNDO};
		semop(s, &x, 1);
		_exit(0);
	}
	wait(0);
	E(semctl(s, 1, GETVAL));
	pid_t c=fork();
	if (!c) {
		struct sembuf x={1, -9, 0};
		errno=0;
		int r=semop(s, &x, 1);
		_exit(r<0&&errno==EIDRM?3:4);
	}
	while (semctl(s, 1, GETNCNT)<1)usleep(1000);
	E(semctl(s, 1, GETNCNT));
	E(semctl(s, 0, IPC_RMID));
	int st;
	waitpid(c, &st, 0);
	status_of(st);
	E(semop(s, b, 1));
	struct {
		long t;
		char b[100];
	}
	m={1,"hello"};
	int q2=msgget(IPC_PRIVATE, 0600);
	E(msgsnd(q2, &m, 6, 0));
	m.t=0;
	E(msgsnd(q2, &m, 6, 0));
	m.t=3;
	strcpy(m.b,"three");
	E(msgsnd(q2, &m, 6, IPC_NOWAIT));
	E(msgsnd(q2, &m, -1, 0));
	E(msgsnd(q2, &m, 9000, 0));
	E(msgrcv(q2, &m, 2, 0, 0));
	E(msgrcv(q2, &m, 2, 3, MSG_NOERROR));
	E(msgrcv(q2, &m, 100, -2, 0));
	P("%s %ld\n", m.b, m.t);
	E(msgrcv(q2, &m, 100, 0, IPC_NOWAIT));
	E(msgrcv(q2, &m, 100, 0, 040000));
	struct msqid_ds md;
	E(msgctl(q2, IPC_STAT, &md));
	P("%d %d %d\n", (int)md.msg_qnum, (int)md.msg_qbytes, md.msg_lspid==getpid());
	md.msg_qbytes=100;
	E(msgctl(q2, IPC_SET, &md));
	m.t=1;
	E(msgsnd(q2, &m, 80, IPC_NOWAIT));
	E(msgsnd(q2, &m, 80, IPC_NOWAIT));
	c=fork();
	if (!c) {
		int r=msgsnd(q2, &m, 80, 0);
		_exit(r<0&&errno==EIDRM?3:4);
	}
	until_asleep(c);
	E(msgctl(q2, IPC_RMID, 0));
	waitpid(c, &st, 0);
	status_of(st);
	E(msgctl(q2, IPC_RMID, 0));
	E(msgget(0x888, 0));
	return 0;
}
