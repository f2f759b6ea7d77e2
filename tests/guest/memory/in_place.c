/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A large file mapped and gone through in order, so that its pages are those of the host's page cache; what is written
 * then is this program's alone, or the file's.  in_place FILE
 * makes it.  B4 B7 B8 E2 */
#include "check.h"
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int file;
static const long bytes = 2 << 20, pages = (2 << 20) / PAGE;
static sigjmp_buf out;

static void leave(int signo)
{
    siglongjmp(out, signo);
}

static volatile unsigned char *map(int rights, int flags)
{
    void *memory = mmap(NULL, bytes, rights, flags, file, 0);
    CHECK("mmap", memory != MAP_FAILED);
    return memory;
}

static unsigned number(long page)
{
    return page * 2654435761U;
}

static void fill(void)
{
    static unsigned data[PAGE / 4];
    for (long n = 0; n < pages; n++) {
        data[0] = number(n);
        if (pwrite(file, data, PAGE, n * (long)PAGE) != PAGE)
            _exit(2);
    }
}

/* Pages that do not begin with their numbers. */
static long wrong(const volatile unsigned char *memory)
{
    long found = 0;
    for (long n = 0; n < pages; n++)
        found += *(const volatile unsigned *)(memory + n * (long)PAGE) != number(n);
    return found;
}

static long wrong_in_file(void)
{
    long found = 0;
    for (long n = 0; n < pages; n++) {
        unsigned start = 0;
        found += pread(file, &start, 4, n * (long)PAGE) != 4 || start != number(n);
    }
    return found;
}

static long faults(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_minflt + used.ru_majflt;
}

static void own_pages(void)
{
    volatile unsigned char *memory = map(PROT_READ | PROT_WRITE, MAP_PRIVATE);
    EQUAL("first pass", wrong(memory), 0);
    volatile unsigned char *other = map(PROT_READ, MAP_SHARED);
    long before = faults();
    EQUAL("second pass", wrong(other), 0);
    long taken = faults() - before;
    CHECK("a fault for 64 KiB", taken >= pages / 16 && taken <= pages / 16 + 1);
    for (long n = 0; n < pages; n += 3)
        memory[n * (long)PAGE] ^= 0xFF;
    EQUAL("changed", wrong(memory), (pages + 2) / 3);
    EQUAL("others see", wrong(other), 0);
    EQUAL("in the file", wrong_in_file(), 0);
    unsigned char in[8];
    EQUAL("mincore", mincore((void *)other, sizeof in * (long)PAGE, in), 0);
    CHECK("in memory", in[0] & in[7] & 1);
    pid_t child = fork();
    if (!child) {
        memory[PAGE] ^= 1;
        _exit(wrong(memory) == (pages + 2) / 3 + 1 && !wrong(other) ? 7 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    EQUAL("child", WEXITSTATUS(status), 7);
    EQUAL("after the child", wrong(memory), (pages + 2) / 3);
    munmap((void *)memory, bytes);
    munmap((void *)other, bytes);
}

static void the_file(void)
{
    volatile unsigned char *shared = map(PROT_READ | PROT_WRITE, MAP_SHARED);
    EQUAL("shared", wrong(shared), 0);
    volatile unsigned char *other = map(PROT_READ, MAP_PRIVATE);
    shared[5 * PAGE] ^= 1;
    EQUAL("written by a mapping", wrong(other), 1);
    EQUAL("and read", wrong_in_file(), 1);
    EQUAL("msync", msync((void *)shared, bytes, MS_SYNC), 0);
    unsigned there = 1234;
    EQUAL("pwrite", pwrite(file, &there, 4, 100 * PAGE), 4);
    EQUAL("written by a call", wrong(other), 2);
    EQUAL("ftruncate", ftruncate(file, bytes / 2), 0);
    signal(SIGBUS, leave);
    int got = sigsetjmp(out, 1);
    if (!got)
        got = -other[bytes / 2];
    EQUAL("behind the end", got, SIGBUS);
    EQUAL("before it", other[bytes / 2 - PAGE + 1], shared[bytes / 2 - PAGE + 1]);
    EQUAL("ftruncate back", ftruncate(file, bytes), 0);
    EQUAL("zeros", shared[bytes / 2] + other[bytes - 1], 0);
    munmap((void *)shared, bytes);
    munmap((void *)other, bytes);
}

/* The frames of the file, used for something else. */
static void reused(void)
{
    close(file);
    long size = 12 << 20, found = 0;
    volatile unsigned *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK("anonymous", memory != MAP_FAILED);
    for (long n = 0; n < size / (long)PAGE; n++) {
        memory[n * 1024 + 3] = n;
        found += memory[n * 1024] != 0 || memory[n * 1024 + 1023] != 0;
    }
    EQUAL("not zero", found, 0);
}

int main(int argc, char **argv)
{
    file = open(argv[argc - 1], O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK("file", file >= 0);
    fill();
    own_pages();
    the_file();
    reused();
    return done();
}
