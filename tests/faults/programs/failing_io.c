/* Loaded before libc (LD_PRELOAD): makes reads, writes or syncs of the database fail with EIO while a
   file named after them is in the folder that FAILING_IO names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int file, const char *what) {
    int before = errno, found = 0;
    char link[64], path[4096], switched[4200];
    const char *folder = getenv("FAILING_IO");
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = folder ? readlink(link, path, sizeof path - 1) : -1;
    if (length > 0) {
        path[length] = 0;
        const char *name = strrchr(path, '/');
        if (name && strncmp(name, "/guard.db", 9) == 0) {
            snprintf(switched, sizeof switched, "%s/%s", folder, what);
            found = access(switched, F_OK) == 0;
        }
    }
    errno = found ? EIO : before;
    return found;
}

#define REAL(type, name, parameters) \
    static type(*real) parameters; \
    if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, name)

ssize_t read(int file, void *bytes, size_t n) {
    REAL(ssize_t, "read", (int, void *, size_t));
    return fails(file, "read") ? -1 : real(file, bytes, n);
}

ssize_t pread64(int file, void *bytes, size_t n, off64_t at) {
    REAL(ssize_t, "pread64", (int, void *, size_t, off64_t));
    return fails(file, "read") ? -1 : real(file, bytes, n, at);
}

ssize_t write(int file, const void *bytes, size_t n) {
    REAL(ssize_t, "write", (int, const void *, size_t));
    return fails(file, "write") ? -1 : real(file, bytes, n);
}

ssize_t pwrite64(int file, const void *bytes, size_t n, off64_t at) {
    REAL(ssize_t, "pwrite64", (int, const void *, size_t, off64_t));
    return fails(file, "write") ? -1 : real(file, bytes, n, at);
}

int fsync(int file) {
    REAL(int, "fsync", (int));
    return fails(file, "sync") ? -1 : real(file);
}

int fdatasync(int file) {
    REAL(int, "fdatasync", (int));
    return fails(file, "sync") ? -1 : real(file);
}
