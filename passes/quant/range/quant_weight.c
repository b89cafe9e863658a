/* A weight is [outer, channels, inner] around the axis of its cut. Its parts go through strips of 16 lanes: a lane a
 * part where parts are short or neighbours in memory, all lanes for one part where it is long. */
#include "passes/quant/range/quant_weight.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "passes/quant/range/quant_scale.h"

enum {
    LANES = MC_QUANT_LANES,
    LONG = 256,    /* values from which a part gets all lanes */
    TASK = 1 << 15 /* values that a thread takes at once, about */
};

struct parts {
    int64_t outer, channels, inner; /* of the weight */
    int64_t block, blocks; /* elements along the axis a part has, at most; parts along it */
    bool blocked, whole;   /* neither: a part a channel */
    int64_t n, longest;    /* parts; values of one */
};

/* A part is segments of `run` values that lie `jump` apart. */
struct part {
    int64_t at, n, run, jump;
};

static int cut_parts(const struct mc_shape *shape, const struct mc_quant_cut *cut,
                     struct parts *ret, struct mc_err *err)
{
    int axis = cut->axis, rank = shape->rank;
    if (axis >= rank || (cut->block > 0 && axis < 0))
        return mc_fail(err, MC_ESHAPE, "a weight of %d axes has no axis %d", rank, axis);
    *ret = (struct parts){.outer = 1, .channels = mc_shape_count(shape), .inner = 1};
    ret->whole = axis < 0;
    ret->blocked = cut->block > 0;
    if (!ret->whole) {
        ret->outer = mc_shape_span(shape, 0, axis);
        ret->channels = shape->dim[axis];
        ret->inner = mc_shape_span(shape, axis + 1, rank);
    }
    ret->block = ret->blocked ? cut->block : ret->channels;
    ret->blocks = ret->blocked ? (ret->channels + ret->block - 1) / ret->block : ret->channels;
    ret->n = ret->whole ? 1 : ret->blocked ? ret->outer * ret->blocks * ret->inner : ret->channels;
    ret->longest = ret->whole     ? ret->channels
                   : ret->blocked ? (ret->block < ret->channels ? ret->block : ret->channels)
                                  : ret->outer * ret->inner;
    return 0;
}

static struct part part_at(const struct parts *p, int64_t i)
{
    if (p->whole)
        return (struct part){0, p->channels, p->channels ? p->channels : 1, 0};
    if (!p->blocked)
        return (struct part){i * p->inner, p->outer * p->inner, p->inner, p->channels * p->inner};
    int64_t column = i % p->inner, first = i / p->inner % p->blocks * p->block;
    int64_t row = i / p->inner / p->blocks;
    int64_t n = p->channels - first < p->block ? p->channels - first : p->block;
    struct part r = {(row * p->channels + first) * p->inner + column, n, 1, p->inner};
    if (p->inner == 1)
        r.run = n;
    return r;
}

/* ---- between a weight and strips ---- */

struct job {
    const struct mc_tensor *w;
    const struct mc_quant_type *t;
    struct parts parts;
    enum mc_quant_range_method method;
    enum mc_dtype scale_type;
    int64_t each, tasks; /* parts a strip; strips a task are `strips` */
    int64_t strips;
    struct mc_quant_param *param; /* [parts] */
    uint8_t *q;                   /* [elements] */
    float **room; /* [workers] a strip, and as many bytes; NULL before its first task */
    size_t room_bytes;
    double *error, *square; /* [tasks] */
    int *rc;                /* [tasks] MC_EDATA: NaN or infinity; MC_ENOMEM */
};

static void fetch(const struct mc_tensor *w, int64_t at, int64_t n, float *ret)
{
    size_t bytes = mc_dtype_info((int)w->dtype)->bits / 8;
    const uint8_t *from = w->data + (size_t)at * bytes;
    if (w->dtype == MC_DTYPE_F32)
        memcpy(ret, from, (size_t)n * bytes);
    else
        mc_dtype_to_f32((int)w->dtype, from, ret, (size_t)n, NULL); /* its type was checked */
}

static bool neighbours(const struct job *j, int64_t first, int parts)
{
    struct part a = part_at(&j->parts, first), b = part_at(&j->parts, first + parts - 1);
    return a.run == 1 && b.run == 1 && b.at == a.at + parts - 1 && a.n == b.n;
}

