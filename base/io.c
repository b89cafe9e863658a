#include "base/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

/* Reading on behind the end of a mapped file is silent up to the end of its page; ASan is told of it. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, bytes)   ((void)(at), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(at, bytes) ((void)(at), (void)(bytes))
#endif

/* ---- paths ---- */

const char *mc_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *mc_path_ext(const char *path)
{
    const char *base = mc_path_base(path), *dot = strrchr(base, '.');
    return dot && dot != base ? dot : "";
}

const char *mc_path_dir(const char *path, char ret[MC_PATH])
{
    size_t n = (size_t)(mc_path_base(path) - path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n >= MC_PATH)
        n = MC_PATH - 1;
    if (n == 0)
        strcpy(ret, ".");
    else {
        memcpy(ret, path, n);
        ret[n] = 0;
    }
    return ret;
}

bool mc_path_same(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool mc_path_streams(const char *path)
{
    struct stat st;
    return !strcmp(path, "-") ||
           (!stat(path, &st) && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)));
}

/* ---- input ---- */

/* An unlinked temporary file in dir, or -1 with errno. */
static int open_unlinked(const char *dir)
{
#ifdef O_TMPFILE
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
#endif
    char name[MC_PATH + 32];
    snprintf(name, sizeof name, "%s/.mcompress.XXXXXX", dir);
    int f = mkostemp(name, O_CLOEXEC);
    if (f >= 0)
        unlink(name);
    return f;
}

static const char *temp_dir(void)
{
    const char *t = getenv("TMPDIR");
    return t && *t ? t : "/tmp";
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
    while (n) {
        ssize_t w = write(fd, p, n > (1u << 30) ? (1u << 30) : n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return -1;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

/* Copy what cannot be mapped into an unlinked file; returns the new descriptor or -1. */
static int spool(int fd)
{
    int tmp = open_unlinked(temp_dir());
    if (tmp < 0)
        return -1;
    uint8_t buf[1 << 16];
    for (;;) {
        ssize_t r = read(fd, buf, sizeof buf);
        if (r < 0 && errno == EINTR)
            continue;
        if (r == 0)
            return tmp;
        if (r < 0 || write_all(tmp, buf, (size_t)r)) {
            int e = errno;
            close(tmp);
            errno = e;
            return -1;
        }
    }
}

static size_t page_round(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) / page * page;
}

int mc_map_open(const char *path, struct mc_map *ret_map, struct mc_err *err)
{
    static const uint8_t empty[1];
    struct stat st;
    int rc = 0;
    bool is_stdin = !strcmp(path, "-");
    int fd = is_stdin ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st)) {
        rc = mc_fail(err, MC_EOPEN, "cannot open '%s': %s", path, strerror(errno));
        goto out;
    }
    if (S_ISDIR(st.st_mode)) {
        rc = mc_fail(err, MC_EOPEN, "cannot read '%s': it is a folder, not a file", path);
        goto out;
    }
    if (!S_ISREG(st.st_mode)) {
        int tmp = spool(fd);
        if (tmp < 0 || fstat(tmp, &st)) {
            rc = mc_fail(err, MC_EOPEN, "cannot read '%s': %s", path, strerror(errno));
            if (tmp >= 0)
                close(tmp);
            goto out;
        }
        close(fd);
        fd = tmp;
    }
    struct mc_map m = {empty, (size_t)st.st_size, (uint64_t)st.st_dev, (uint64_t)st.st_ino};
    if (m.size) {
        void *p = mmap(NULL, m.size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            rc = mc_fail(err, MC_EOPEN, "cannot map '%s': %s", path, strerror(errno));
            goto out;
        }
        m.data = p;
        ASAN_POISON_MEMORY_REGION(m.data + m.size, page_round(m.size) - m.size);
    }
    *ret_map = m;
out:
    if (fd >= 0)
        close(fd);
    return rc;
}

void mc_map_close(struct mc_map *m)
{
    if (m->data && m->size) {
        ASAN_UNPOISON_MEMORY_REGION(m->data + m->size, page_round(m->size) - m->size);
        munmap((void *)m->data, m->size);
    }
    *m = (struct mc_map){0};
}

void mc_map_cool(const struct mc_map *m, size_t offset, size_t bytes)
{
    assert(offset <= m->size && bytes <= m->size - offset);
    /* Whole pages inside the part; a private read-only mapping never holds anything but the file. */
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t from = page_round(offset), to = (offset + bytes) / page * page;
    if (from < to)
        madvise((void *)(m->data + from), to - from, MADV_DONTNEED);
}

/* ---- output ---- */

enum { OUT_BUFFER = 1 << 18 };

struct mc_out {
    char *path;    /* final name, NULL for stdout */
    bool stream;   /* copied into, never replaced */
    char *partial; /* name of the temporary file, NULL while it is anonymous */
    int fd;
    int error;     /* first errno of a write */
    bool finished; /* flushed, synced and closed for writing */
    uint64_t offset;
    size_t fill;
    uint8_t buffer[OUT_BUFFER];
};

