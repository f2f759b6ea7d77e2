/* Capabilities of user ids: what setuid takes away, keeps, and gives back. */
#include "check.h"
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void get(struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};

	memset(data, 0, 2 * sizeof *data);
	syscall(SYS_capget, &head, data);
}

static int set(struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};

	return syscall(SYS_capset, &head, data);
}

static void show(const char *name, unsigned effective, unsigned permitted)
{
	struct __user_cap_data_struct data[2];
	char text[60];

	get(data);
	snprintf(text, sizeof text, "%s: effective", name);
	EQUAL(text, !!(data[0].effective & 1 << CAP_SETGID), effective);
	snprintf(text, sizeof text, "%s: permitted", name);
	EQUAL(text, !!(data[0].permitted & 1 << CAP_SETGID), permitted);
}

static void in_child(const char *name, void (*body)(void))
{
	pid_t child = fork();
	int status;

	if (!child) {
		failures = 0;
		body();
		_exit(failures != 0);
	}
	waitpid(child, &status, 0);
	EQUAL(name, status, 0);
}

static void for_good(void)
{
	show("root", 1, 1);
	ERRNO("setuid", setuid(65534), 0);
	show("after setuid", 0, 0);
	ERRNO("setgid", setgid(65534), EPERM);
	ERRNO("setgroups", setgroups(0, NULL), EPERM);
	ERRNO("back", setuid(0), EPERM);
}

static void for_a_while(void)
{
	ERRNO("seteuid", seteuid(65534), 0);
	show("after seteuid", 0, 1);
	ERRNO("setgid", setgid(65534), EPERM);
	ERRNO("back", seteuid(0), 0);
	show("again", 1, 1);
}

static void kept(void)
{
	struct __user_cap_data_struct data[2];

	ERRNO("PR_SET_KEEPCAPS", prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
	ERRNO("setresuid", setresuid(65534, 65534, 65534), 0);
	show("kept", 0, 1);
	ERRNO("setresgid without", setresgid(65534, 65534, 65534), EPERM);
	get(data);
	data[0].effective = 1 << CAP_SETGID;
	data[1].effective = 0;
	ERRNO("capset", set(data), 0);
	ERRNO("setresgid with", setresgid(65534, 65534, 65534), 0);
	ERRNO("setgroups with", setgroups(0, NULL), 0);
	ERRNO("setuid without", setuid(1), EPERM);
	data[0].effective = data[0].permitted = data[1].permitted = 0;
	ERRNO("drop", set(data), 0);
	data[0].effective = data[0].permitted = 1 << CAP_SETGID;
	ERRNO("nothing comes back", set(data), EPERM);
}

static void dropped(void)
{
	struct __user_cap_data_struct data[2];

	get(data);
	data[0].effective &= ~(1 << CAP_SETUID);
	ERRNO("root without CAP_SETUID", set(data), 0);
	ERRNO("setuid", setuid(65534), EPERM);
	ERRNO("to an id that it has", setuid(0), 0);
}

/* A line of /proc/self/status, such as CapBnd, as a number. */
static unsigned long long status(const char *name)
{
	char line[256], *text = NULL;
	FILE *file = fopen("/proc/self/status", "r");

	while (!text && fgets(line, sizeof line, file))
		if (!strncmp(line, name, strlen(name)))
			text = line + strlen(name) + 1;
	fclose(file);
	return text ? strtoull(text, NULL, 16) : ~0ULL;
}

static void bounded(void)
{
	unsigned long long before = status("CapBnd"), all = status("CapPrm");

	EQUAL("in the set", prctl(PR_CAPBSET_READ, CAP_SETGID, 0, 0, 0), 1);
	ERRNO("no such capability", prctl(PR_CAPBSET_READ, 64, 0, 0, 0), EINVAL);
	ERRNO("to drop", prctl(PR_CAPBSET_DROP, 64, 0, 0, 0), EINVAL);
	ERRNO("drop", prctl(PR_CAPBSET_DROP, CAP_SETGID, 0, 0, 0), 0);
	EQUAL("no more", prctl(PR_CAPBSET_READ, CAP_SETGID, 0, 0, 0), 0);
	EQUAL("CapBnd", status("CapBnd") == (before & ~(1ULL << CAP_SETGID)), 1);
	EQUAL("CapPrm stays", status("CapPrm") == all, 1);
	show("until exec", 1, 1);
	execl("/proc/self/exe", "capabilities", "bounded", NULL);
}

static void after_exec(void)
{
	show("after exec", 0, 0);
	ERRNO("setgid", setgid(65534), EPERM);
	EQUAL("CapPrm", !!(status("CapPrm") & 1 << CAP_SETGID), 0);
	EQUAL("CapEff", !!(status("CapEff") & 1 << CAP_SETUID), 1);
	ERRNO("setuid", setuid(65534), 0);
	EQUAL("CapEff", status("CapEff"), 0);
	ERRNO("drop without CAP_SETPCAP", prctl(PR_CAPBSET_DROP, CAP_SETUID, 0, 0, 0), EPERM);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		after_exec();
		return failures != 0;
	}
	in_child("for good", for_good);
	in_child("for a while", for_a_while);
	in_child("kept", kept);
	in_child("dropped", dropped);
	in_child("bounded", bounded);
	return done();
}
