/* SPDX-License-Identifier: GPL-2.0-or-later */
/* fork, execve of this program, which ends at once, wait: nanoseconds a child.  forkexec ROUNDS SELF
 * forkexec ROUNDS EMULATOR SELF: the same through the emulator, which execve would leave otherwise */
#include "timing.h"
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "end"))
        return 7;
    need(argc > 2, "usage: forkexec ROUNDS [EMULATOR] SELF");
    long rounds = atol(argv[1]);
    char *words[4] = {argv[2], argc > 3 ? argv[3] : "end", argc > 3 ? "end" : NULL, NULL}, *none[] = {NULL};
    double started = now();
    for (long round = 0; round < rounds; round++) {
        int status;
        pid_t child = fork();
        need(child >= 0, "fork");
        if (!child) {
            execve(words[0], words, none);
            _exit(1);
        }
        need(waitpid(child, &status, 0) == child && status == 7 << 8, "the child");
    }
    result(started, rounds);
}