/* Names of partial files, for a signal handler; outputs beyond the table only lose that service. */
enum { PARTIALS = 32 };
static _Atomic(char *) partials[PARTIALS];

static void set_partial(struct mc_out *o, char *name)
{
    char *old = o->partial;
    bool placed = false;
    for (int i = 0; i < PARTIALS && !placed; i++) {
        char *expected = old;
        placed = (old || name) && atomic_compare_exchange_strong(&partials[i], &expected, name);
    }
    o->partial = name;
    free(old);
}

void mc_out_discard_all(void)
{
    for (int i = 0; i < PARTIALS; i++) {
        char *name = atomic_load(&partials[i]);
        if (name)
            unlink(name);
    }
}

static void out_free(struct mc_out *o)
{
    if (o->fd >= 0)
        close(o->fd);
    if (o->partial)
        unlink(o->partial);
    set_partial(o, NULL);
    free(o->path);
    free(o);
}

/* ".NAME.XXXXXX.part" beside path; NULL when out of memory. */
static char *partial_template(const char *path)
{
    char dir[MC_PATH];
    char *t = NULL;
    if (asprintf(&t, "%s/.%.200s.XXXXXX.part", mc_path_dir(path, dir), mc_path_base(path)) < 0)
        return NULL;
    return t;
}

int mc_out_open(const char *path, struct mc_out **ret_out, struct mc_err *err)
{
    struct stat st;
    char dir[MC_PATH];
    bool to_stdout = !strcmp(path, "-");
    if (!to_stdout &&
        (!*path || path[strlen(path) - 1] == '/' || (!stat(path, &st) && S_ISDIR(st.st_mode))))
        return mc_fail(err, MC_EIO, "cannot write '%s': it is a folder; give a file name", path);
    struct mc_out *o = calloc(1, sizeof *o);
    if (!o)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    o->fd = -1;
    o->path = to_stdout ? NULL : strdup(path);
    o->stream = mc_path_streams(path);
    if (o->stream) {
        o->fd = open_unlinked(temp_dir());
    } else {
        mc_path_dir(path, dir);
#ifdef O_TMPFILE
        o->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
#endif
        char *name = o->fd < 0 ? partial_template(path) : NULL;
        if (name)
            o->fd = mkostemps(name, 5, O_CLOEXEC);
        if (name && o->fd >= 0) {
            set_partial(o, name);
            mode_t mask = umask(0);
            umask(mask);
            fchmod(o->fd, 0666 & ~mask);
        } else {
            int e = errno;
            free(name);
            errno = e;
        }
    }
    if (o->fd < 0) {
        int rc = mc_fail(err, MC_EIO, "cannot write into folder '%s': %s",
                         o->stream ? temp_dir() : dir, strerror(errno));
        out_free(o);
        return rc;
    }
    *ret_out = o;
    return 0;
}

static void out_flush(struct mc_out *o)
{
    if (!o->error && o->fill && write_all(o->fd, o->buffer, o->fill))
        o->error = errno ? errno : EIO;
    o->fill = 0;
}

void mc_out_write(struct mc_out *o, const void *data, size_t bytes)
{
    assert(!o->finished);
    o->offset += bytes;
    if (bytes > OUT_BUFFER - o->fill)
        out_flush(o);
    if (bytes >= OUT_BUFFER) {
        if (!o->error && write_all(o->fd, data, bytes))
            o->error = errno ? errno : EIO;
    } else if (bytes) {
        memcpy(o->buffer + o->fill, data, bytes);
        o->fill += bytes;
    }
}

uint64_t mc_out_offset(const struct mc_out *o)
{
    return o->offset;
}

int mc_out_finish(struct mc_out *o, struct mc_err *err)
{
    if (!o->finished) {
        out_flush(o);
        if (!o->error && fsync(o->fd) && errno != EINVAL && errno != ENOTSUP)
            o->error = errno;
        o->finished = true;
    }
    if (!o->error)
        return 0;
    return mc_fail(err, MC_EIO, "cannot write '%s': %s", o->path ? o->path : "standard output",
                   strerror(o->error));
}

/* Give an anonymous file a name beside its target, so that rename can replace the target. */
static int out_name(struct mc_out *o)
{
    if (o->partial)
        return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", o->fd);
    for (int attempt = 0; attempt < 100; attempt++) {
        char *name = partial_template(o->path);
        if (!name)
            return -1;
        char *x = strstr(name, ".XXXXXX.part");
        /* The last match is ours even if the user's own name holds the same letters. */
        for (char *next = x; next; next = strstr(next + 1, ".XXXXXX.part"))
            x = next;
        char digits[8];
        snprintf(digits, sizeof digits, "%06x",
                 (unsigned)((unsigned)getpid() * 2654435761u + (unsigned)attempt * 40503u) &
                     0xffffff);
        memcpy(x + 1, digits, 6);
        if (!linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW)) {
            set_partial(o, name);
            return 0;
        }
        int e = errno;
        free(name);
        errno = e;
        if (e != EEXIST)
            return -1;
    }
    return -1;
}

