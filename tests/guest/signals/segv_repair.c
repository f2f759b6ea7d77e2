/* A handler that repairs the fault with mprotect or mmap and returns: the instruction runs again.
   Registers, flags and x87/SSE state survive every one of the faults. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __x86_64__
#define AX "rax"
#else
#define AX "eax"
#endif

static char *area;
static int faults;

static void handler(int sig, siginfo_t *si, void *arg)
{
    char *page = (char *)((unsigned long)si->si_addr & ~4095UL);
    volatile double waste = 3.0;
    faults++;
    for (int i = 0; i < 20; i++)
        waste = waste * 1.25 + i;
    __asm__ volatile("fninit\n\tfld1\n\tfldpi\n\tfaddp\n\tfstp %%st(0)\n\tpcmpeqd %%xmm0,%%xmm0\n\tpcmpeqd %%xmm5,%%xmm5"
                     ::: "xmm0", "xmm5");
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
    (void)arg;
    (void)sig;
}

int main(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = handler;
    sa.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &sa, 0);
    area = mmap(0, 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    double d = 1.0, e = 0.5;
    long double ld = 1.0L;
    unsigned long sum = 0;
    for (int i = 0; i < 32; i++) {
        d = d * 1.1 + i;
        ld = ld * 1.5L + i;
        area[i * 4096 + 4092] = (char)i;
        sum += (unsigned long)d;
        e += d;
    }
    printf("faults %d sum %lu d %.6f e %.6f ld %.6Lf\n", faults, sum, d, e, ld);

    /* flags: the carry that stc set must be there after the faulting store */
    char *target = area + 40 * 4096;
    unsigned char carry, dir;
    __asm__ volatile("stc\n\tmovb $7,(%2)\n\tsetc %0\n\tstd\n\tmovb $8,4096(%2)\n\tpushf\n\tpop %%" AX "\n\tcld\n\tshr $10,%%eax\n\tand $1,%%al\n\tmov %%al,%1"
                     : "=&q"(carry), "=&q"(dir) : "r"(target) : AX, "memory", "cc");
    printf("carry %d direction %d faults %d\n", carry, dir, faults);

    /* one string instruction over six protected pages */
    char *from = area + 50 * 4096;
    memset(from - 4096, 'x', 4096);
    unsigned long n = 6 * 4096;
    void *dst = from, *src = area;
    __asm__ volatile("mov $0x5a,%%al\n\trep stosb" : "+D"(dst), "+c"(n) : : AX, "memory");
    printf("rep stosb left %lu faults %d last %#x\n", n, faults, from[6 * 4096 - 1]);
    (void)src;

    /* x87 stack across a fault */
    double top;
    __asm__ volatile("fldpi\n\tfld1\n\tmovb $1,(%1)\n\tfaddp\n\tfstpl %0" : "=m"(top) : "r"(area + 60 * 4096) : "memory");
    printf("pi + 1 = %.10f faults %d\n", top, faults);
    unsigned int mx = 0x5f80, mx2 = 0;
    __asm__ volatile("ldmxcsr %1\n\tmovb $1,(%2)\n\tstmxcsr %0" : "=m"(mx2) : "m"(mx), "r"(area + 61 * 4096) : "memory");
    printf("mxcsr %#x\n", mx2);
    return 0;
}
