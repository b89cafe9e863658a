#include "train/teacher.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/run/session.h"

enum { KEEP_BYTES = 64 << 20 }; /* of a teacher's values for all samples */

struct value {
    struct mc_array out; /* for one batch, when gathered or put together */
    size_t cap;
    size_t row;    /* bytes of a sample */
    uint8_t *kept; /* [samples] rows */
};

struct mc_teacher {
    struct mc_teacher_opts o;
    struct mc_session *session;
    const char **names;
    struct value *values;
    struct mc_array *in; /* for the session */
    int n_in;
    int64_t frozen; /* its batch, 0: any */
    bool sized, keeps;
    uint8_t *have; /* [samples]: rows that are kept */
    uint8_t *part; /* inputs of a part, put together */
    size_t part_cap;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for the teacher");
}

int mc_teacher_new(const struct mc_side *side, const struct mc_teacher_opts *o,
                   struct mc_teacher **ret, struct mc_err *err)
{
    struct mc_teacher *t = calloc(1, sizeof *t);
    if (!t)
        return no_memory(err);
    t->o = *o;
    t->names = mc_calloc(o->n + 1, sizeof *t->names);
    t->values = mc_calloc(o->n + 1, sizeof *t->values);
    t->in = mc_calloc(side->m->graph->n_inputs + 1, sizeof *t->in);
    int rc = t->names && t->values && t->in ? 0 : no_memory(err);
    size_t distinct = 0;
    for (size_t i = 0; i < o->n && !rc; i++) {
        bool seen = false;
        for (size_t k = 0; k < distinct && !seen; k++)
            seen = !strcmp(t->names[k], o->values[i].value);
        if (!seen)
            t->names[distinct++] = o->values[i].value;
    }
    struct mc_session_opts so = {.pool = o->pool, .only = t->names, .n_only = distinct};
    if (!rc)
        rc = mc_session_new(side->m->graph, &so, &t->session, err);
    if (rc) {
        mc_teacher_free(t);
        return rc;
    }
    t->n_in = mc_session_n_inputs(t->session);
    for (int i = 0; i < t->n_in && !o->whole; i++) {
        const struct mc_array *a = mc_session_input(t->session, i);
        if (a->shape.rank > 0 && a->shape.dim[0] > 0)
            t->frozen = a->shape.dim[0];
    }
    *ret = t;
    return 0;
}

void mc_teacher_free(struct mc_teacher *t)
{
    if (!t)
        return;
    for (size_t i = 0; t->values && i < t->o.n; i++) {
        free(t->values[i].out.data);
        free(t->values[i].kept);
    }
    mc_session_free(t->session);
    free(t->names);
    free(t->values);
    free(t->in);
    free(t->have);
    free(t->part);
    free(t);
}

/* ---- one run ---- */

static const struct mc_array *input_for(const struct mc_teacher *t, int i,
                                        const struct mc_array *arrays, int n)
{
    const char *name = mc_session_input(t->session, i)->name;
    for (int k = 0; k < n; k++)
        if (!strcmp(arrays[k].name, name))
            return &arrays[k];
    return t->n_in <= n ? &arrays[i] : NULL;
}