const char *mc_out_peek(const struct mc_out *o, char ret[MC_PATH])
{
    assert(o->finished);
    if (o->partial)
        snprintf(ret, MC_PATH, "%s", o->partial);
    else
        snprintf(ret, MC_PATH, "/proc/self/fd/%d", o->fd);
    return ret;
}

static int copy_into(struct mc_out *o, int fd)
{
    if (lseek(o->fd, 0, SEEK_SET) < 0)
        return -1;
    uint8_t buf[1 << 16];
    for (;;) {
        ssize_t r = read(o->fd, buf, sizeof buf);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return (int)r;
        if (write_all(fd, buf, (size_t)r))
            return -1;
    }
}

static int copy_to_stream(struct mc_out *o)
{
    int fd = open(o->path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = copy_into(o, fd);
    int e = errno;
    if (close(fd) && !rc)
        return -1;
    errno = e;
    return rc;
}

int mc_out_commit(struct mc_out *o, struct mc_err *err)
{
    int rc = mc_out_finish(o, err);
    if (!rc) {
        if (!o->path) {
            if (copy_into(o, 1))
                rc = mc_fail(err, MC_EIO, "cannot write standard output: %s", strerror(errno));
        } else if (o->stream) {
            if (copy_to_stream(o))
                rc = mc_fail(err, MC_EIO, "cannot write '%s': %s", o->path, strerror(errno));
        } else if (out_name(o) || rename(o->partial, o->path)) {
            rc = mc_fail(err, MC_EIO, "cannot write '%s': %s", o->path, strerror(errno));
        } else {
            set_partial(o, NULL);
        }
    }
    out_free(o);
    return rc;
}

void mc_out_abort(struct mc_out *o)
{
    if (o)
        out_free(o);
}

/* ---- spill ---- */

struct mc_spill {
    int fd;
    uint64_t end;
    char *dir;
    pthread_mutex_t lock;
};

int mc_spill_new(const char *dir, struct mc_spill **ret_spill, struct mc_err *err)
{
    if (!dir)
        dir = temp_dir();
    struct mc_spill *s = calloc(1, sizeof *s);
    if (!s || !(s->dir = strdup(dir))) {
        free(s);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    s->fd = open_unlinked(dir);
    if (s->fd < 0) {
        int rc = mc_fail(err, MC_EIO, "cannot write into folder '%s': %s", dir, strerror(errno));
        free(s->dir);
        free(s);
        return rc;
    }
    pthread_mutex_init(&s->lock, NULL);
    *ret_spill = s;
    return 0;
}

void mc_spill_free(struct mc_spill *s)
{
    if (!s)
        return;
    close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s->dir);
    free(s);
}

int mc_spill_alloc(struct mc_spill *s, size_t bytes, void **ret_data, struct mc_err *err)
{
    if (bytes > SIZE_MAX / 4)
        return mc_fail(err, MC_ENOMEM, "out of memory (%zu bytes)", bytes);
    size_t size = page_round(bytes ? bytes : 1);
    pthread_mutex_lock(&s->lock);
    uint64_t at = s->end;
    /* posix_fallocate reserves the blocks now: a full disk is an error here, not a SIGBUS later. */
    int e = posix_fallocate(s->fd, (off_t)at, (off_t)size);
    if (!e)
        s->end += size;
    pthread_mutex_unlock(&s->lock);
    if (e)
        return mc_fail(err, MC_EIO, "no room for %zu bytes of scratch space in '%s': %s", size,
                       s->dir, strerror(e));
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, (off_t)at);
    if (p == MAP_FAILED)
        return mc_fail(err, MC_ENOMEM, "cannot map %zu bytes of scratch space: %s", size,
                       strerror(errno));
    *ret_data = p;
    return 0;
}

void mc_spill_release(struct mc_spill *s, void *data, size_t bytes)
{
    (void)s;
    if (!data)
        return;
    size_t size = page_round(bytes ? bytes : 1);
    madvise(data, size, MADV_REMOVE); /* gives the blocks back to the file system where it can */
    munmap(data, size);
}

int mc_spill_append(struct mc_spill *s, const void *data, size_t n, struct mc_err *err)
{
    const char *from = data;
    uint64_t at = s->end;
    while (n) {
        ssize_t done = pwrite(s->fd, from, n, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return mc_fail(err, MC_EIO, "no room for %zu bytes of scratch space in '%s': %s", n,
                           s->dir, done ? strerror(errno) : "nothing is written");
        from += done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    s->end = at;
    return 0;
}

int mc_spill_pread(const struct mc_spill *s, uint64_t at, void *dst, size_t n, struct mc_err *err)
{
    char *to = dst;
    while (n) {
        ssize_t done = pread(s->fd, to, n, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return mc_fail(err, MC_EIO, "cannot read scratch space in '%s': %s", s->dir,
                           done ? strerror(errno) : "it ends too early");
        to += done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return 0;
}

/* ---- process ---- */

uint64_t mc_peak_rss(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) ? 0 : (uint64_t)u.ru_maxrss * 1024;
}

double mc_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
