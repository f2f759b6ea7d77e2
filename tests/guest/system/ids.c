/* User and group ids, as root changes them: each case in a child of its own. */
#include "show.h"

#include <grp.h>

static void ids(const char *what)
{
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	getresuid(&ruid, &euid, &suid);
	getresgid(&rgid, &egid, &sgid);
	show("%s: uid %u %u %u gid %u %u %u\n", what, ruid, euid, suid, rgid, egid, sgid);
}

static void in_child(void (*body)(void))
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		body();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	EQUAL("the child ended well", status, 0);
}

static void drop(void)
{
	TRY(SYS_setgid, 200);
	TRY(SYS_setuid, 100);
	ids("dropped");
	TRY(SYS_setuid, 0);
	TRY(SYS_setgid, 0);
	TRY(SYS_setuid, 100);
	TRY(SYS_setuid, -1);
	TRY(SYS_setreuid, 100, 0);
	TRY(SYS_setresuid, -1, -1, 0);
	TRY(SYS_setresuid, 100, -1, 100);
	TRY(SYS_setgroups, 0, NULL);
	TRY(SYS_sethostname, "x", 1);
}

static void back_and_forth(void)
{
	TRY(SYS_setresuid, 1, 2, 3);
	ids("three uids");
	TRY(SYS_setreuid, 2, 1);
	ids("swapped");
	TRY(SYS_setreuid, 3, -1);
	TRY(SYS_setuid, 3);
	TRY(SYS_setuid, 1);
	ids("one of the three");
	TRY(SYS_setresuid, BAD, BAD, BAD);
	TRY(SYS_getresuid, BAD, BAD, BAD);
}

static void groups(void)
{
	gid_t list[3] = {30, 10, 20}, got[10];
	int i, count;

	TRY(SYS_setgroups, 3, list);
	VALUE(SYS_getgroups, 0, NULL);
	VALUE(SYS_getgroups, 2, got);
	VALUE(SYS_getgroups, -1, got);
	VALUE(SYS_getgroups, 10, BAD);
	count = getgroups(10, got);
	for (i = 0; i < count; i++)
		show("group %u\n", got[i]);
	TRY(SYS_setgroups, 3, BAD);
	TRY(SYS_setgroups, -1, list);
	TRY(SYS_setgroups, 100000, list);
	TRY(SYS_setresgid, 5, 6, 7);
	ids("three gids");
	VALUE(SYS_setfsgid, 9);
	VALUE(SYS_setfsgid, -1);
	VALUE(SYS_setfsuid, 8);
	VALUE(SYS_setfsuid, -1);
	ids("file system ids are others");
}

static void capabilities(void)
{
	uint32_t header[2] = {0x20080522, 0}, data[6];

	TRY(SYS_capget, header, data);
	CHECK("root has them", data[0] != 0);
	TRY(SYS_capget, header, NULL);
	TRY(SYS_capget, BAD, data);
	TRY(SYS_capget, header, BAD);
	header[0] = 1;
	TRY(SYS_capget, header, data);
	show("%x\n", header[0]);
	header[0] = 1;
	TRY(SYS_capget, header, NULL);
	header[1] = -1;
	TRY(SYS_capget, header, data);
	header[1] = 999999;
	TRY(SYS_capget, header, data);
	TRY(SYS_capset, header, data);
	setuid(100);
	header[1] = 0;
	TRY(SYS_capget, header, data);
	show("%x %x %x\n", data[0], data[1], data[2]);
	data[0] = 1;
	TRY(SYS_capset, header, data);
}

static void names(void)
{
	TRY(SYS_sethostname, "too long", 65);
	TRY(SYS_sethostname, "negative", -1);
	TRY(SYS_sethostname, BAD, 5);
	TRY(SYS_setdomainname, "too long", 65);
	TRY(SYS_settimeofday, BAD, NULL);
}

int main(void)
{
	ids("first");
	in_child(names);
	in_child(drop);
	in_child(back_and_forth);
	in_child(groups);
	in_child(capabilities);
	ids("last");
	return done();
}
