/* Preloaded into a process that has a store. Logs the beginning and the return of every fdatasync to the file that
 * MMS_SYNC_LOG names, and makes the real call. Once the file that MMS_SYNC_FAIL names exists, every fdatasync fails with EIO
 * instead; once the file that MMS_WRITE_FAIL names exists, every write at an offset does. Failures are logged too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void tell(const char *what, int result, int fd) {
    const char *log = getenv("MMS_SYNC_LOG");
    char link[64], path[4096], line[4300];
    if (!log) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    int out = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (out < 0) abort();
    int bytes = snprintf(line, sizeof line, "%s %d %s\n", what, result, path);
    if (write(out, line, (size_t)bytes) != bytes) abort();
    close(out);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *fail = getenv("MMS_SYNC_FAIL");
    if (!real) abort();
    if (fail && access(fail, F_OK) == 0) {
        tell("failed", -1, fd);
        errno = EIO;
        return -1;
    }
    tell("begun", 0, fd);
    int result = real(fd);
    int error = errno;
    tell("synced", result, fd);
    errno = error;
    return result;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    const char *fail = getenv("MMS_WRITE_FAIL");
    if (!real) abort();
    if (fail && access(fail, F_OK) == 0) {
        tell("unwritten", -1, fd);
        errno = EIO;
        return -1;
    }
    return real(fd, bytes, length, offset);
}
