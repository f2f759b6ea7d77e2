/* Capabilities of user ids: what setuid takes away, keeps, and gives back. */
#include "check.h"
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
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

static void without(int capability)
{
	struct __user_cap_data_struct data[2];

	get(data);
	data[capability / 32].effective &= ~(1u << capability % 32);
	ERRNO("give up", set(data), 0);
}

/* Root that has given up one capability after the other. */
static void one_by_one(void)
{
	char name[40];
	struct rlimit limit = {10, 20};
	int fd;

	snprintf(name, sizeof name, "/tmp/nopage-one-%d", (int)getpid());
	fd = open(name, O_CREAT | O_RDWR | O_EXCL, 0600);
	ERRNO("to another", fchown(fd, 1000, 1000), 0);
	without(CAP_DAC_OVERRIDE);
	ERRNO("write", open(name, O_WRONLY), EACCES);
	ERRNO("read", close(open(name, O_RDONLY)), 0);
	without(CAP_DAC_READ_SEARCH);
	ERRNO("read no more", open(name, O_RDONLY), EACCES);
	ERRNO("chmod", fchmod(fd, 04640), 0);
	without(CAP_FOWNER);
	ERRNO("chmod no more", fchmod(fd, 0666), EPERM);
	ERRNO("write keeps set-user-ID", write(fd, "a", 1) - 1, 0);
	without(CAP_FSETID);
	ERRNO("and then not", write(fd, "a", 1) - 1, 0);
	without(CAP_CHOWN);
	ERRNO("chown no more", fchown(fd, 0, 0), EPERM);
	without(CAP_IPC_LOCK);
	ERRNO("RLIMIT_MEMLOCK", setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){0, 0}), 0);
	ERRNO("mlock", mlock(name, 1), EPERM);
	ERRNO("limit", setrlimit(RLIMIT_NOFILE, &limit), 0);
	without(CAP_SYS_RESOURCE);
	limit.rlim_max = 30;
	ERRNO("and back", setrlimit(RLIMIT_NOFILE, &limit), EPERM);
	without(CAP_SYS_NICE);
	ERRNO("nice", setpriority(PRIO_PROCESS, 0, -5), EACCES);
	without(CAP_SYS_CHROOT);
	ERRNO("chroot", chroot("/"), EPERM);
	without(CAP_MKNOD);
	ERRNO("mknod", mknod("/tmp/nopage-never", S_IFCHR | 0600, 0x103), EPERM);
	without(CAP_SYS_ADMIN);
	ERRNO("sethostname", sethostname("x", 1), EPERM);
	ERRNO("remove", unlink(name), 0);
}

static int set_id(const char *name)
{
	struct stat st;

	return stat(name, &st) ? -1 : !!(st.st_mode & S_ISUID);
}

static void by_file_system(void)
{
	char name[40];
	int fd;

	snprintf(name, sizeof name, "/tmp/nopage-fs-%d", (int)getpid());
	fd = open(name, O_CREAT | O_RDWR | O_EXCL, 04600);
	without(CAP_FSETID);
	ERRNO("no bytes", write(fd, "", 0), 0);
	EQUAL("keep it", set_id(name), 1);
	ERRNO("a byte", write(fd, "a", 1) - 1, 0);
	EQUAL("takes it", set_id(name), 0);
	EQUAL("setfsuid", setfsuid(1000), 0);
	show("setfsuid", 1, 1);
	ERRNO("not mine", open(name, O_RDONLY), EACCES);
	ERRNO("nor to change", chmod(name, 0644), EPERM);
	EQUAL("refused without a word", setfsuid(-1), 1000);
	EQUAL("back", setfsuid(0), 1000);
	ERRNO("mine", close(open(name, O_RDONLY)), 0);
	ERRNO("remove", unlink(name), 0);
}