/* Samples [first, first + n) of a as a batch of `want`, the last one repeated. */
static int cut(struct mc_teacher *t, const struct mc_array *a, int64_t first, int64_t n,
               int64_t want, size_t *at, struct mc_array *ret, struct mc_err *err)
{
    size_t row = a->bytes / (size_t)a->shape.dim[0], bytes = row * (size_t)want;
    *ret = *a;
    ret->shape.dim[0] = want;
    ret->bytes = bytes;
    ret->data = (uint8_t *)a->data + (size_t)first * row;
    if (n == want)
        return 0;
    if (*at + bytes > t->part_cap)
        return no_memory(err);
    uint8_t *p = t->part + *at;
    memcpy(p, ret->data, (size_t)n * row);
    for (int64_t i = n; i < want; i++)
        memcpy(p + (size_t)i * row, p + (size_t)(n - 1) * row, row);
    ret->data = p;
    *at += (bytes + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
    return 0;
}

static int reserve_part(struct mc_teacher *t, const struct mc_array *arrays, int n_arrays,
                        int64_t want, struct mc_err *err)
{
    size_t need = 0;
    for (int i = 0; i < n_arrays; i++)
        need += arrays[i].bytes / (size_t)arrays[i].shape.dim[0] * (size_t)want + MC_ALIGN;
    if (need <= t->part_cap)
        return 0;
    free(t->part);
    t->part = mc_alloc_aligned(need);
    t->part_cap = t->part ? need : 0;
    return t->part ? 0 : no_memory(err);
}

/* Samples [first, first + n) through the session as `want`. */
static int run_part(struct mc_teacher *t, const struct mc_array *arrays, int n_arrays,
                    int64_t first, int64_t n, int64_t want, struct mc_err *err)
{
    size_t at = 0;
    int rc = want ? reserve_part(t, arrays, n_arrays, want, err) : 0;
    for (int i = 0; i < t->n_in && !rc; i++) {
        const struct mc_array *a = input_for(t, i, arrays, n_arrays);
        const char *name = mc_session_input(t->session, i)->name;
        if (!a)
            return mc_fail(err, MC_ESHAPE, "the teacher's input '%s' is none of the model's", name);
        t->in[i] = *a;
        if (want)
            rc = cut(t, a, first, n, want, &at, &t->in[i], err);
        t->in[i].name = name;
    }
    return rc ? rc : mc_session_run(t->session, t->in, t->n_in, err);
}

static int reserve_out(struct value *v, size_t bytes, struct mc_err *err)
{
    if (bytes <= v->cap)
        return 0;
    free(v->out.data);
    v->out.data = mc_alloc_aligned(bytes);
    v->cap = v->out.data ? bytes : 0;
    return v->out.data ? 0 : no_memory(err);
}

/* The results of a part, behind those of the parts before. */
static int take_part(struct mc_teacher *t, int64_t first, int64_t n, int64_t want, int64_t all,
                     struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < t->o.n && !rc; i++) {
        const struct mc_array *a = mc_session_value(t->session, t->o.values[i].value);
        struct value *v = &t->values[i];
        if (a->shape.rank < 1 || a->shape.dim[0] != want)
            return mc_fail(
                err, MC_ESHAPE,
                "the teacher is frozen to a batch of %lld, and its '%s' has no batch axis",
                (long long)want, a->name);
        size_t row = a->bytes / (size_t)want;
        rc = reserve_out(v, row * (size_t)all, err);
        if (rc)
            return rc;
        memcpy((uint8_t *)v->out.data + row * (size_t)first, a->data, row * (size_t)n);
        v->out.dtype = a->dtype;
        v->out.shape = a->shape;
        v->out.shape.dim[0] = all;
        v->out.bytes = row * (size_t)all;
    }
    return rc;
}

static int run_frozen(struct mc_teacher *t, const struct mc_array *arrays, int n_arrays, int64_t n,
                      struct mc_err *err)
{
    int rc = 0;
    for (int64_t first = 0; first < n && !rc; first += t->frozen) {
        int64_t part = n - first < t->frozen ? n - first : t->frozen;
        rc = run_part(t, arrays, n_arrays, first, part, t->frozen, err);
        if (!rc)
            rc = take_part(t, first, part, t->frozen, n, err);
    }
    return rc;
}

/* ---- what is kept ---- */

