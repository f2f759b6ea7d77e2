/* clone and clone3 by hand: which flags go together, what is shared, the exit signal, the tid words. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_clone3
#define SYS_clone3 435
#endif

static long call(long r) { return r < 0 ? -errno : r; }
static long raw(unsigned long flags) { return call(syscall(SYS_clone, flags, 0, 0, 0, 0)); }

struct args { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup, more; };

static int value = 1;
static volatile int tid_word;

static int in_child(void *arg)
{
    value = 2;
    if (arg) chdir("/");
    _exit(21);
}

static volatile int usr1s;
static void handler(int sig) { (void)sig; usr1s++; }

int main(void)
{
    int st;
    char *stack = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char cwd[200];
    struct args a;
    setvbuf(stdout, 0, _IONBF, 0);
    signal(SIGUSR1, handler);
    printf("thread without sighand %ld\n", raw(CLONE_THREAD));
    printf("sighand without vm %ld\n", raw(CLONE_SIGHAND));
    printf("newns and fs %ld\n", raw(CLONE_NEWNS | CLONE_FS));

    int p = clone(in_child, stack + 65536, CLONE_VM | SIGCHLD, 0);
    waitpid(p, &st, 0);
    printf("vm shared: %d status %d\n", value, WEXITSTATUS(st));
    value = 1;
    p = clone(in_child, stack + 65536, CLONE_FS | SIGCHLD, (void *)1);
    waitpid(p, &st, 0);
    printf("vm copied: %d, directory shared: %s\n", value, getcwd(cwd, sizeof cwd));

    p = clone(in_child, stack + 65536, SIGUSR1, 0);
    errno = 0;
    int r = waitpid(p, &st, WNOHANG);
    printf("not a normal child: %d errno %d\n", r, errno);
    do { r = waitpid(p, &st, __WCLONE); } while (r < 0 && errno == EINTR);
    printf("with __WCLONE: %d, its signal came %d\n", r == p, usr1s);
    p = clone(in_child, stack + 65536, 0, 0);
    do { r = waitpid(-1, &st, __WALL); } while (r < 0 && errno == EINTR);
    printf("no exit signal, __WALL: %d\n", r == p);

    int ptid = 0;
    volatile int *ctid = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    p = syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, 0, &ptid, ctid, 0);
    if (!p) _exit(*ctid == getpid() ? 31 : 32);
    waitpid(p, &st, 0);
    printf("tid words: parent %d child %d, left alone at the end %d\n", ptid == p, WEXITSTATUS(st), *ctid == p);

    memset(&a, 0, sizeof a);
    a.exit_signal = SIGCHLD;
    printf("clone3 too small %ld\n", call(syscall(SYS_clone3, &a, 63)));
    printf("clone3 too big %ld\n", call(syscall(SYS_clone3, &a, 5000)));
    a.more = 1;
    printf("clone3 unknown rest %ld\n", call(syscall(SYS_clone3, &a, sizeof a)));
    a.more = 0;
    a.exit_signal = 65;
    printf("clone3 bad signal %ld\n", call(syscall(SYS_clone3, &a, 64)));
    a.exit_signal = SIGCHLD;
    a.stack = (uintptr_t)stack;
    printf("clone3 stack without size %ld\n", call(syscall(SYS_clone3, &a, 64)));
    a.stack = 0;
    a.flags = 1;
    printf("clone3 signal in flags %ld\n", call(syscall(SYS_clone3, &a, 64)));
    a.flags = 1ULL << 40;
    printf("clone3 unknown flag %ld\n", call(syscall(SYS_clone3, &a, 64)));
    a.flags = CLONE_THREAD;
    printf("clone3 thread with a signal %ld\n", call(syscall(SYS_clone3, &a, 64)));
    a.flags = 0;
    p = syscall(SYS_clone3, &a, sizeof a);
    if (!p) _exit(41);
    waitpid(p, &st, 0);
    printf("clone3 %d\n", WEXITSTATUS(st));
    a.flags = 1ULL << 32; /* CLONE_CLEAR_SIGHAND */
    p = syscall(SYS_clone3, &a, sizeof a);
    if (!p) {
        struct sigaction sa;
        sigaction(SIGUSR1, 0, &sa);
        _exit(sa.sa_handler == SIG_DFL ? 51 : 52);
    }
    waitpid(p, &st, 0);
    printf("clone3 clear handlers %d\n", WEXITSTATUS(st));
    return 0;
}
