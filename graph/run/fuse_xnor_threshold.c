#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/run/fuse_xnor.h"

enum { MOST_IN = 8 }; /* inputs of a step between */

struct probe {
    const struct mc_xnor_link *l;
    int64_t n;
    const float *scale, *bias; /* of the head */
    float *t;                  /* [n] of the reader */
    float *lo, *hi, *mid;      /* [n] sums */
    float *first, *value, *next;
    uint8_t *low, *high, *bit, *rising; /* [n] decisions; is a maximum that of the largest sum? */
};

static const struct mc_buf *constant(const struct probe *p, const struct mc_value *v)
{
    struct mc_integers f = p->l->f;
    return mc_integer_constant(&f, v);
}

/* One step on one number a channel, value to next. */
static bool step(struct probe *p, const struct mc_step *st)
{
    struct mc_buf in[MOST_IN] = {{0}}, out = st->call.out[0];
    struct mc_call c = {.node = st->call.node,
                        .op = st->call.op,
                        .n_in = st->call.n_in,
                        .n_out = 1,
                        .in = in,
                        .out = &out};
    struct mc_err err;
    int channel = p->l->conv ? 1 : out.shape.rank - 1;
    if (c.n_in > MOST_IN)
        return false;
    for (int d = 0; d < out.shape.rank; d++)
        out.shape.dim[d] = d == channel ? p->n : 1;
    out.data = p->next;
    for (int j = 0; j < c.n_in; j++) {
        const struct mc_buf *b = st->in[j] ? constant(p, st->in[j]) : NULL;
        if (b)
            in[j] = *b;
        else if (st->in[j])
            in[j] = (struct mc_buf){.dtype = out.dtype, .shape = out.shape, .data = p->value};
    }
    c.k = mc_run_kernels(p->l->f.s, &c);
    if (mc_eval_call(&c, &err))
        return false;
    float *made = p->next;
    p->next = p->value;
    p->value = made;
    return true;
}

static bool steps(struct probe *p, int from, int to)
{
    const struct mc_plan *plan = p->l->f.p;
    for (int i = from; i < to; i++) {
        const struct mc_step *st = &plan->steps[p->l->between[i]];
        if (i != p->l->pool && !(st->call.op->flags & MC_OP_VIEW) && !step(p, st))
            return false;
    }
    return true;
}

/* Signs that the reader takes of these sums, and the values of a maximum before it. */
static bool decide(struct probe *p, const float *sums, uint8_t *bit, float *before)
{
    for (int64_t j = 0; j < p->n; j++) {
        p->value[j] = sums[j] * p->scale[j];
        p->value[j] = p->value[j] + p->bias[j];
    }
    if (!steps(p, 0, p->l->pool))
        return false;
    if (before)
        memcpy(before, p->value, (size_t)p->n * sizeof *before);
    if (!steps(p, p->l->pool, p->l->n))
        return false;
    for (int64_t j = 0; j < p->n; j++)
        bit[j] = !(p->value[j] < p->t[j]);
    return true;
}

static bool all_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* At both ends: finite there is finite between. */
static bool ends(struct probe *p)
{
    if (!decide(p, p->lo, p->low, p->first) || !all_finite(p->value, p->n) ||
        !all_finite(p->first, p->n))
        return false;
    if (!decide(p, p->hi, p->high, p->mid) || !all_finite(p->value, p->n) ||
        !all_finite(p->mid, p->n))
        return false;
    for (int64_t j = 0; j < p->n; j++)
        p->rising[j] = p->first[j] <= p->mid[j];
    return true;
}

/* hi becomes the least sum whose sign is that of the largest. */
static bool bisect(struct probe *p, int64_t k)
{
    for (int64_t left = 2 * k; left > 1; left = (left + 1) / 2) {
        for (int64_t j = 0; j < p->n; j++)
            p->mid[j] = (float)floor(((double)p->lo[j] + (double)p->hi[j]) / 2);
        if (!decide(p, p->mid, p->bit, NULL))
            return false;
        for (int64_t j = 0; j < p->n; j++)
            *(p->bit[j] == p->low[j] ? &p->lo[j] : &p->hi[j]) = p->mid[j];
    }
    return true;
}

