/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tree walked as an archiver does: lstat of each entry, the beginning of each file: nanoseconds an entry.
 * tree DIRECTORY [ENTRIES] */
#include "timing.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static long left, seen;

static void walk(const char *name)
{
    char path[PATH_MAX], text[4096];
    struct stat about;
    struct dirent *entry;
    DIR *directory = opendir(name);
    if (!directory)
        return;
    while (left && (entry = readdir(directory))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(path, sizeof path, "%s/%s", name, entry->d_name);
        if (lstat(path, &about))
            continue;
        left--;
        seen++;
        if (S_ISDIR(about.st_mode)) {
            walk(path);
        } else if (S_ISREG(about.st_mode)) {
            int file = open(path, O_RDONLY);
            if (file >= 0) {
                need(read(file, text, sizeof text) >= 0, path);
                close(file);
            }
        }
    }
    closedir(directory);
}

int main(int argc, char **argv)
{
    left = argument(argc, argv, 2, 1000);
    double started = now();
    walk(argc > 1 ? argv[1] : "/usr/share");
    need(seen > 0, "nothing there");
    result(started, seen);
    return 0;
}