/* After the first run: is a sample a row of every value, and are all of them small? */
static void decide_to_keep(struct mc_teacher *t, const struct mc_array *values, int64_t n)
{
    size_t total = 0;
    t->sized = true;
    bool ok = t->o.samples > 0 && !t->o.whole;
    for (size_t i = 0; i < t->o.n && ok; i++) {
        ok = values[i].shape.rank > 0 && values[i].shape.dim[0] == n;
        t->values[i].row = ok ? values[i].bytes / (size_t)n : 0;
        total += t->values[i].row;
    }
    if (!ok || !mc_size_mul(total, (size_t)t->o.samples, &total) || total > KEEP_BYTES)
        return;
    t->have = mc_calloc((size_t)t->o.samples, 1);
    ok = t->have != NULL;
    for (size_t i = 0; i < t->o.n && ok; i++) {
        t->values[i].kept = malloc(t->values[i].row * (size_t)t->o.samples + 1);
        ok = t->values[i].kept != NULL;
    }
    t->keeps = ok; /* without memory for it everything runs again */
}

static bool all_kept(const struct mc_teacher *t, const int64_t *index, int64_t n)
{
    bool all = t->keeps;
    for (int64_t i = 0; i < n && all; i++)
        all = t->have[index[i]];
    return all;
}

static void keep(struct mc_teacher *t, const struct mc_array *values, const int64_t *index,
                 int64_t n)
{
    for (size_t k = 0; k < t->o.n; k++)
        for (int64_t i = 0; i < n; i++)
            memcpy(t->values[k].kept + (size_t)index[i] * t->values[k].row,
                   (const uint8_t *)values[k].data + (size_t)i * t->values[k].row,
                   t->values[k].row);
    for (int64_t i = 0; i < n; i++)
        t->have[index[i]] = 1;
}

static int gather(struct mc_teacher *t, const int64_t *index, int64_t n, struct mc_err *err)
{
    for (size_t k = 0; k < t->o.n; k++) {
        struct value *v = &t->values[k];
        int rc = reserve_out(v, v->row * (size_t)n, err);
        if (rc)
            return rc;
        for (int64_t i = 0; i < n; i++)
            memcpy((uint8_t *)v->out.data + (size_t)i * v->row, v->kept + (size_t)index[i] * v->row,
                   v->row);
        v->out.shape.dim[0] = n;
        v->out.bytes = v->row * (size_t)n;
    }
    return 0;
}

/* ---- for a batch ---- */

static void hand_out(const struct mc_teacher *t, const struct mc_array *values, int64_t n,
                     struct mc_array *ret)
{
    for (size_t i = 0; i < t->o.n; i++) {
        ret[i] = values[i];
        ret[i].name = t->o.values[i].input;
        int64_t count = mc_shape_count(&ret[i].shape);
        if (t->o.values[i].flat && ret[i].shape.rank != 2 && n && count % n == 0)
            ret[i].shape = mc_shape_of(2, (const int64_t[]){n, count / n});
    }
}

int mc_teacher_run(struct mc_teacher *t, const struct mc_array *arrays, int n_arrays,
                   const int64_t *index, int64_t n, bool fresh, struct mc_array *ret,
                   struct mc_err *err)
{
    bool parts = t->frozen && t->frozen != n;
    bool stored = !fresh && all_kept(t, index, n);
    int rc = stored  ? gather(t, index, n, err)
             : parts ? run_frozen(t, arrays, n_arrays, n, err)
                     : run_part(t, arrays, n_arrays, 0, n, 0, err);
    for (size_t i = 0; i < t->o.n && !rc; i++)
        ret[i] = stored || parts ? t->values[i].out
                                 : *mc_session_value(t->session, t->o.values[i].value);
    if (rc)
        return rc;
    if (!fresh && !t->sized) {
        decide_to_keep(t, ret, n);
        for (size_t i = 0; i < t->o.n; i++) {
            t->values[i].out.dtype = ret[i].dtype;
            t->values[i].out.shape = ret[i].shape;
        }
    }
    if (!fresh && t->keeps && !stored)
        keep(t, ret, index, n);
    hand_out(t, ret, t->o.whole ? 0 : n, ret);
    return 0;
}
