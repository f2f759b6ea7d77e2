/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a process that has ended, and nobody has waited for, still is. */
#include "check.h"

#include <sys/wait.h>

static unsigned long long pending(int pid)
{
	char path[40], text[4000] = "", *found;
	unsigned long long mask = ~0ULL;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	file = fopen(path, "r");
	text[fread(text, 1, sizeof text - 1, file)] = 0;
	fclose(file);
	found = strstr(text, "ShdPnd:");
	if (found)
		sscanf(found + 7, "%llx", &mask);
	return mask;
}

int main(void)
{
	siginfo_t info;
	int child = fork();

	if (!child)
		_exit(3);
	EQUAL("it ends", waitid(P_PID, child, &info, WEXITED | WNOWAIT), 0);
	ERRNO("for who asks for stops it is no child", waitid(P_PID, child, &info, WSTOPPED | WNOHANG), ECHILD);
	ERRNO("nor for who asks for SIGCONT", waitid(P_ALL, 0, &info, WCONTINUED), ECHILD);
	EQUAL("SIGKILL", kill(child, SIGKILL), 0);
	EQUAL("SIGTERM", kill(child, SIGTERM), 0);
	EQUAL("it takes no signal", pending(child), 0);
	EQUAL("nor is it killed", waitid(P_PID, child, &info, WEXITED), 0);
	EQUAL("CLD_EXITED", info.si_code, CLD_EXITED);
	EQUAL("status", info.si_status, 3);
	return done();
}