static void ambient(void)
{
	struct __user_cap_data_struct data[2];

	ERRNO("not inheritable", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETGID, 0, 0), EPERM);
	get(data);
	data[0].inheritable |= 1 << CAP_SETGID | 1 << CAP_SETUID;
	ERRNO("inheritable", set(data), 0);
	ERRNO("KEEPCAPS", prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
	ERRNO("raise", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETGID, 0, 0), 0);
	ERRNO("setgid", setresgid(1000, 1000, 1000), 0);
	ERRNO("setuid", setresuid(1000, 1000, 1000), 0);
	EQUAL("no more", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_SETGID, 0, 0), 0);
	ERRNO("raise", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETGID, 0, 0), 0);
	ERRNO("raise", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETUID, 0, 0), 0);
	ERRNO("what is not inheritable", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0), EPERM);
	ERRNO("no such one", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 64, 0, 0), EINVAL);
	ERRNO("no such question", prctl(PR_CAP_AMBIENT, 5, CAP_CHOWN, 0, 0), EINVAL);
	ERRNO("clear one", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0), EINVAL);
	ERRNO("lower", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_SETUID, 0, 0), 0);
	EQUAL("CapAmb", status("CapAmb"), 1 << CAP_SETGID);
	show("until exec", 0, 1);
	execl("/proc/self/exe", "capabilities", "ambient", NULL);
}

static void after_ambient(void)
{
	struct __user_cap_data_struct data[2];

	show("ambient", 1, 1);
	EQUAL("CapPrm", status("CapPrm"), 1 << CAP_SETGID);
	EQUAL("CapInh", status("CapInh"), 1 << CAP_SETGID | 1 << CAP_SETUID);
	ERRNO("setgid", setgid(5), 0);
	get(data);
	data[0].inheritable = 0;
	ERRNO("no longer inheritable", set(data), 0);
	EQUAL("nor ambient", status("CapAmb"), 0);
}

static void secure(void)
{
	struct __user_cap_data_struct data[2];

	EQUAL("none", prctl(PR_GET_SECUREBITS), 0);
	ERRNO("unknown", prctl(PR_SET_SECUREBITS, 1 << 20), EPERM);
	ERRNO("keep", prctl(PR_SET_SECUREBITS, 1 << 4), 0);
	EQUAL("it is that", prctl(PR_GET_KEEPCAPS), 1);
	ERRNO("locked", prctl(PR_SET_SECUREBITS, 1 << 4 | 1 << 5 | 1 << 2), 0);
	ERRNO("a locked bit", prctl(PR_SET_SECUREBITS, 1 << 5 | 1 << 2), EPERM);
	ERRNO("the lock", prctl(PR_SET_SECUREBITS, 1 << 4 | 1 << 2), EPERM);
	ERRNO("KEEPCAPS", prctl(PR_SET_KEEPCAPS, 0), EPERM);
	ERRNO("setuid changes nothing", setresuid(1000, 1000, 1000), 0);
	show("no fixup", 1, 1);
	ERRNO("and back", setresuid(0, 0, 0), 0);
	ERRNO("no ambient", prctl(PR_SET_SECUREBITS, 1 << 4 | 1 << 5 | 1 << 6 | 1), 0);
	get(data);
	data[0].inheritable = 1 << CAP_SETGID;
	ERRNO("inheritable", set(data), 0);
	ERRNO("raise", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETGID, 0, 0), EPERM);
	execl("/proc/self/exe", "capabilities", "secure", NULL);
}

static void after_secure(void)
{
	EQUAL("KEEPCAPS goes", prctl(PR_GET_SECUREBITS), 1 << 5 | 1 << 6 | 1);
	show("root is nobody special", 0, 0);
	ERRNO("without CAP_SETPCAP", prctl(PR_SET_SECUREBITS, 1 << 5 | 1), EPERM);
	ERRNO("setgid", setgid(5), EPERM);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		if (!strcmp(argv[1], "ambient"))
			return after_ambient(), failures != 0;
		if (!strcmp(argv[1], "secure"))
			return after_secure(), failures != 0;
		after_exec();
		return failures != 0;
	}
	in_child("for good", for_good);
	in_child("for a while", for_a_while);
	in_child("kept", kept);
	in_child("dropped", dropped);
	in_child("bounded", bounded);
	in_child("one by one", one_by_one);
	in_child("by file system", by_file_system);
	in_child("ambient", ambient);
	in_child("secure", secure);
	return done();
}
