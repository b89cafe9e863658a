#include "formats/rows.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct mc_rows {
    struct mc_narray a;
    const char *spill_dir;
    int64_t count;
    size_t row, item; /* bytes */
    pthread_mutex_t lock;
    struct mc_stream *stream; /* NULL: not started, or no longer needed */
    int64_t next;             /* row the stream stands before; -1: unusable until rewound */
    bool reached;             /* every row can be: */
    const uint8_t *all;       /* from memory, row 0 is here; NULL: from `spill` */
    struct mc_spill *spill;
    void *spilled; /* a block of it, where rows are not contiguous */
};

int mc_rows_new(const struct mc_narray *a, const char *spill_dir, struct mc_rows **ret,
                struct mc_err *err)
{
    struct mc_rows *r = calloc(1, sizeof *r);
    if (!r)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    r->a = *a;
    r->spill_dir = spill_dir;
    r->count = a->shape.dim[0];
    r->item = mc_dtype_info(a->dtype)->bits / 8;
    r->row = (size_t)mc_shape_span(&a->shape, 1, a->shape.rank) * r->item;
    r->next = -1;
    /* In one dimension both orders are the same. */
    r->a.fortran = a->fortran && a->shape.rank > 1;
    pthread_mutex_init(&r->lock, NULL);
    *ret = r;
    return 0;
}

void mc_rows_free(struct mc_rows *r)
{
    if (!r)
        return;
    mc_stream_free(r->stream);
    if (r->spill)
        mc_spill_release(r->spill, r->spilled, r->row * (size_t)r->count);
    mc_spill_free(r->spill);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

size_t mc_rows_bytes(const struct mc_rows *r)
{
    return r->row;
}

bool mc_rows_spilled(const struct mc_rows *r)
{
    return r->spill != NULL;
}

/* Stand before row 0. */
static int restart(struct mc_rows *r, struct mc_err *err)
{
    int rc = 0;
    r->next = -1;
    if (r->stream)
        mc_stream_rewind(r->stream);
    else
        rc = mc_stream_new(&r->a.src, r->a.what, &r->stream, err);
    if (!rc)
        rc = mc_stream_read(r->stream, NULL, r->a.skip, err);
    if (!rc)
        r->next = 0;
    return rc;
}

/* One step of the stream: rows up to but not including `to`, the last `keep` bytes of them to dst. */
static int advance(struct mc_rows *r, int64_t to, uint8_t *dst, struct mc_err *err)
{
    int64_t at = r->next;
    r->next = -1; /* stays so on failure */
    int rc = mc_stream_read(r->stream, NULL, (size_t)(to - 1 - at) * r->row, err);
    if (!rc)
        rc = mc_stream_read(r->stream, dst, r->row, err);
    if (!rc && to == r->count)
        rc = mc_stream_finish(r->stream, err);
    if (!rc)
        r->next = to;
    return rc;
}

static int stream_rows(struct mc_rows *r, const int64_t *index, int64_t n, uint8_t *dst,
                       struct mc_err *err)
{
    int rc = 0;
    if (r->next < 0 || index[0] < r->next)
        rc = restart(r, err);
    for (int64_t i = 0; !rc && i < n; i++) {
        uint8_t *to = dst + (size_t)i * r->row;
        if (i && index[i] == index[i - 1])
            memcpy(to, to - r->row, r->row);
        else
            rc = advance(r, index[i] + 1, to, err);
    }
    return rc;
}

/* Inflate all rows into spill space: to be read from there, row by row, so that they take no memory however
 * many they are; a column-major array is mapped. */
static int inflate_all(struct mc_rows *r, size_t bytes, struct mc_err *err)
{
    enum { CHUNK = 1 << 20 };
    int rc = mc_spill_new(r->spill_dir, &r->spill, err);
    if (rc)
        return rc;
    if (r->a.fortran) {
        rc = mc_spill_alloc(r->spill, bytes, &r->spilled, err);
        return rc ? rc : mc_stream_read(r->stream, r->spilled, bytes, err);
    }
    uint8_t *chunk = malloc(CHUNK);
    if (!chunk)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t done = 0, n; !rc && done < bytes; done += n) {
        n = bytes - done < CHUNK ? bytes - done : CHUNK;
        rc = mc_stream_read(r->stream, chunk, n, err);
        if (!rc)
            rc = mc_spill_append(r->spill, chunk, n, err);
    }
    free(chunk);
    return rc;
}