static void gather(const struct job *j, int64_t first, const struct mc_quant_strip *s)
{
    struct part p = part_at(&j->parts, first);
    if (s->wide) {
        memset(s->x + (s->rows - 1) * LANES, 0, LANES * sizeof *s->x);
        for (int64_t i = 0; i < p.n; i += p.run)
            fetch(j->w, p.at + i / p.run * p.jump, p.run, s->x + i);
        return;
    }
    if (s->parts < LANES || p.n < s->rows || !neighbours(j, first, s->parts))
        memset(s->x, 0, (size_t)(s->rows * LANES) * sizeof *s->x);
    if (neighbours(j, first, s->parts)) {
        for (int64_t i = 0; i < p.n; i++)
            fetch(j->w, p.at + i * p.jump, s->parts, s->x + i * LANES);
        return;
    }
    for (int k = 0; k < s->parts; k++) {
        float run[LONG];
        p = part_at(&j->parts, first + k);
        for (int64_t i = 0; i < p.n; i += p.run) {
            fetch(j->w, p.at + i / p.run * p.jump, p.run, run);
            for (int64_t r = 0; r < p.run; r++)
                s->x[(i + r) * LANES + k] = run[r];
        }
    }
}

static void scatter(const struct job *j, int64_t first, const struct mc_quant_strip *s,
                    const uint8_t *q)
{
    struct part p = part_at(&j->parts, first);
    if (s->wide || neighbours(j, first, s->parts)) {
        int64_t run = s->wide ? p.run : s->parts, step = s->wide ? p.run : LANES;
        for (int64_t i = 0; i < p.n / p.run; i++)
            memcpy(j->q + p.at + i * p.jump, q + i * step, (size_t)run);
        return;
    }
    for (int k = 0; k < s->parts; k++) {
        p = part_at(&j->parts, first + k);
        for (int64_t i = 0; i < p.n; i++)
            j->q[p.at + i / p.run * p.jump + i % p.run] = q[i * LANES + k];
    }
}

static void run_task(void *ctx, int64_t task, int worker)
{
    struct job *j = ctx;
    if (!j->room[worker] && !(j->room[worker] = mc_alloc_aligned(j->room_bytes))) {
        j->rc[task] = MC_ENOMEM;
        return;
    }
    for (int64_t i = 0; i < j->strips; i++) {
        int64_t first = (task * j->strips + i) * j->each, left = j->parts.n - first;
        struct mc_quant_strip s = {.x = j->room[worker], .rows = j->parts.longest};
        if (left <= 0)
            break;
        s.parts = (int)(left < j->each ? left : j->each);
        s.wide = j->each == 1;
        if (s.wide)
            s.rows = (part_at(&j->parts, first).n + LANES - 1) / LANES;
        uint8_t *q = (uint8_t *)(s.x + s.rows * LANES);
        gather(j, first, &s);
        if (!mc_quant_strip_finite(&s)) {
            j->rc[task] = MC_EDATA;
            break;
        }
        mc_quant_strip_params(&s, j->t, j->method, j->scale_type, j->param + first);
        mc_quant_strip_round(&s, j->t, j->param + first, q, &j->error[task], &j->square[task]);
        scatter(j, first, &s, q);
    }
}

/* ---- the whole ---- */

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for a quantised weight");
}

static int plan(struct job *j, int workers, struct mc_err *err)
{
    const struct parts *p = &j->parts;
    bool one = p->whole || (p->longest >= LONG && (p->blocked ? p->inner == 1 : p->inner > 1));
    j->each = one ? 1 : LANES;
    int64_t rows = one ? (p->longest + LANES - 1) / LANES : p->longest;
    int64_t strips = (p->n + j->each - 1) / j->each, values = rows * LANES;
    j->strips = values > 0 && values < TASK ? TASK / values : 1;
    j->tasks = values > 0 ? (strips + j->strips - 1) / j->strips : 0;
    j->error = mc_calloc((size_t)j->tasks, sizeof *j->error);
    j->square = mc_calloc((size_t)j->tasks, sizeof *j->square);
    j->rc = mc_calloc((size_t)j->tasks, sizeof *j->rc);
    j->room = mc_calloc((size_t)workers, sizeof *j->room);
    j->room_bytes = (size_t)values * (sizeof(float) + 1);
    return j->error && j->square && j->rc && j->room ? 0 : no_memory(err);
}

