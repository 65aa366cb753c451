/*
 * Stands between a program and the C library (LD_PRELOAD), for the tests of what a disk, a clock or a kill can do to it.
 *
 * Every call that touches a file in TORTURE_FOLDER is counted. At a call that the test names, calls begin to fail, or the process ends as
 * by `kill -9`: before the call, after it, or with half of a write done. What the calls changed is appended to TORTURE_JOURNAL in the order
 * in which it happened, so that the test can work out what a disk may hold after a power cut. The real-time clock is off by as much as the
 * test says. What the test says lies in TORTURE_CONTROL, which both map or write.
 *
 * Linux with 64 bits. A call of a kind that is not here (pwritev, copy_file_range, …) goes unseen; the test notices, for the files are
 * then not what the journal makes of them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The kinds of calls, as bits. */
enum { OPEN = 1, READ = 2, WRITE = 4, TRUNCATE = 8, SYNC = 16, UNLINK = 32, RENAME = 64, CREATE = 128, OPEN_TO_WRITE = 256 };

/* Where the end comes. */
enum { BEFORE = 0, AFTER = 1, AMID = 2 };

/* Words of eight bytes, in this order on the test's side too. */
struct control {
    int64_t clock_offset; /* nanoseconds */
    uint64_t counted;     /* kinds that count */
    uint64_t calls;       /* how many there were */
    uint64_t end_at;      /* the call that ends the process; 0 for none */
    uint64_t end_where;
    uint64_t fail_from; /* the first call that may fail; 0 for none */
    uint64_t fail_for;  /* how many in a row */
    uint64_t fail_kinds;
    uint64_t fail_with; /* errno */
    uint64_t failed;    /* how many failed */
};

/* The journal's records: four words, then `length` bytes. */
enum { WROTE = 1, TRUNCATED, SYNCED, CREATED, UNLINKED, RENAMED, FOLDER_SYNCED };

/* What a descriptor is. The index of a write-ahead log is memory that happens to have a name: nobody syncs it. */
enum { ELSEWHERE = 0, FILE_OF_OURS, INDEX, FOLDER };

#define MOST_DESCRIPTORS 65536

static struct control *control;
static int journal = -1;
static char folder[4096];
static size_t folder_length;
static struct {
    uint8_t what;
    uint64_t inode;
} descriptors[MOST_DESCRIPTORS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void)
{
    const char *where = getenv("TORTURE_FOLDER"), *words = getenv("TORTURE_CONTROL"), *log = getenv("TORTURE_JOURNAL");
    if (!where || !words || !log || strlen(where) >= sizeof folder)
        return;
    strcpy(folder, where);
    folder_length = strlen(folder);
    journal = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, words, O_RDWR | O_CLOEXEC);
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (journal < 0 || fd < 0 || mapped == MAP_FAILED) {
        dprintf(2, "shim: no control or no journal\n");
        _exit(99);
    }
    control = mapped;
}

/* The name of a file in the folder, or NULL. */
static const char *ours(const char *path)
{
    if (!control || strncmp(path, folder, folder_length) != 0 || path[folder_length] != '/')
        return NULL;
    const char *name = path + folder_length + 1;
    return *name && !strchr(name, '/') ? name : NULL;
}

static int is_index(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, "-shm") == 0;
}

static int what(int fd)
{
    return control && fd >= 0 && fd < MOST_DESCRIPTORS ? descriptors[fd].what : ELSEWHERE;
}

