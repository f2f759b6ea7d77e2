/* Two processes whose page faults fall between an instruction that sets flags and the one that reads them. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 200
#define PAGE 4096

static int wrong(unsigned char *page, unsigned long set)
{
    unsigned long seen;

#ifdef __x86_64__
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpush %1\n\tpopf\n\tmovb $1, (%2)\n\tpushf\n\tpop %0\n\tcld\n\tlea 128(%%rsp), %%rsp"
                     : "=&r"(seen) : "r"(set), "r"(page) : "memory", "cc");
#else
    __asm__ volatile("push %1\n\tpopf\n\tmovb $1, (%2)\n\tpushf\n\tpop %0\n\tcld"
                     : "=&r"(seen) : "r"(set), "r"(page) : "memory", "cc");
#endif
    return ((seen ^ set) & 0xcd5) != 0;
}

static int child(unsigned long set)
{
    unsigned char *area = mmap(NULL, ROUNDS * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int count = 0;

    for (int i = 0; i < ROUNDS; i++)
        count += wrong(area + i * PAGE, i & 1 ? set : set ^ 0xcd5);
    return count > 100 ? 100 : count;
}

int main(void)
{
    int lost = 0;

    for (int i = 0; i < 2; i++)
        if (fork() == 0)
            _exit(child(i ? 0xed7 : 0x202));
    for (int i = 0; i < 2; i++) {
        int status;
        wait(&status);
        lost += WEXITSTATUS(status);
    }
    printf("%d rounds with other flags\n", lost);
    return lost != 0;
}