static int name_odd(const struct job *j, const char *name, struct mc_err *err)
{
    int64_t n = mc_tensor_count(j->w);
    float x = 0;
    for (int64_t i = 0; i < n; i++) {
        fetch(j->w, i, 1, &x);
        if (!isfinite(x))
            return mc_fail(err, MC_EDATA, "weight '%s': element %lld is %s", name, (long long)i,
                           isnan(x) ? "NaN" : "infinite or beyond the largest float");
    }
    return mc_fail(err, MC_EDATA, "weight '%s' is not finite", name);
}

static enum mc_dtype stored_as(const struct mc_quant_type *t)
{
    if (t->bits > 4)
        return t->is_signed ? MC_DTYPE_I8 : MC_DTYPE_U8;
    if (t->bits > 2)
        return t->is_signed ? MC_DTYPE_I4 : MC_DTYPE_U4;
    return t->is_signed ? MC_DTYPE_I2 : MC_DTYPE_U2;
}

/* Low bits first; bits of the last byte behind the last element are 0. */
static void pack(const uint8_t *q, int64_t n, enum mc_dtype dtype, uint8_t *ret)
{
    int bits = mc_dtype_info((int)dtype)->bits, each = 8 / bits;
    uint8_t mask = (uint8_t)((1 << bits) - 1);
    int64_t full = n / each;
    for (int64_t i = 0; i < full; i++) {
        uint8_t b = 0;
        for (int k = 0; k < each; k++)
            b |= (uint8_t)((q[i * each + k] & mask) << (k * bits));
        ret[i] = b;
    }
    if (n % each)
        ret[full] = 0;
    for (int k = 0; k < n % each; k++)
        ret[full] |= (uint8_t)((q[full * each + k] & mask) << (k * bits));
}

static struct mc_shape scale_shape(const struct mc_shape *w, const struct mc_quant_cut *cut,
                                   const struct parts *p)
{
    struct mc_shape s = *w;
    if (p->whole)
        return mc_shape_of(0, NULL);
    if (!p->blocked)
        return mc_shape_of(1, &p->channels);
    s.dim[cut->axis] = p->blocks;
    return s;
}

static int make_scales(const struct job *j, const struct mc_quant_cut *cut, struct mc_spill *spill,
                       struct mc_quant_weight *ret, struct mc_err *err)
{
    struct mc_shape shape = scale_shape(&j->w->shape, cut, &j->parts);
    enum mc_dtype type = stored_as(j->t);
    size_t n = (size_t)j->parts.n;
    void *scale, *zero;
    bool zeros = true;
    float *f = mc_calloc(n, sizeof *f);
    uint8_t *z = mc_calloc(n, sizeof *z);
    int rc = f && z ? mc_tensor_new(j->scale_type, &shape, spill, &ret->scale, &scale, err)
                    : no_memory(err);
    for (size_t i = 0; i < n && !rc; i++) {
        f[i] = j->param[i].scale;
        z[i] = (uint8_t)j->param[i].zero;
        zeros &= z[i] == 0;
    }
    if (!rc)
        rc = mc_dtype_from_f32((int)j->scale_type, f, scale, n, err);
    if (!rc && !zeros)
        rc = mc_tensor_new(type, &shape, spill, &ret->zero, &zero, err);
    if (!rc && !zeros)
        pack(z, (int64_t)n, type, zero);
    free(f);
    free(z);
    return rc;
}

static int run(struct job *j, const struct mc_quant_cut *cut, struct mc_pool *pool,
               struct mc_spill *spill, struct mc_quant_weight *ret, struct mc_err *err)
{
    enum mc_dtype type = stored_as(j->t);
    int64_t n = mc_tensor_count(j->w);
    void *data;
    double error = 0, square = 0;
    uint8_t *bytes = NULL;
    int rc = mc_tensor_new(type, &j->w->shape, spill, &ret->q, &data, err);
    if (!rc && mc_dtype_info((int)type)->bits < 8 && !(bytes = mc_calloc((size_t)n, 1)))
        rc = no_memory(err);
    if (rc)
        return rc;
    j->q = bytes ? bytes : data;
    mc_pool_run(pool, j->tasks, run_task, j);
    for (int64_t i = 0; i < j->tasks && !rc; i++) {
        error += j->error[i];
        square += j->square[i];
        rc = j->rc[i];
    }
    if (!rc && bytes)
        pack(bytes, n, type, data);
    free(bytes);
    ret->error_square = error;
    ret->error = square > 0 ? sqrt(error / square) : 0;
    return rc ? rc : make_scales(j, cut, spill, ret, err);
}

