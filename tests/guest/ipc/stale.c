/* Identifiers of before, in a slot that has another object; lengths below 0. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

int main(void)
{
	int queue = msgget(IPC_PRIVATE, 0600), set = semget(IPC_PRIVATE, 1, 0600), memory = shmget(IPC_PRIVATE, 10, 0600);
	struct msqid_ds queue_info;
	struct shmid_ds memory_info;
	struct sembuf up = { 0, 1, 0 };
	struct { long type; char text[4]; } message = { 1, "x" };
	struct timespec step;
	int ends[2], file;
	char name[] = "/tmp/stale-XXXXXX";

	ERRNO("semctl", semctl(set + 32768, 0, GETVAL), EINVAL);
	ERRNO("semctl remove", semctl(set + 32768, 0, IPC_RMID), EINVAL);
	ERRNO("semop", semop(set + 32768, &up, 1), EINVAL);
	ERRNO("msgctl", msgctl(queue + 32768, IPC_STAT, &queue_info), EINVAL);
	ERRNO("msgsnd", msgsnd(queue + 32768, &message, 1, IPC_NOWAIT), EINVAL);
	ERRNO("shmctl", shmctl(memory + 32768, IPC_STAT, &memory_info), EINVAL);
	ERRNO("shmat", (intptr_t)shmat(memory + 32768, NULL, 0), EINVAL);
	ERRNO("the set", semctl(set, 0, IPC_RMID), 0);
	ERRNO("the queue", msgctl(queue, IPC_RMID, NULL), 0);
	ERRNO("the memory", shmctl(memory, IPC_RMID, NULL), 0);

	file = mkstemp(name);
	unlink(name);
	EQUAL("write", write(file, "hello", 5), 5);
	EQUAL("pipe", pipe(ends), 0);
	EQUAL("into the pipe", write(ends[1], "abc", 3), 3);
	if (sizeof(long) == 8) { /* of 32 bits they are large */
		lseek(file, 0, SEEK_SET);
		ERRNO("sendfile", sendfile(ends[1], file, NULL, -1), EINVAL);
		ERRNO("splice", syscall(SYS_splice, ends[0], NULL, file, NULL, -1L, 0), EINVAL);
	}
	EQUAL("nothing was taken", read(ends[0], name, sizeof name), 3);
	for (int clock = -8; clock < 0; clock++) {
		int failed = clock_getres(clock, &step);

		if (clock % 4 != -1) /* no such clock */
			EQUAL("resolution", failed ? -1 : step.tv_nsec > 1, clock % 4 != -2);
	}
	return done();
}
