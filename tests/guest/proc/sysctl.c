/* /proc/sys: what programs look up there has a number in it. */
#include "check.h"
#include <fcntl.h>

static const char *const numbers[] = {
	"vm/swappiness", "vm/dirty_ratio", "vm/dirty_background_ratio", "vm/overcommit_memory", "vm/overcommit_ratio",
	"vm/overcommit_kbytes", "vm/max_map_count", "vm/mmap_min_addr", "vm/min_free_kbytes", "vm/nr_hugepages",
	"vm/panic_on_oom", "vm/oom_kill_allocating_task", "vm/page-cluster", "vm/legacy_va_layout",
	"vm/vfs_cache_pressure", "vm/unprivileged_userfaultfd", "kernel/tainted", "kernel/pid_max",
	"kernel/threads-max", "kernel/overflowuid", "kernel/shm_rmid_forced", "fs/nr_open", "fs/pipe-max-size",
	"fs/suid_dumpable", "fs/inotify/max_user_watches", "fs/epoll/max_user_watches",
};

static long number(const char *name, int *good)
{
	char path[100], text[100] = "", *end;
	long value;
	int fd;

	snprintf(path, sizeof path, "/proc/sys/%s", name);
	fd = open(path, O_RDONLY);
	*good = fd >= 0 && read(fd, text, sizeof text - 1) > 1;
	close(fd);
	value = strtol(text, &end, 10);
	*good = *good && !strcmp(end, "\n");
	return value;
}

int main(void)
{
	unsigned long opened = 0, unused = 1, most = 0;
	int good;
	size_t i;
	FILE *f;

	for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		long value = number(numbers[i], &good);

		CHECK(numbers[i], good && value >= 0);
	}
	f = fopen("/proc/sys/fs/file-nr", "r");
	CHECK("file-nr", f && fscanf(f, "%lu %lu %lu", &opened, &unused, &most) == 3 && opened >= 3 && !unused);
	fclose(f);
	f = fopen("/proc/sys/kernel/printk", "r");
	CHECK("printk", f && fscanf(f, "%lu %lu %lu", &opened, &unused, &most) == 3 && opened < 10);
	fclose(f);
	f = fopen("/proc/self/timerslack_ns", "r");
	CHECK("timerslack_ns", f && fscanf(f, "%lu", &most) == 1 && most == 50000);
	return done();
}
