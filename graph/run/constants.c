#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/ops/pack.h"
#include "graph/run/plan.h"
#include "kernels/kernels.h"

/* A node of constants only is computed once at first use of the session if its result has at most this
 * many elements, or is not much larger than what it is made of (8: int4 to float32). Otherwise a broadcast
 * of a scalar would stay in memory for good instead of in the block for a while. */
enum { FOLD_ELEMENTS = 65536, FOLD_GROWTH = 8 };

enum mc_dtype mc_run_dtype(enum mc_precision p, enum mc_dtype d)
{
    enum mc_dtype real = p == MC_PRECISION_F64 ? MC_DTYPE_F64 : MC_DTYPE_F32;
    return d == MC_DTYPE_F16 || d == MC_DTYPE_BF16 || d == MC_DTYPE_F32 ? real : d;
}

const struct mc_kernels *mc_run_kernels(const struct mc_session *s, const struct mc_call *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].dtype == MC_DTYPE_F64)
            return s->kernels64;
    for (int i = 0; i < c->n_out; i++)
        if (c->out[i].dtype == MC_DTYPE_F64)
            return s->kernels64;
    return s->kernels;
}

void mc_const_clear(struct mc_const *c)
{
    free(c->owned);
    mc_tensor_unref(c->tensor);
    *c = (struct mc_const){0};
}

/* The elements of t as `to`, into data. */
static int convert(const struct mc_tensor *t, enum mc_dtype to, void *data, struct mc_err *err)
{
    size_t n = (size_t)mc_tensor_count(t);
    if (to == MC_DTYPE_F64 && to != t->dtype)
        return mc_dtype_to_f64(t->dtype, t->data, data, n, err);
    if (to == MC_DTYPE_F32 && to != t->dtype)
        return mc_dtype_to_f32(t->dtype, t->data, data, n, err);
    if (t->bytes)
        memcpy(data, t->data, t->bytes);
    return 0;
}

/* A constant of t's elements as the session computes with them: borrowed, or memory without content yet. */
static int reserve(struct mc_const *c, enum mc_precision p, const struct mc_tensor *t,
                   struct mc_err *err)
{
    enum mc_dtype dtype = mc_run_dtype(p, t->dtype);
    size_t bytes;
    if (!mc_dtype_bytes(dtype, mc_tensor_count(t), &bytes))
        return mc_fail(err, MC_EDTYPE, "constants of type %s cannot be computed with",
                       mc_dtype_name(dtype));
    struct mc_buf buf = {dtype, true, t->shape, NULL};
    if (dtype == t->dtype && t->data && (uintptr_t)t->data % MC_ALIGN == 0) {
        buf.data = (void *)(uintptr_t)t->data;
        *c = (struct mc_const){.buf = buf, .type = t->dtype, .tensor = mc_tensor_ref(t)};
        return 0;
    }
    void *data = mc_alloc_aligned(bytes);
    if (!data)
        return mc_fail(err, MC_ENOMEM, "out of memory: %zu bytes for a constant", bytes);
    buf.data = data;
    *c = (struct mc_const){.buf = buf, .type = t->dtype, .owned = data, .cool = true};
    return 0;
}

int mc_const_warm(struct mc_const *c, const struct mc_tensor *t, struct mc_err *err)
{
    if (!c->cool)
        return 0;
    int rc = convert(t, c->buf.dtype, c->buf.data, err);
    mc_tensor_cool(t);
    c->cool = rc != 0;
    return rc;
}

int mc_const_set(struct mc_const *c, enum mc_precision p, const struct mc_tensor *t,
                 struct mc_err *err)
{
    struct mc_const made = {0};
    int rc = reserve(&made, p, t, err);
    rc = rc ? rc : mc_const_warm(&made, t, err);
    if (rc)
        mc_const_clear(&made);
    else
        *c = made;
    return rc;
}

/* Constant for every signature: an initializer, a Constant node, or folded from those. */
static int session_const(struct mc_session *s, const struct mc_value *v,
                         const struct mc_const **ret, struct mc_err *err)
{
    struct mc_const *c = &s->consts[v->index];
    *ret = c;
    const struct mc_tensor *t = mc_constant(v);
    int rc = 0;
    if (!c->buf.data && !t) {
        *ret = NULL;
        return 0;
    }
    if (!c->buf.data && !(rc = reserve(c, s->precision, t, err)))
        c->lazy = c->owned && mc_const_is_weight(s, v);
    return rc || c->lazy ? rc : mc_const_warm(c, t, err);
}

int mc_plan_const(struct mc_session *s, struct mc_plan *p, const struct mc_value *v,
                  const struct mc_const **ret, struct mc_err *err)
{
    int rc = session_const(s, v, ret, err);
    for (; p && !rc && !*ret; p = p->parent) {
        struct mc_const *c = &p->consts[v->index];
        if (!c->buf.data && p->known[v->index])
            rc = mc_const_set(c, s->precision, p->known[v->index], err);
        *ret = !rc && c->buf.data ? c : NULL;
    }
    return rc;
}

bool mc_session_const(const struct mc_session *s, const struct mc_value *v)
{
    return s->consts[v->index].buf.data || mc_constant(v);
}

/* Everything wanted is known, in a type in which inference computes as this session does: it folds
 * doubles in float32. */
static bool all_known(const struct mc_session *s, const struct mc_infer *inf,
                      const struct mc_node *n)
{
    for (size_t i = 0; i < n->n_out; i++) {
        if (!n->out[i])
            continue;
        const struct mc_vtype *t = mc_infer_of(inf, n->out[i]);
        if (!t->known ||
            (s->precision == MC_PRECISION_F64 && mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT))
            return false;
    }
    return true;
}

