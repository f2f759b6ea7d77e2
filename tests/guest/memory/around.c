/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mapped file touched page by page: the neighbours of a page that is read are mapped with it, and nobody can tell
 * but by the count of faults.  B7 B8 E2 */
#include "check.h"
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static long faults(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_minflt + used.ru_majflt;
}

/* Every page of `file` as its mapping shows it and as read() gives it. */
static int differs(int file, const char *memory, long size)
{
    static char page[4096];
    int found = 0;
    for (long at = 0; at < size; at += 4096) {
        long got = pread(file, page, 4096, at);
        found += got <= 0 || memcmp(page, memory + at, got) != 0;
    }
    return found;
}

static void host_file(void)
{
    struct stat info;
    int file = open("/proc/self/exe", O_RDONLY);
    CHECK("program", file >= 0 && fstat(file, &info) == 0);
    long size = info.st_size, pages = (size + 4095) / 4096;
    char *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    long before = faults();
    int sum = 0;
    for (long n = 0; n < pages; n++)
        sum += ((volatile char *)all)[n * 4096];
    CHECK("no more faults than pages", faults() - before <= pages);
    EQUAL("contents", differs(file, all, size), 0);
    all[0] = 'X';
    all[2 * 4096 + 1] ^= 1;
    EQUAL("changed pages", differs(file, all, size), 2);
    char *other = mmap(NULL, 4 * 4096, PROT_READ, MAP_PRIVATE, file, 0);
    EQUAL("the file did not change", differs(file, other, 4 * 4096), 0);
    unsigned char in[4];
    EQUAL("mincore", mincore(other, 4 * 4096, in), 0);
    CHECK("in memory", in[0] & 1);
    EQUAL("tail", munmap(all + 4096, (pages - 1) * 4096), 0);
    CHECK("own page stays", all[0] == 'X');
    munmap(all, 4096);
    munmap(other, 4 * 4096);
    close(file);
}

static void own_file(void)
{
    static char page[4096];
    char name[] = "around.XXXXXX";
    int file = mkstemp(name);
    for (int n = 0; n < 40; n++) {
        memset(page, 'a' + n % 26, sizeof page);
        EQUAL("write", write(file, page, n == 39 ? 100 : 4096), n == 39 ? 100 : 4096);
    }
    volatile char *seen = mmap(NULL, 48 * 4096, PROT_READ, MAP_SHARED, file, 0);
    volatile char *shared = mmap(NULL, 40 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK("read", seen[5 * 4096] == 'f' && seen[39 * 4096 + 99] == 'a' + 39 % 26 && seen[39 * 4096 + 100] == 0);
    shared[6 * 4096] = '!';
    CHECK("a store shows next to a page that was read", seen[6 * 4096] == '!');
    CHECK("pwrite", pwrite(file, "?", 1, 7 * 4096) == 1 && seen[7 * 4096] == '?');
    EQUAL("shorter", ftruncate(file, 8 * 4096), 0);
    EQUAL("longer again", ftruncate(file, 40 * 4096), 0);
    CHECK("cut off", seen[8 * 4096] == 0 && seen[7 * 4096] == '?' && seen[39 * 4096] == 0);
    EQUAL("advice", madvise((void *)seen, 48 * 4096, MADV_DONTNEED), 0);
    CHECK("again", seen[6 * 4096] == '!' && seen[5 * 4096] == 'f');
    EQUAL("protect", mprotect((void *)(seen + 4096), 4096, PROT_NONE), 0);
    CHECK("beside it", seen[0] == 'a' && seen[2 * 4096] == 'c');
    munmap((void *)seen, 48 * 4096);
    munmap((void *)shared, 40 * 4096);
    unlink(name);
    close(file);
}

int main(void)
{
    host_file();
    own_file();
    return done();
}
