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
    int64_t reached;          /* rows before it can be read in any order: */
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
    if (a->src.form == MC_STREAM_PLAIN)
        r->all = a->src.map->data + a->src.offset + a->skip;
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

/* Rows from `reached` up to `to` go on into spill space, to be read from there, so that they take no memory however
 * many they are; those of a plain source are where they are, and only pass by their checksum. */
static int reach_more(struct mc_rows *r, int64_t to, struct mc_err *err)
{
    enum { CHUNK = 1 << 20 };
    int64_t each = r->row < CHUNK ? (int64_t)(CHUNK / r->row) : 1;
    bool plain = r->a.src.form == MC_STREAM_PLAIN;
    uint8_t *chunk = plain ? NULL : malloc((size_t)each * r->row);
    int rc = chunk || plain ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc && !plain && !r->spill)
        rc = mc_spill_new(r->spill_dir, &r->spill, err);
    if (!rc && (r->next < 0 || r->next > r->reached))
        rc = restart(r, err);
    if (!rc && r->next < r->reached) {
        int64_t before = r->reached - r->next;
        r->next = -1;
        rc = mc_stream_read(r->stream, NULL, (size_t)before * r->row, err);
    }
    while (!rc && r->reached < to) {
        int64_t n = to - r->reached < each ? to - r->reached : each;
        r->next = -1;
        rc = mc_stream_read(r->stream, chunk, (size_t)n * r->row, err);
        if (!rc && r->reached + n == r->count)
            rc = mc_stream_finish(r->stream, err);
        if (!rc && !plain)
            rc = mc_spill_append(r->spill, chunk, (size_t)n * r->row, err);
        if (!rc)
            r->next = r->reached += n;
    }
    free(chunk);
    return rc;
}

/* All rows of a column-major array, in memory or mapped spill space. */
static int reach_columns(struct mc_rows *r, struct mc_err *err)
{
    bool plain = r->a.src.form == MC_STREAM_PLAIN;
    size_t bytes = r->row * (size_t)r->count;
    int rc = restart(r, err);
    r->next = -1;
    if (!rc && !plain)
        rc = mc_spill_new(r->spill_dir, &r->spill, err);
    if (!rc && !plain)
        rc = mc_spill_alloc(r->spill, bytes, &r->spilled, err);
    if (!rc)
        rc = mc_stream_read(r->stream, r->spilled, bytes, err);
    if (!rc)
        rc = mc_stream_finish(r->stream, err);
    if (rc) {
        if (r->spill)
            mc_spill_release(r->spill, r->spilled, bytes);
        mc_spill_free(r->spill);
        r->spill = NULL;
        r->spilled = NULL;
        return rc;
    }
    r->reached = r->count;
    if (!plain)
        r->all = r->spilled;
    return 0;
}

/* Make rows up to `to` addressable, and twice what was: so that scattered ones do not start again and again. */
static int reach(struct mc_rows *r, int64_t to, struct mc_err *err)
{
    int64_t more = r->reached < r->count / 2 ? 2 * r->reached : r->count;
    int rc = r->a.fortran ? reach_columns(r, err) : reach_more(r, to > more ? to : more, err);
    if (rc)
        return rc;
    if (r->reached == r->count) {
        mc_stream_free(r->stream);
        r->stream = NULL;
        r->next = -1;
    }
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
    int64_t last = index[0];
    for (int64_t i = 1; i < n; i++)
        last = index[i] > last ? index[i] : last;
    int rc = 0;
    pthread_mutex_lock(&r->lock);
    if (last >= r->reached) {
        bool onward = index[0] == 0 || index[0] >= (r->next < 0 ? 0 : r->next);
        if (!r->a.fortran && onward && ascending(index, n)) {
            rc = stream_rows(r, index, n, dst, err);
            pthread_mutex_unlock(&r->lock);
            return rc;
        }
        rc = reach(r, last + 1, err);
    }
    pthread_mutex_unlock(&r->lock);
    return rc ? rc : pick_rows(r, index, n, dst, err);
}