static bool worth_folding(const struct mc_session *s, const struct mc_infer *inf,
                          const struct mc_node *n)
{
    size_t in = 0, out = 0, bytes;
    int64_t most = 0;
    if (s->ops[n->id]->flags & MC_OP_WEIGHT)
        return true;
    for (size_t i = 0; i < n->n_in; i++) {
        const struct mc_vtype *t = n->in[i] ? mc_infer_of(inf, n->in[i]) : NULL;
        if (t && (!mc_dtype_bytes(t->dtype, mc_shape_count(&t->shape), &bytes) ||
                  !mc_size_add(in, bytes, &in)))
            return false;
    }
    for (size_t i = 0; i < n->n_out; i++) {
        const struct mc_vtype *t = n->out[i] ? mc_infer_of(inf, n->out[i]) : NULL;
        if (!t)
            continue;
        int64_t count = t->ranked ? mc_shape_count(&t->shape) : -1;
        if (!mc_dtype_bytes(mc_run_dtype(s->precision, t->dtype), count, &bytes) ||
            !mc_size_add(out, bytes, &out))
            return false;
        most = count > most ? count : most;
    }
    return most <= FOLD_ELEMENTS || out / FOLD_GROWTH <= in;
}

/* Run a node of session constants; its results have memory. */
static int eval_node(struct mc_session *s, const struct mc_node *n, struct mc_buf *out,
                     struct mc_err *err)
{
    struct mc_call c = {.node = n,
                        .op = s->ops[n->id],
                        .n_in = (int)n->n_in,
                        .n_out = (int)n->n_out,
                        .in = mc_calloc(n->n_in + 1, sizeof *c.in),
                        .out = out,
                        .pool = s->pool};
    int rc = c.in ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n->n_in && !rc; i++) {
        const struct mc_const *k = NULL;
        if (n->in[i])
            rc = session_const(s, n->in[i], &k, err);
        if (!rc && k)
            c.in[i] = k->buf;
    }
    if (!rc) {
        c.k = mc_run_kernels(s, &c);
        rc = mc_eval_call(&c, err);
    }
    free(c.in);
    return rc;
}

/* Keep the results of a node of session constants as such: computed now, or, if they are the weights of products
 * that integers stand for, when a step reads them: steps on the integers never do. */
static int fold_node(struct mc_session *s, const struct mc_infer *inf, const struct mc_node *n,
                     struct mc_err *err)
{
    int rc = 0;
    bool late = (!strcmp(n->op_type, "DequantizeLinear") || s->ops[n->id]->flags & MC_OP_WEIGHT) &&
                mc_const_is_late(s, n->out[0], inf);
    struct mc_buf *out = mc_calloc(n->n_out + 1, sizeof *out);
    if (!out)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n->n_out && !rc; i++) {
        if (!n->out[i])
            continue;
        const struct mc_vtype *t = mc_infer_of(inf, n->out[i]);
        struct mc_buf *b = &out[i];
        size_t bytes;
        *b = (struct mc_buf){mc_run_dtype(s->precision, t->dtype), true, t->shape, NULL};
        b->data = mc_dtype_bytes(b->dtype, mc_shape_count(&b->shape), &bytes)
                      ? mc_alloc_aligned(bytes)
                      : NULL;
        if (!b->data)
            rc = mc_op_fail(err, MC_ENOMEM, n, "out of memory");
    }
    if (!rc && !late)
        rc = eval_node(s, n, out, err);
    for (size_t i = 0; i < n->n_out && !rc; i++)
        if (n->out[i]) {
            s->consts[n->out[i]->index] =
                (struct mc_const){.buf = out[i],
                                  .type = mc_infer_of(inf, n->out[i])->dtype,
                                  .owned = out[i].data,
                                  .cool = late,
                                  .lazy = late};
            out[i].data = NULL;
        }
    for (size_t i = 0; i < n->n_out; i++)
        free(out[i].data);
    free(out);
    return rc;
}

int mc_const_fill(struct mc_session *s, const struct mc_value *v, struct mc_err *err)
{
    struct mc_const *c = &s->consts[v->index];
    const struct mc_tensor *t = mc_constant(v);
    if (t)
        return mc_const_warm(c, t, err);
    if (!c->cool)
        return 0;
    struct mc_buf out = c->buf;
    int rc = eval_node(s, v->producer, &out, err);
    c->cool = rc != 0;
    return rc;
}

int mc_plan_fold(struct mc_session *s, struct mc_plan *p, const struct mc_infer *inf,
                 const struct mc_node *n, bool *ret_run, struct mc_err *err)
{
    bool done = true, constant = !(s->ops[n->id]->flags &
                                   (MC_OP_RANDOM | MC_OP_SIZES | MC_OP_BODY | MC_OP_LIST));
    for (size_t i = 0; i < n->n_out; i++)
        done &= !n->out[i] || mc_session_const(s, n->out[i]);
    for (size_t i = 0; i < n->n_in; i++)
        constant &= !n->in[i] || mc_session_const(s, n->in[i]);
    *ret_run = false;
    if (done)
        return 0;
    if (all_known(s, inf, n)) {
        for (size_t i = 0; i < n->n_out; i++) {
            if (!n->out[i])
                continue;
            const struct mc_tensor *t = mc_infer_of(inf, n->out[i])->known;
            size_t v = n->out[i]->index;
            int rc = constant ? mc_const_set(&s->consts[v], s->precision, t, err) : 0;
            if (rc)
                return rc;
            if (!constant)
                p->known[v] = mc_tensor_ref(t);
        }
        return 0;
    }
    if (constant && worth_folding(s, inf, n))
        return fold_node(s, inf, n, err);
    *ret_run = true;
    return 0;
}
