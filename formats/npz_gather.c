#include "formats/npz_gather.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "formats/zip_write.h"

enum { BLOCK = 4 << 20 }; /* spill space is taken in pieces of at least this many bytes */

struct block {
    struct block *next;
    uint8_t *data;
    size_t size, used;
};

struct piece { /* of one sample */
    int64_t index;
    struct mc_shape shape;
    enum mc_dtype dtype;
    bool rows;
    const uint8_t *data;
    size_t bytes;
};

struct series { /* of one name */
    const char *name;
    struct piece *pieces;
    size_t n, cap;
};

struct mc_npz_gather {
    struct mc_arena arena;
    struct mc_out *out;
    struct mc_spill *spill;
    struct block *blocks;
    struct series *series;
    size_t n, cap;
};

int mc_npz_gather_new(const char *path, struct mc_npz_gather **ret, struct mc_err *err)
{
    struct mc_npz_gather *g = mc_calloc(1, sizeof *g);
    if (!g)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_out_open(path, &g->out, err);
    if (!rc)
        rc = mc_spill_new(NULL, &g->spill, err);
    if (rc)
        mc_npz_gather_abort(g);
    else
        *ret = g;
    return rc;
}

void mc_npz_gather_abort(struct mc_npz_gather *g)
{
    if (!g)
        return;
    mc_out_abort(g->out);
    for (struct block *b = g->blocks; b; b = b->next)
        mc_spill_release(g->spill, b->data, b->size);
    mc_spill_free(g->spill);
    for (size_t i = 0; i < g->n; i++)
        free(g->series[i].pieces);
    free(g->series);
    mc_arena_free(&g->arena);
    free(g);
}

/* ---- adding ---- */

static int room(struct mc_npz_gather *g, size_t bytes, uint8_t **ret, struct mc_err *err)
{
    struct block *b = g->blocks;
    if (!b || b->size - b->used < bytes) {
        void *data;
        size_t size = bytes > BLOCK ? bytes : BLOCK;
        b = mc_arena_alloc(&g->arena, sizeof *b);
        if (!b)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        int rc = mc_spill_alloc(g->spill, size, &data, err);
        if (rc)
            return rc;
        *b = (struct block){g->blocks, data, size, 0};
        g->blocks = b;
    }
    *ret = b->data + b->used;
    b->used += bytes;
    return 0;
}

/* Where numpy has no such type, the one that holds it. */
static enum mc_dtype stored_as(enum mc_dtype d)
{
    const struct mc_dtype_info *t = mc_dtype_info(d);
    if (t->bits < 8 && t->kind == MC_KIND_INT)
        return MC_DTYPE_I8;
    if (t->bits < 8 && t->kind == MC_KIND_UINT)
        return MC_DTYPE_U8;
    bool known = t->bits > 8 || t->kind != MC_KIND_FLOAT;
    return known && d != MC_DTYPE_BF16 ? d : MC_DTYPE_F32;
}

static int store(const struct mc_array *a, enum mc_dtype to, size_t n, uint8_t *dst,
                 struct mc_err *err)
{
    if (to == a->dtype) {
        memcpy(dst, a->data, n * mc_dtype_info(to)->bits / 8);
        return 0;
    }
    float *wide = mc_calloc(n + 1, sizeof *wide);
    if (!wide)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_dtype_to_f32(a->dtype, a->data, wide, n, err);
    if (!rc)
        rc = mc_dtype_from_f32(to, wide, dst, n, err);
    free(wide);
    return rc;
}

static struct series *series_of(struct mc_npz_gather *g, const char *name)
{
    for (size_t i = 0; i < g->n; i++)
        if (!strcmp(g->series[i].name, name))
            return &g->series[i];
    char *kept = mc_arena_strdup(&g->arena, name);
    if (!kept || !MC_GROW(g->series, g->n, g->cap))
        return NULL;
    g->series[g->n] = (struct series){.name = kept};
    return &g->series[g->n++];
}

