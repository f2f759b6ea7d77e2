/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings of /proc/sys are obeyed at once.  Changes the whole machine, so it is never run on the host.  E3 B11 */
#include "check.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static long get(const char *name)
{
    char path[100], text[40] = "";
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    int file = open(path, O_RDONLY);
    ssize_t got = read(file, text, sizeof text - 1);
    close(file);
    return got > 0 ? atol(text) : -1;
}

static int set(const char *name, const char *value)
{
    char path[100];
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    int file = open(path, O_WRONLY), error = 0;
    if (file < 0 || write(file, value, strlen(value)) < 0)
        error = errno;
    close(file);
    return error;
}

static void areas(void)
{
    EQUAL("max_map_count", get("vm/max_map_count"), 65530);
    EQUAL("set", set("vm/max_map_count", "40"), 0);
    char *field = mmap(NULL, 200 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int made = 0;
    while (made < 100 && mprotect(field + 2 * made * 4096, 4096, PROT_NONE) == 0)
        made++;
    CHECK("no more areas", errno == ENOMEM && made < 40);
    EQUAL("set", set("vm/max_map_count", "100000"), 0);
    EQUAL("more again", mprotect(field + 2 * made * 4096, 4096, PROT_NONE), 0);
    munmap(field, 200 * 4096);
    EQUAL("no number", set("vm/max_map_count", "many"), EINVAL);
    EQUAL("negative", set("vm/max_map_count", "-1"), EINVAL);
}

static void promises(void)
{
    const size_t huge = 100ul << 20, some = 8ul << 20; /* the machine has 32 MiB */
    ERRNO("more than there is", mmap(NULL, huge, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0, ENOMEM);
    EQUAL("always", set("vm/overcommit_memory", "1"), 0);
    char *all = mmap(NULL, huge, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK("promised", all != MAP_FAILED);
    munmap(all, huge);
    EQUAL("never", set("vm/overcommit_memory", "2"), 0);
    int made = 0;
    while (made < 10 && mmap(NULL, some, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        made++;
    CHECK("half of the memory", made == 1 && errno == ENOMEM);
    EQUAL("all of it", set("vm/overcommit_ratio", "100"), 0);
    CHECK("one more", mmap(NULL, some, PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    EQUAL("read-only is no promise", mmap(NULL, huge, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED, 0);
    EQUAL("as at first", set("vm/overcommit_memory", "0"), 0);
    EQUAL("out of range", set("vm/overcommit_memory", "3"), EINVAL);
}

static void others(void)
{
    int ends[2], status;
    struct rlimit limit = {2000000, 2000000};
    EQUAL("nr_open", setrlimit(RLIMIT_NOFILE, &limit) == -1 ? errno : 0, EPERM);
    EQUAL("set", set("fs/nr_open", "3000000"), 0);
    EQUAL("beyond a million", setrlimit(RLIMIT_NOFILE, &limit), 0);
    EQUAL("descriptor", dup2(1, 1500000), 1500000);
    close(1500000);
    EQUAL("addresses are never random", set("kernel/randomize_va_space", "2"), EINVAL);
    EQUAL("low addresses", set("vm/mmap_min_addr", "4096"), 0);
    EQUAL("pipes", set("fs/pipe-max-size", "8192"), 0);
    if (!fork()) {
        if (setuid(1000) || pipe(ends))
            _exit(1);
        char *low = mmap((void *)0x2000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (low != (void *)0x2000)
            _exit(2);
        if (fcntl(ends[0], 1031, 1 << 20) != -1 || errno != EPERM)
            _exit(3);
        if (set("vm/max_map_count", "50") != EACCES)
            _exit(4);
        _exit(0);
    }
    wait(&status);
    EQUAL("an ordinary user", status, 0);
}

int main(void)
{
    areas();
    promises();
    others();
    return done();
}