/* One threshold of the reader for each channel. */
static bool reader_threshold(struct probe *p)
{
    const struct mc_step *st = &p->l->f.p->steps[p->l->reader];
    const struct mc_buf *t = constant(p, st->in[MC_XNOR_T]);
    int64_t n = t ? mc_op_count(t) : 0, each = p->l->flat ? p->l->pixels : 1;
    if (!t || t->dtype != MC_DTYPE_F32 || (t->shape.rank > 0 && n != p->n * each))
        return false;
    const float *v = t->data;
    for (int64_t j = 0; j < p->n; j++) {
        p->t[j] = t->shape.rank > 0 ? v[j * each] : v[0];
        for (int64_t i = 0; i < each && t->shape.rank > 0; i++)
            if (v[j * each + i] != p->t[j])
                return false;
    }
    return true;
}

static bool give(const struct probe *p, struct mc_xnor_bits *ret)
{
    struct mc_arena *mem = &p->l->f.p->mem;
    int32_t *least = mc_arena_array(mem, (size_t)p->n, sizeof *least);
    int32_t *most = mc_arena_array(mem, (size_t)p->n, sizeof *most);
    uint32_t *turned = mc_arena_array(mem, (size_t)MC_XNOR_WORDS(p->n), sizeof *turned);
    if (!least || !most || !turned)
        return false;
    for (int64_t j = 0; j < p->n; j++) {
        /* A maximum is that of the largest sum, or of the least, and the sign a 1 from some sum on, or up to it. Where not one
         * but all of a window have to be 1, not one may be 0. */
        bool all = ret->pool && p->rising[j] != p->high[j];
        bool low = p->low[j] != all, high = p->high[j] != all;
        int32_t at = (int32_t)p->hi[j];
        least[j] = low ? INT32_MIN : high ? at : INT32_MAX;
        most[j] = high ? INT32_MAX : low ? at - 1 : INT32_MIN;
        turned[j / 32] |= (uint32_t)all << j % 32;
    }
    ret->least = least;
    ret->most = most;
    ret->turned = turned;
    return true;
}

bool mc_xnor_thresholds(const struct mc_xnor_link *l, struct mc_xnor_bits *ret)
{
    const struct mc_step *head = &l->f.p->steps[l->head];
    struct mc_xnor_sizes s;
    struct mc_err err;
    struct probe p = {.l = l, .n = l->filters};
    const struct mc_buf *scale = constant(&p, head->in[MC_XNOR_S]);
    const struct mc_buf *bias = constant(&p, head->in[MC_XNOR_B]);
    float **const parts[] = {&p.t, &p.lo, &p.hi, &p.mid, &p.first, &p.value, &p.next};
    enum { PARTS = sizeof parts / sizeof *parts };
    size_t each = ((size_t)p.n * sizeof(float) + MC_ALIGN - 1) / MC_ALIGN * MC_ALIGN;
    if (!scale || !bias || mc_xnor_weight(head->call.node, &s, &err))
        return false;
    char *block = mc_alloc_aligned((PARTS + 1) * each);
    if (!block)
        return false;
    for (size_t i = 0; i < PARTS; i++)
        *parts[i] = (float *)(block + i * each);
    uint8_t *bytes = (uint8_t *)(block + PARTS * each);
    p.low = bytes;
    p.high = bytes + p.n;
    p.bit = bytes + 2 * p.n;
    p.rising = bytes + 3 * p.n;
    p.scale = scale->data;
    p.bias = bias->data;
    for (int64_t j = 0; j < p.n; j++) {
        p.lo[j] = (float)-s.k;
        p.hi[j] = (float)s.k;
    }
    bool ok = reader_threshold(&p) && ends(&p) && bisect(&p, s.k) && give(&p, ret);
    free(block);
    return ok;
}
