/* futex(2) by hand: errors, wait, wake, bitsets, requeue, wake-op; between processes in shared memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../asleep.h"

enum {
    FUTEX_WAIT, FUTEX_WAKE, FUTEX_REQUEUE = 3, FUTEX_WAIT_BITSET = 9, FUTEX_WAKE_BITSET, FUTEX_PRIVATE_FLAG = 128,
    FUTEX_CLOCK_REALTIME = 256, FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE, FUTEX_CMP_REQUEUE_PRIVATE = 132,
    FUTEX_WAKE_OP_PRIVATE,
};
enum { FUTEX_OP_ADD = 1, FUTEX_OP_OR, FUTEX_OP_OPARG_SHIFT = 8, FUTEX_OP_CMP_LT = 2, FUTEX_OP_CMP_GT = 5 };
#define FUTEX_OP(op, oparg, cmp, cmparg) \
    (((long)(op) & 15) << 28 | ((cmp) & 15) << 24 | ((oparg) & 0xfff) << 12 | ((cmparg) & 0xfff))

static long futex(void *a, int op, long val, const void *ts, void *b, long v3)
{
    long r = syscall(SYS_futex, a, op, val, ts, b, v3);
    return r < 0 ? -errno : r;
}

struct ts { long sec, nsec; };
static int word, other;
static volatile int woken, tids[5];

static void nap(int ms)
{
    struct timespec ts = {0, ms * 1000000L};
    while (nanosleep(&ts, &ts)) ;
}

static void *waiter(void *arg)
{
    long bits = (long)arg;
    static int begun;
    tids[__atomic_fetch_add(&begun, 1, __ATOMIC_SEQ_CST)] = syscall(SYS_gettid);
    long r = futex(&word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, 0, 0, bits);
    if (r == 0) __atomic_add_fetch(&woken, 1, __ATOMIC_SEQ_CST);
    return (void *)r;
}

static void handler(int sig) { (void)sig; }

int main(void)
{
    pthread_t t[5];
    struct ts ts = {0, 20000000}, badts = {0, 2000000000};
    setvbuf(stdout, 0, _IONBF, 0);
    printf("wrong value %ld\n", futex(&word, FUTEX_WAIT, 1, 0, 0, 0));
    printf("timeout %ld\n", futex(&word, FUTEX_WAIT, 0, &ts, 0, 0));
    printf("timeout private %ld\n", futex(&word, FUTEX_WAIT_PRIVATE, 0, &ts, 0, 0));
    printf("bad timeout %ld\n", futex(&word, FUTEX_WAIT, 0, &badts, 0, 0));
    printf("past absolute %ld\n", futex(&word, FUTEX_WAIT_BITSET, 0, &ts, 0, -1));
    printf("past absolute realtime %ld\n", futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, &ts, 0, -1));
    printf("no bits %ld\n", futex(&word, FUTEX_WAIT_BITSET, 0, &ts, 0, 0));
    printf("no bits to wake %ld\n", futex(&word, FUTEX_WAKE_BITSET, 1, 0, 0, 0));
    printf("unaligned %ld\n", futex((char *)&word + 1, FUTEX_WAIT, 0, 0, 0, 0));
    printf("unaligned wake %ld\n", futex((char *)&word + 2, FUTEX_WAKE, 1, 0, 0, 0));
    printf("unmapped %ld\n", futex((void *)64, FUTEX_WAIT, 0, 0, 0, 0));
    printf("unknown %ld\n", futex(&word, 63, 0, 0, 0, 0));
    printf("wake nobody %ld\n", futex(&word, FUTEX_WAKE, 10, 0, 0, 0));
    int *fixed = mmap(0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *text = (int *)((long)main & -4096L);
    printf("never written: wake %ld wait %ld\n", futex(fixed, FUTEX_WAKE, 1, 0, 0, 0), futex(fixed, FUTEX_WAIT, 1, 0, 0, 0));
    printf("...private %ld\n", futex(fixed, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0));
    mprotect(fixed, 4096, PROT_READ | PROT_WRITE);
    fixed[0] = 7;
    printf("writable %ld\n", futex(fixed, FUTEX_WAKE, 1, 0, 0, 0));
    mprotect(fixed, 4096, PROT_READ);
    printf("written and closed: wake %ld wait %ld\n", futex(fixed, FUTEX_WAKE, 1, 0, 0, 0), futex(fixed, FUTEX_WAIT, 1, 0, 0, 0));
    printf("to requeue there %ld\n", futex(&word, FUTEX_REQUEUE, 1, 0, fixed, 0));
    printf("a file's page %ld\n", futex(text, FUTEX_WAKE, 1, 0, 0, 0));
    printf("requeue negative %ld\n", futex(&word, FUTEX_REQUEUE, -1, 0, &other, 0));

    for (long i = 0; i < 5; i++) pthread_create(&t[i], 0, waiter, (void *)(1L << i));
    for (int i = 0; i < 5; i++) {
        while (!tids[i]) nap(1);
        until_state(getpid(), tids[i], "S");
    }
    printf("wake bit 2: %ld\n", futex(&word, FUTEX_WAKE_BITSET | FUTEX_PRIVATE_FLAG, 10, 0, 0, 4));
    printf("not shared: %ld\n", futex(&word, FUTEX_WAKE, 10, 0, 0, 0) >= 0);
    printf("wrong value to compare %ld\n", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &other, 7));
    printf("requeue %ld\n", futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &other, 0));
    printf("left at the first %ld\n", futex(&word, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0));
    printf("wake one at the second %ld\n", futex(&other, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0));
    printf("wake all at the second %ld\n", futex(&other, FUTEX_WAKE_PRIVATE, 10, 0, 0, 0));
    for (int i = 0; i < 5; i++) pthread_join(t[i], 0);
    printf("woken %d\n", woken);

    other = 5;
    printf("wake-op %ld", futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &other,
                                FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_GT, 4)));
    printf(" value %d\n", other);
    printf("wake-op shift %ld", futex(&word, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &other,
                                      FUTEX_OP(FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, 6, FUTEX_OP_CMP_LT, -1)));
    printf(" value %d\n", other);

    int *shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t p = fork();
    if (!p) {
        int *again = mremap(shared, 4096, 4096, MREMAP_MAYMOVE);
        _exit(futex(&again[3], FUTEX_WAIT, 0, 0, 0, 0) == 0 ? 5 : 6);
    }
    until_asleep(p);
    printf("wake another process %ld\n", futex(&shared[3], FUTEX_WAKE, 10, 0, 0, 0));
    int st;
    waitpid(p, &st, 0);
    printf("status %d\n", WEXITSTATUS(st));

    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = handler;
    sigaction(SIGUSR1, &sa, 0);
    pid_t me = getpid();
    if (!fork()) { until_asleep(me); kill(me, SIGUSR1); _exit(0); }
    printf("interrupted %ld\n", futex(&word, FUTEX_WAIT, 0, 0, 0, 0));
    wait(0);
    ts.sec = 30;
    if (!fork()) { until_asleep(me); kill(me, SIGUSR1); _exit(0); }
    printf("interrupted with a timeout %ld\n", futex(&word, FUTEX_WAIT, 0, &ts, 0, 0));
    wait(0);
    sa.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &sa, 0);
    if (!fork()) { until_asleep(me); kill(me, SIGUSR1); _exit(0); }
    ts.sec = 10; ts.nsec = 0;
    printf("with a timeout it is not restarted %ld\n", futex(&word, FUTEX_WAIT, 0, &ts, 0, 0));
    wait(0);
    return 0;
}
