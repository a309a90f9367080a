/* Every fsync and fdatasync takes the same time on every machine, and is counted.

   Real disks lie and vary a hundredfold, so a benchmark that waits for them measures the disk. With this object in LD_PRELOAD no sync
   reaches the disk: each sleeps FSYNC_SLEEP_US microseconds (0: returns at once) and adds one to a counter in the file FSYNC_COUNT_FILE,
   which is shared by all processes of the benchmark, PostgreSQL's own among them. Without FSYNC_SLEEP_US the real calls run, counted. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static atomic_ullong none;                 /* counts of a process that may not open the file */
static _Atomic(atomic_ullong *) counter;
static long sleep_us = -1;                 /* -1: the real thing */
static int (*real_fsync)(int), (*real_fdatasync)(int);

__attribute__((constructor)) static void start(void) {
    const char *sleep = getenv("FSYNC_SLEEP_US"), *path = getenv("FSYNC_COUNT_FILE");
    if (sleep && *sleep) sleep_us = atol(sleep);
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    counter = &none;
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = mmap(NULL, sizeof(atomic_ullong), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) counter = page;
    close(file);
}

static int sync_by(int (*real)(int), int file) {
    if (fcntl(file, F_GETFD) < 0) return -1; /* a closed file is an error here too */
    atomic_fetch_add(counter, 1);
    if (sleep_us < 0) return real(file);
    struct timespec left = {sleep_us / 1000000, sleep_us % 1000000 * 1000};
    while (sleep_us && clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {}
    return 0;
}

int fsync(int file) { return sync_by(real_fsync, file); }
int fdatasync(int file) { return sync_by(real_fdatasync, file); }