static bool is_float(enum mc_dtype t)
{
    return t == MC_DTYPE_F32 || t == MC_DTYPE_F16 || t == MC_DTYPE_BF16 || t == MC_DTYPE_F64;
}

int mc_quant_weight_make(const struct mc_tensor *w, const char *name, const struct mc_quant_type *t,
                         const struct mc_quant_cut *cut, enum mc_quant_range_method method,
                         enum mc_dtype scale_type, struct mc_pool *pool, struct mc_spill *spill,
                         struct mc_quant_weight *ret, struct mc_err *err)
{
    struct job j = {.w = w, .t = t, .method = method, .scale_type = scale_type};
    struct mc_quant_weight made = {0};
    int workers = mc_pool_threads(pool);
    if (!is_float(w->dtype) || !is_float(scale_type))
        return mc_fail(err, MC_EDTYPE, "weight '%s' is of type %s", name,
                       mc_dtype_name((int)w->dtype));
    int rc = cut_parts(&w->shape, cut, &j.parts, err);
    if (rc)
        return rc;
    j.param = mc_calloc((size_t)j.parts.n, sizeof *j.param);
    for (int64_t i = 0; j.param && i < j.parts.n; i++)
        j.param[i].scale = 1;
    rc = j.param ? plan(&j, workers, err) : no_memory(err);
    if (!rc)
        rc = run(&j, cut, pool, spill, &made, err);
    if (rc == MC_EDATA)
        rc = name_odd(&j, name, err);
    else if (rc == MC_ENOMEM)
        rc = no_memory(err);
    for (int i = 0; j.room && i < workers; i++)
        free(j.room[i]);
    free(j.room);
    free(j.error);
    free(j.square);
    free(j.rc);
    free(j.param);
    if (rc)
        mc_quant_weight_free(&made);
    else
        *ret = made;
    return rc;
}

void mc_quant_weight_free(struct mc_quant_weight *w)
{
    mc_tensor_unref(w->q);
    mc_tensor_unref(w->scale);
    mc_tensor_unref(w->zero);
    *w = (struct mc_quant_weight){0};
}

int mc_quant_weight_f32(const struct mc_tensor *q, const struct mc_tensor *scale,
                        const struct mc_tensor *zero, const struct mc_quant_cut *cut, float **ret,
                        struct mc_err *err)
{
    struct parts p;
    int64_t n = mc_tensor_count(q);
    int rc = cut_parts(&q->shape, cut, &p, err);
    if (!rc && (mc_tensor_count(scale) != p.n || (zero && mc_tensor_count(zero) != p.n)))
        rc = mc_fail(err, MC_ESHAPE, "%lld scales do not fit a weight of %lld parts",
                     (long long)mc_tensor_count(scale), (long long)p.n);
    if (rc)
        return rc;
    float *x = mc_calloc((size_t)n, sizeof *x), *s = mc_calloc((size_t)p.n, sizeof *s);
    float *z = mc_calloc((size_t)p.n, sizeof *z);
    rc = x && s && z ? 0 : no_memory(err);
    rc = rc ? rc : mc_dtype_to_f32((int)q->dtype, q->data, x, (size_t)n, err);
    rc = rc ? rc : mc_dtype_to_f32((int)scale->dtype, scale->data, s, (size_t)p.n, err);
    if (!rc && zero)
        rc = mc_dtype_to_f32((int)zero->dtype, zero->data, z, (size_t)p.n, err);
    for (int64_t i = 0; i < p.n && !rc; i++) {
        struct part part = part_at(&p, i);
        for (int64_t k = 0; k < part.n; k += part.run)
            for (int64_t r = 0; r < part.run; r++) {
                float *at = x + part.at + k / part.run * part.jump + r;
                *at = (*at - z[i]) * s[i];
            }
    }
    free(s);
    free(z);
    if (rc)
        free(x);
    else
        *ret = x;
    return rc;
}