int mc_npz_gather_add(struct mc_npz_gather *g, const char *name, const struct mc_array *a,
                      const int64_t *index, int64_t n, bool rows, struct mc_err *err)
{
    struct series *s = series_of(g, name);
    enum mc_dtype to = stored_as(a->dtype);
    size_t elements = (size_t)mc_shape_count(&a->shape), bytes;
    uint8_t *data = NULL;
    if (a->dtype == MC_DTYPE_STRING)
        return mc_fail(err, MC_EUNSUP, "output '%s' holds strings, which a .npz cannot hold", name);
    if (!s || !mc_size_mul(elements, mc_dtype_info(to)->bits / 8, &bytes))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = room(g, bytes, &data, err);
    if (!rc && bytes)
        rc = store(a, to, elements, data, err);
    if (rc)
        return rc;
    size_t each = bytes / (size_t)n;
    for (int64_t i = 0; i < n; i++) {
        if (!MC_GROW(s->pieces, s->n, s->cap))
            return mc_fail(err, MC_ENOMEM, "out of memory");
        struct piece *p = &s->pieces[s->n++];
        *p = (struct piece){index[i], a->shape, to, rows, data + (size_t)i * each, each};
        if (rows)
            p->shape.dim[0] /= n;
    }
    return 0;
}

/* ---- writing ---- */

/* The header of a .npy file; its length is a multiple of 64. */
static size_t header(enum mc_dtype dtype, const struct mc_shape *shape, char ret[512])
{
    const struct mc_dtype_info *t = mc_dtype_info(dtype);
    char letter = t->kind == MC_KIND_FLOAT  ? 'f'
                  : t->kind == MC_KIND_INT  ? 'i'
                  : t->kind == MC_KIND_UINT ? 'u'
                  : t->kind == MC_KIND_BOOL ? 'b'
                                            : 'c';
    int n = 10;
    n +=
        snprintf(ret + n, 512 - (size_t)n, "{'descr': '%c%c%d', 'fortran_order': False, 'shape': (",
                 t->bits > 8 ? '<' : '|', letter, t->bits / 8);
    for (int i = 0; i < shape->rank; i++)
        n += snprintf(ret + n, 512 - (size_t)n, "%lld,%s", (long long)shape->dim[i],
                      i + 1 < shape->rank ? " " : "");
    n += snprintf(ret + n, 512 - (size_t)n, "), }");
    while ((n + 1) % 64)
        ret[n++] = ' ';
    ret[n++] = '\n';
    memcpy(ret, "\x93NUMPY\x01\x00", 8);
    ret[8] = (char)((n - 10) & 255);
    ret[9] = (char)((n - 10) >> 8);
    return (size_t)n;
}

static int by_index(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool is_one_array(const struct series *s)
{
    const struct piece *first = &s->pieces[0];
    for (size_t i = 0; i < s->n; i++)
        if (!s->pieces[i].rows || s->pieces[i].dtype != first->dtype ||
            !mc_shape_equal(&s->pieces[i].shape, &first->shape))
            return false;
    return true;
}

static int write_array(struct mc_zip_writer *z, const char *name, const struct piece *p, size_t n,
                       const struct mc_shape *shape, struct mc_err *err)
{
    char head[512];
    size_t n_head = header(p->dtype, shape, head);
    int rc = mc_zip_writer_begin(z, name, err);
    if (!rc)
        mc_zip_writer_data(z, head, n_head);
    for (size_t i = 0; !rc && i < n; i++)
        mc_zip_writer_data(z, p[i].data, p[i].bytes);
    return rc;
}

static int write_series(struct mc_zip_writer *z, struct series *s, struct mc_err *err)
{
    char name[1024];
    qsort(s->pieces, s->n, sizeof *s->pieces, by_index);
    if (is_one_array(s)) {
        struct mc_shape all = s->pieces[0].shape;
        all.dim[0] *= (int64_t)s->n;
        snprintf(name, sizeof name, "%.1000s.npy", s->name);
        return write_array(z, name, s->pieces, s->n, &all, err);
    }
    int rc = 0;
    for (size_t i = 0; !rc && i < s->n; i++) {
        const struct piece *p = &s->pieces[i];
        snprintf(name, sizeof name, "%.980s_%lld.npy", s->name, (long long)p->index);
        rc = write_array(z, name, p, 1, &p->shape, err);
    }
    return rc;
}

int mc_npz_gather_commit(struct mc_npz_gather *g, struct mc_err *err)
{
    struct mc_zip_writer *z;
    int rc = mc_zip_writer_new(g->out, &z, err);
    if (rc) {
        mc_npz_gather_abort(g);
        return rc;
    }
    for (size_t i = 0; !rc && i < g->n; i++)
        rc = write_series(z, &g->series[i], err);
    if (rc) {
        mc_zip_writer_free(z);
    } else {
        mc_zip_writer_end(z);
        rc = mc_out_commit(g->out, err);
        g->out = NULL;
    }
    mc_npz_gather_abort(g);
    return rc;
}
