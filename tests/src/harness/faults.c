/* A disk that fails once. Preloaded, it counts what is written below the folder named by HANGTAG_FAULT_IN
 * (writes, syncs, truncations, renames, removals) and makes operation HANGTAG_FAULT_AT and the
 * HANGTAG_FAULT_FOR - 1 ones that follow it fail as a broken disk does. The count is left in the file named
 * by HANGTAG_FAULT_COUNT. While the file named by HANGTAG_STALL_WHILE is there, all of these wait. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long operations;

static long number(const char *name)
{
    const char *text = getenv(name);
    return text ? atol(text) : 0;
}

static int is_inside(const char *path)
{
    const char *folder = getenv("HANGTAG_FAULT_IN");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int fails_at(const char *path)
{
    if (!is_inside(path))
        return 0;
    const char *stall = getenv("HANGTAG_STALL_WHILE");
    while (stall && access(stall, F_OK) == 0)
        usleep(10 * 1000);
    long now = atomic_fetch_add(&operations, 1) + 1;
    long at = number("HANGTAG_FAULT_AT");
    if (at == 0 || now < at || now >= at + number("HANGTAG_FAULT_FOR"))
        return 0;
    /* A broken disk tries for a while before it gives up, and others wait for it meanwhile. */
    usleep(100 * 1000);
    errno = EIO;
    return 1;
}

static int fails(int file)
{
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails_at(path);
}

__attribute__((destructor)) static void leave_count(void)
{
    const char *path = getenv("HANGTAG_FAULT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", atomic_load(&operations));
        fclose(file);
    }
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t length)
{
    return fails(file) ? -1 : REAL(write)(file, bytes, length);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at)
{
    return fails(file) ? -1 : REAL(pwrite)(file, bytes, length, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at)
{
    return fails(file) ? -1 : REAL(pwrite64)(file, bytes, length, at);
}

int fsync(int file)
{
    return fails(file) ? -1 : REAL(fsync)(file);
}

int fdatasync(int file)
{
    return fails(file) ? -1 : REAL(fdatasync)(file);
}

int sync_file_range(int file, off64_t from, off64_t length, unsigned int flags)
{
    return fails(file) ? -1 : REAL(sync_file_range)(file, from, length, flags);
}

int ftruncate(int file, off_t length)
{
    return fails(file) ? -1 : REAL(ftruncate)(file, length);
}

int ftruncate64(int file, off64_t length)
{
    return fails(file) ? -1 : REAL(ftruncate64)(file, length);
}

int rename(const char *from, const char *to)
{
    return fails_at(to) ? -1 : REAL(rename)(from, to);
}

int unlink(const char *path)
{
    return fails_at(path) ? -1 : REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode)
{
    return fails_at(path) ? -1 : REAL(mkdir)(path, mode);
}
