/* A file mapped and read in order, then here and there, then in order through another mapping.  in_order FILE */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static const volatile unsigned *map(int file, long bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    return memory;
}

int main(int argc, char **argv)
{
    int file = open(argv[argc - 1], O_RDONLY);
    long bytes = lseek(file, 0, SEEK_END), pages = (bytes + 4095) / 4096;
    const volatile unsigned *memory = map(file, bytes);
    unsigned long sum = 0, wrong = 0;
    for (long n = 0; n < pages; n++) {
        sum = sum * 31 + memory[n * 1024];
        wrong += memory[n * 1024 + 1] != (unsigned)n;
    }
    printf("%ld pages, %lu, %lu wrong\n", pages, sum, wrong);
    munmap((void *)memory, bytes);
    memory = map(file, bytes);
    for (long n = 0, at = 7 % pages; n < pages; n++, at = (at * 5 + 3) % pages)
        sum = sum * 31 + memory[at * 1024 + 1];
    const volatile unsigned *again = map(file, bytes);
    for (long n = 0; n < pages; n++)
        sum = sum * 31 + again[n * 1024] + memory[n * 1024 + 1];
    printf("%lu, then %u\n", sum, again[(pages - 1) * 1024 + 1]);
    return 0;
}