/* Make every row addressable. */
static int reach_all(struct mc_rows *r, struct mc_err *err)
{
    bool plain = r->a.src.form == MC_STREAM_PLAIN;
    size_t bytes = r->row * (size_t)r->count;
    int rc = 0;
    if (!plain || r->a.src.has_crc) {
        rc = restart(r, err);
        if (!rc)
            rc = plain ? mc_stream_read(r->stream, NULL, bytes, err) : inflate_all(r, bytes, err);
        if (!rc)
            rc = mc_stream_finish(r->stream, err);
    }
    r->next = -1;
    if (rc) {
        if (r->spill)
            mc_spill_release(r->spill, r->spilled, bytes);
        mc_spill_free(r->spill);
        r->spill = NULL;
        r->spilled = NULL;
        return rc;
    }
    mc_stream_free(r->stream);
    r->stream = NULL;
    r->all = plain ? r->a.src.map->data + r->a.src.offset + r->a.skip : r->spilled;
    r->reached = true;
    return 0;
}

/* Row i of a column-major array: element (i, j, k, …) lies at i + d0 (j + d1 (k + …)). */
static void gather(const struct mc_rows *r, const uint8_t *all, int64_t row, uint8_t *dst)
{
    const struct mc_shape *s = &r->a.shape;
    int64_t at[MC_RANK_MAX] = {0};
    size_t stride[MC_RANK_MAX];
    stride[0] = r->item;
    for (int d = 1; d < s->rank; d++)
        stride[d] = stride[d - 1] * (size_t)s->dim[d - 1];
    const uint8_t *src = all + (size_t)row * r->item;
    for (size_t done = 0; done < r->row; done += r->item) {
        memcpy(dst + done, src, r->item);
        for (int d = s->rank - 1; d > 0; d--) {
            src += stride[d];
            if (++at[d] < s->dim[d])
                break;
            src -= stride[d] * (size_t)s->dim[d];
            at[d] = 0;
        }
    }
}

static bool ascending(const int64_t *index, int64_t n)
{
    for (int64_t i = 1; i < n; i++)
        if (index[i] < index[i - 1])
            return false;
    return true;
}

/* Rows that can be reached. Those that follow each other are read at once. */
static int pick_rows(const struct mc_rows *r, const int64_t *index, int64_t n, uint8_t *dst,
                     struct mc_err *err)
{
    int rc = 0;
    for (int64_t i = 0, run; !rc && i < n; i += run) {
        uint8_t *to = dst + (size_t)i * r->row;
        run = 1;
        if (r->a.fortran) {
            gather(r, r->all, index[i], to);
            continue;
        }
        while (i + run < n && index[i + run] == index[i] + run)
            run++;
        size_t at = (size_t)index[i] * r->row, bytes = (size_t)run * r->row;
        if (r->all)
            memcpy(to, r->all + at, bytes);
        else
            rc = mc_spill_pread(r->spill, at, to, bytes, err);
    }
    return rc;
}

int mc_rows_read(struct mc_rows *r, const int64_t *index, int64_t n, void *dst, struct mc_err *err)
{
    for (int64_t i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= r->count)
            return mc_fail(err, MC_EDATA, "%s has no sample %lld, it has %lld", r->a.what,
                           (long long)index[i], (long long)r->count);
    if (!n || !r->row)
        return 0;
    int rc = 0;
    pthread_mutex_lock(&r->lock);
    if (!r->reached) {
        bool onward = index[0] == 0 || index[0] >= (r->next < 0 ? 0 : r->next);
        if (!r->a.fortran && onward && ascending(index, n)) {
            rc = stream_rows(r, index, n, dst, err);
            pthread_mutex_unlock(&r->lock);
            return rc;
        }
        rc = reach_all(r, err);
    }
    pthread_mutex_unlock(&r->lock);
    return rc ? rc : pick_rows(r, index, n, dst, err);
}