static void end(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

static void record(uint64_t kind, uint64_t inode, uint64_t offset, const void *bytes, uint64_t length)
{
    uint64_t head[4] = {kind, inode, offset, length};
    if (syscall(SYS_write, journal, head, sizeof head) != (long)sizeof head ||
        syscall(SYS_write, journal, bytes, length) != (long)length) {
        dprintf(2, "shim: the journal cannot be written\n");
        end();
    }
}

/* Counts a call and holds the lock until `leave`. Whether it is to be made; otherwise errno says why not. */
static int enter(unsigned kind, const char *name)
{
    pthread_mutex_lock(&mutex);
    if (!(control->counted & kind))
        return 1;
    uint64_t call = ++control->calls;
    if (call == control->end_at && control->end_where == BEFORE)
        end();
    uint64_t from = control->fail_from;
    if (from == 0 || call < from || call - from >= control->fail_for || !(control->fail_kinds & kind))
        return 1;
    control->failed++;
    dprintf(2, "shim: call %lu, %s: %s\n", (unsigned long)call, name, strerror((int)control->fail_with));
    errno = (int)control->fail_with;
    return 0;
}

static void leave(void)
{
    if (control->calls == control->end_at && control->end_where != BEFORE)
        end();
    int kept = errno;
    pthread_mutex_unlock(&mutex);
    errno = kept;
}

static void remember(int fd, uint8_t as)
{
    struct stat about;
    if (fd < MOST_DESCRIPTORS && fstat(fd, &about) == 0) {
        descriptors[fd].what = as;
        descriptors[fd].inode = about.st_ino;
    }
}

static int open_ours(int at, const char *path, const char *name, int flags, mode_t mode)
{
    int fd = -1, was_there = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
    unsigned kind = was_there ? ((flags & O_ACCMODE) == O_RDONLY ? OPEN : OPEN_TO_WRITE) : CREATE;
    /* One that is not there and is not to be made changes nothing, and fails by itself. */
    if (enter(was_there || (flags & O_CREAT) ? kind : OPEN, name)) {
        fd = (int)syscall(SYS_openat, at, path, flags, mode);
        if (fd >= 0) {
            remember(fd, is_index(name) ? INDEX : FILE_OF_OURS);
            if (!was_there)
                record(CREATED, descriptors[fd].inode, 0, name, strlen(name));
            else if ((flags & O_TRUNC) && !is_index(name))
                record(TRUNCATED, descriptors[fd].inode, 0, NULL, 0);
        }
    }
    leave();
    return fd;
}

static int open_any(int at, const char *path, int flags, mode_t mode)
{
    const char *name = ours(path);
    if (name)
        return open_ours(at, path, name, flags, mode);
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (control && fd >= 0 && strcmp(path, folder) == 0)
        remember(fd, FOLDER);
    return fd;
}

#define MODE(flags, mode)                                                                                              \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                             \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

int open(const char *path, int flags, ...)
{
    MODE(flags, mode)
    return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags, mode)
    return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    MODE(flags, mode)
    return open_any(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...)
{
    MODE(flags, mode)
    return open_any(at, path, flags, mode);
}

int close(int fd)
{
    if (what(fd) != ELSEWHERE)
        descriptors[fd].what = ELSEWHERE;
    return (int)syscall(SYS_close, fd);
}

static ssize_t read_any(int fd, void *bytes, size_t length, off_t offset)
{
    ssize_t done = -1;
    int counts = what(fd) == FILE_OF_OURS || what(fd) == INDEX;
    if (!counts || enter(READ, "read"))
        done = offset < 0 ? syscall(SYS_read, fd, bytes, length) : syscall(SYS_pread64, fd, bytes, length, offset);
    if (counts)
        leave();
    return done;
}

ssize_t read(int fd, void *bytes, size_t length)
{
    return read_any(fd, bytes, length, -1);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t offset)
{
    return read_any(fd, bytes, length, offset);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t offset)
{
    return read_any(fd, bytes, length, offset);
}

/* A disk fills up in the middle of a write: the first that fails is cut short, which is no error yet. */
static int fills_up_here(void)
{
    return control->fail_with == ENOSPC && control->calls == control->fail_from && control->fail_for > 1;
}

static ssize_t write_ours(int fd, const void *bytes, size_t length, off_t offset)
{
    ssize_t done = -1;
    int goes = enter(WRITE, "write");
    if (!goes && fills_up_here() && length > 1)
        goes = 2;
    if (goes) {
        int halved = goes == 2 || (control->calls == control->end_at && control->end_where == AMID);
        size_t most = halved ? length / 2 : length;
        off_t at = offset < 0 ? lseek(fd, 0, SEEK_CUR) : offset;
        done = offset < 0 ? syscall(SYS_write, fd, bytes, most) : syscall(SYS_pwrite64, fd, bytes, most, offset);
        if (done > 0 && what(fd) == FILE_OF_OURS)
            record(WROTE, descriptors[fd].inode, (uint64_t)at, bytes, (uint64_t)done);
    }
    leave();
    return done;
}

static ssize_t write_any(int fd, const void *bytes, size_t length, off_t offset)
{
    if (what(fd) == FILE_OF_OURS || what(fd) == INDEX)
        return write_ours(fd, bytes, length, offset);
    return offset < 0 ? syscall(SYS_write, fd, bytes, length) : syscall(SYS_pwrite64, fd, bytes, length, offset);
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    return write_any(fd, bytes, length, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
    return write_any(fd, bytes, length, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
    return write_any(fd, bytes, length, offset);
}

int ftruncate(int fd, off_t length)
{
    int counts = what(fd) == FILE_OF_OURS || what(fd) == INDEX, done = -1;
    if (!counts || enter(TRUNCATE, "ftruncate")) {
        done = (int)syscall(SYS_ftruncate, fd, length);
        if (done == 0 && what(fd) == FILE_OF_OURS)
            record(TRUNCATED, descriptors[fd].inode, (uint64_t)length, NULL, 0);
    }
    if (counts)
        leave();
    return done;
}

int ftruncate64(int fd, off64_t length)
{
    return ftruncate(fd, length);
}

/* Nothing is really synced: what a disk would have kept is worked out from the journal. One that fails may lose what it should have
 * written, for good: the system does not try again. */
static int sync_any(int fd)
{
    if (what(fd) == ELSEWHERE)
        return (int)syscall(SYS_fsync, fd);
    int done = enter(SYNC, "fsync") ? 0 : -1, failure = done == 0 ? 0 : errno;
    if (what(fd) == FILE_OF_OURS)
        record(SYNCED, descriptors[fd].inode, (uint64_t)failure, NULL, 0);
    else if (what(fd) == FOLDER && done == 0)
        record(FOLDER_SYNCED, 0, 0, NULL, 0);
    errno = failure;
    leave();
    return done;
}

int fsync(int fd)
{
    return sync_any(fd);
}

int fdatasync(int fd)
{
    return sync_any(fd);
}

int unlink(const char *path)
{
    const char *name = ours(path);
    int done = -1;
    if (!name)
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (enter(UNLINK, "unlink")) {
        done = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
        if (done == 0)
            record(UNLINKED, 0, 0, name, strlen(name));
    }
    leave();
    return done;
}

int rename(const char *from, const char *to)
{
    const char *old_name = ours(from), *new_name = ours(to);
    int done = -1;
    if (!old_name || !new_name)
        return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (enter(RENAME, "rename")) {
        done = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
        if (done == 0) {
            char both[512];
            int length = snprintf(both, sizeof both, "%s/%s", old_name, new_name);
            record(RENAMED, 0, 0, both, (uint64_t)length);
        }
    }
    leave();
    return done;
}

static void shift(struct timespec *at)
{
    const int64_t second = 1000000000;
    int64_t all = control ? (int64_t)at->tv_sec * second + at->tv_nsec + control->clock_offset : 0;
    if (control) {
        at->tv_sec = all / second;
        at->tv_nsec = all % second;
    }
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    int done = (int)syscall(SYS_clock_gettime, clock, at);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(at);
    return done;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    int done = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return done;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
