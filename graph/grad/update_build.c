#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/grad/batchnorm.h"
#include "graph/grad/rule.h"
#include "graph/grad/update.h"

enum { PART_ALIGN = 16, MOST_STATES = 8 };

struct part {
    struct mc_value *constant, *old,
        *result; /* the part of the old block; gradient or new statistic */
    bool decays;
};

struct build {
    struct mc_graph *g;
    const struct mc_update_opts *o;
    struct mc_update *u;
    enum mc_dtype dtype; /* of all blocks */
    struct part *parts, *statistics;
    size_t n_parts, n_statistics;
    int64_t count, decays; /* elements of the block, of those that decay */
    struct mc_value *norm, *step, *apply;
    struct mc_err *err;
};

static int nomem(struct build *b)
{
    return mc_fail(b->err, MC_ENOMEM, "out of memory while making the update");
}

/* ---- values and nodes ---- */

static int scalar(struct build *b, const char *name, enum mc_dtype dtype, struct mc_value **ret)
{
    *ret = mc_edit_value(b->g, name);
    if (!*ret)
        return mc_graph_value(b->g, name)
                   ? mc_fail(b->err, MC_EUSAGE, "the model has a value named '%s' itself", name)
                   : nomem(b);
    return mc_edit_type(*ret, dtype, 0, NULL) ? 0 : nomem(b);
}

static int scalar_input(struct build *b, const char *name, enum mc_dtype dtype,
                        struct mc_value **ret)
{
    int rc = scalar(b, name, dtype, ret);
    return rc ? rc : mc_edit_input(b->g, *ret, b->err);
}

static struct mc_value *block_value(struct build *b, const char *name, int64_t count)
{
    struct mc_value *v = mc_edit_fresh(b->g, name);
    const struct mc_dim dim = {.value = count};
    return v && mc_edit_type(v, b->dtype, 1, &dim) ? v : NULL;
}

/* A node of the grad domain at the end; its outputs are blocks or what `out` holds already. */
static int emit(struct build *b, const char *op, struct mc_value *const *in, size_t n_in,
                struct mc_value *const *out, size_t n_out, struct mc_node **ret)
{
    return mc_edit_node(b->g, b->g->n_nodes, op, MC_GRAD_DOMAIN, 1, "", in, n_in, out, n_out, ret,
                        b->err);
}

static int attr_double(struct build *b, struct mc_node *n, const char *name, double v)
{
    struct mc_tensor *t;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_F64, &(struct mc_shape){0}, NULL, &t, &data, b->err);
    if (rc)
        return rc;
    memcpy(data, &v, sizeof v);
    rc = mc_edit_attr_tensor(n, name, t, b->err);
    mc_tensor_unref(t);
    return rc;
}

static int cast(struct build *b, size_t pos, struct mc_value *x, enum mc_dtype to,
                struct mc_value **ret)
{
    struct mc_node *n;
    struct mc_value *y = mc_edit_fresh(b->g, x->name);
    if (!y)
        return nomem(b);
    int rc = mc_edit_node(b->g, pos, "Cast", "", MC_GRAD_OPSET, "", &x, 1, &y, 1, &n, b->err);
    *ret = y;
    return rc ? rc : mc_edit_attr_int(n, "to", to, b->err);
}

/* ---- states ---- */

static int copy_parts(struct build *b, struct mc_state *s, const struct part *parts, size_t n)
{
    int64_t at = 0;
    struct mc_state_part *list = mc_arena_array(&b->u->mem, n + 1, sizeof *list);
    if (!list)
        return nomem(b);
    for (size_t i = 0; i < n; i++) {
        const struct mc_tensor *t = mc_constant(parts[i].constant);
        list[i].name = mc_arena_strdup(&b->u->mem, parts[i].constant->name);
        list[i].shape = t->shape;
        list[i].offset = at;
        list[i].count = mc_tensor_count(t);
        if (!list[i].name)
            return nomem(b);
        at += (list[i].count + PART_ALIGN - 1) / PART_ALIGN * PART_ALIGN;
    }
    s->parts = list;
    s->n_parts = n;
    s->count = at;
    return 0;
}

static int fill(struct build *b, struct mc_state *s, const struct part *parts)
{
    size_t bytes = 0;
    mc_dtype_bytes(s->dtype, s->count, &bytes);
    int rc = (s->initial = mc_alloc_aligned(bytes)) ? 0 : nomem(b);
    if (!rc)
        memset(s->initial, 0, bytes);
    for (size_t i = 0; i < s->n_parts && !rc; i++) {
        const struct mc_tensor *t = mc_constant(parts[i].constant);
        size_t at = (size_t)s->parts[i].offset, n = (size_t)s->parts[i].count;
        rc = s->dtype == MC_DTYPE_F64
                 ? mc_dtype_to_f64(t->dtype, t->data, (double *)s->initial + at, n, b->err)
                 : mc_dtype_to_f32(t->dtype, t->data, (float *)s->initial + at, n, b->err);
    }
    return rc;
}

/* A new state of as many elements as *s says: its input, and a value for the node that makes its output. */
static int add_state(struct build *b, enum mc_state_kind kind, const char *name, int64_t count,
                     struct mc_state **ret, struct mc_value **in, struct mc_value **out)
{
    struct mc_state *s = &b->u->states[b->u->n_states++];
    *in = block_value(b, name, count);
    *out = block_value(b, name, count);
    if (!*in || !*out)
        return nomem(b);
    s->kind = kind;
    s->dtype = b->dtype;
    s->count = count;
    s->in = mc_arena_strdup(&b->u->mem, (*in)->name);
    s->out = mc_arena_strdup(&b->u->mem, (*out)->name);
    *ret = s;
    if (!s->in || !s->out)
        return nomem(b);
    return mc_edit_input(b->g, *in, b->err);
}

/* ---- blocks of parts ---- */

static int attr_offsets(struct build *b, struct mc_node *n, const struct mc_state *s)
{
    int64_t *v = calloc(s->n_parts + 1, sizeof *v);
    for (size_t i = 0; v && i < s->n_parts; i++)
        v[i] = s->parts[i].offset;
    int rc = v ? mc_edit_attr_ints(n, "offsets", v, s->n_parts, b->err) : nomem(b);
    free(v);
    return rc;
}

static int attr_shapes(struct build *b, struct mc_node *n, const struct mc_state *s)
{
    size_t n_dims = 0;
    int64_t *rank = calloc(s->n_parts + 1, sizeof *rank);
    int64_t *dim = calloc(s->n_parts * MC_RANK_MAX + 1, sizeof *dim);
    for (size_t i = 0; rank && dim && i < s->n_parts; i++) {
        rank[i] = s->parts[i].shape.rank;
        for (int d = 0; d < s->parts[i].shape.rank; d++)
            dim[n_dims++] = s->parts[i].shape.dim[d];
    }
    int rc = rank && dim ? mc_edit_attr_ints(n, "ranks", rank, s->n_parts, b->err) : nomem(b);
    rc = rc ? rc : mc_edit_attr_ints(n, "dims", dim, n_dims, b->err);
    free(rank);
    free(dim);
    return rc;
}

/* Unpack before all other nodes; each part's `old` is its content in the type of its constant. */
static int unpack(struct build *b, const struct mc_state *s, struct mc_value *block,
                  struct part *parts)
{
    struct mc_node *n;
    struct mc_value **out = calloc(s->n_parts + 1, sizeof *out);
    int rc = out ? 0 : nomem(b);
    for (size_t i = 0; i < s->n_parts && !rc; i++)
        if (!(out[i] = mc_edit_fresh(b->g, s->parts[i].name)))
            rc = nomem(b);
    if (!rc)
        rc = mc_edit_node(b->g, 0, "Unpack", MC_GRAD_DOMAIN, 1, "", &block, 1, out, s->n_parts, &n,
                          b->err);
    rc = rc ? rc : attr_offsets(b, n, s);
    rc = rc ? rc : attr_shapes(b, n, s);
    for (size_t i = 0, pos = 1; i < s->n_parts && !rc; i++) {
        enum mc_dtype dtype = mc_constant(parts[i].constant)->dtype;
        parts[i].old = out[i];
        if (dtype != b->dtype)
            rc = cast(b, pos++, out[i], dtype, &parts[i].old);
    }
    free(out);
    return rc;
}

/* The results of all parts as a block. */
static int pack(struct build *b, const struct mc_state *s, const struct part *parts,
                const char *name, struct mc_value **ret)
{
    struct mc_node *n;
    struct mc_value **in = calloc(s->n_parts + 1, sizeof *in);
    int rc = in && (*ret = block_value(b, name, s->count)) ? 0 : nomem(b);
    for (size_t i = 0; i < s->n_parts && !rc; i++) {
        in[i] = parts[i].result;
        if (mc_constant(parts[i].constant)->dtype != b->dtype)
            rc = cast(b, b->g->n_nodes, in[i], b->dtype, &in[i]);
    }
    rc = rc ? rc : emit(b, "Pack", in, s->n_parts, ret, 1, &n);
    rc = rc ? rc : attr_offsets(b, n, s);
    rc = rc ? rc : mc_edit_attr_int(n, "size", s->count, b->err);
    free(in);
    return rc;
}

/* A constant whose users read something else now. */
static void remove_constant(struct mc_value *v)
{
    if (v->n_uses || v->is_input || v->is_output)
        return;
    if (v->producer)
        mc_edit_remove_node(v->producer);
    else if (mc_edit_tensor(v, NULL, NULL))
        return;
    mc_edit_remove_value(v);
}

/* ---- what is trained ---- */

static int choose(struct build *b, const struct mc_weights *w, struct mc_value *const *grad)
{
    b->parts = calloc(w->n + 1, sizeof *b->parts);
    if (!b->parts)
        return nomem(b);
    b->dtype = MC_DTYPE_F32;
    for (int decays = 1; decays >= 0; decays--)
        for (size_t i = 0; i < w->n; i++) {
            const struct mc_weight *x = &w->list[i];
            if (!grad[i] || x->decays != decays)
                continue;
            b->parts[b->n_parts++] =
                (struct part){.constant = x->value, .result = grad[i], .decays = x->decays};
            if (mc_constant(x->value)->dtype == MC_DTYPE_F64)
                b->dtype = MC_DTYPE_F64;
        }
    return b->n_parts ? 0 : mc_fail(b->err, MC_EUSAGE, "no weight has a gradient");
}

static int weights(struct build *b, struct mc_value **ret_old, struct mc_value **ret_new)
{
    struct mc_state *s, sized = {0};
    int rc = copy_parts(b, &sized, b->parts, b->n_parts);
    rc = rc ? rc
            : add_state(b, MC_STATE_WEIGHTS, "train.weights", sized.count, &s, ret_old, ret_new);
    if (rc)
        return rc;
    s->parts = sized.parts;
    s->n_parts = sized.n_parts;
    b->count = s->count;
    for (size_t i = 0; i < b->n_parts; i++)
        if (!b->parts[i].decays) {
            b->decays = s->parts[i].offset;
            break;
        } else {
            b->decays = s->count;
        }
    rc = fill(b, s, b->parts);
    rc = rc ? rc : unpack(b, s, *ret_old, b->parts);
    for (size_t i = 0; i < b->n_parts && !rc; i++) {
        for (size_t k = 0; k < b->n_parts; k++)
            if (b->parts[k].result == b->parts[i].constant)
                b->parts[k].result = b->parts[i].old;
        rc = mc_edit_replace_uses(b->parts[i].constant, b->parts[i].old, b->err);
    }
    return rc;
}

/* ---- gradients and their use ---- */

static int accumulate(struct build *b, struct mc_value **grad, struct mc_value **ret_new)
{
    struct mc_state *s;
    struct mc_value *scale, *old, *sum = block_value(b, "train.sum", b->count);
    int rc = sum ? scalar_input(b, MC_UPDATE_SCALE, b->dtype, &scale) : nomem(b);
    rc = rc ? rc : scalar_input(b, MC_UPDATE_APPLY, MC_DTYPE_I64, &b->apply);
    rc = rc ? rc : add_state(b, MC_STATE_GRADIENTS, "train.gradients", b->count, &s, &old, ret_new);
    if (rc)
        return rc;
    rc = emit(b, "Accumulate", (struct mc_value *[]){old, *grad, scale}, 3, &sum, 1, NULL);
    *grad = sum;
    return rc;
}

static int norm(struct build *b, struct mc_value *grad)
{
    int rc = scalar(b, MC_UPDATE_NORM, b->dtype, &b->norm);
    rc = rc ? rc : emit(b, "BlockNorm", &grad, 1, &b->norm, 1, NULL);
    return rc ? rc : mc_edit_output(b->g, b->norm, b->err);
}

static int options(struct build *b, struct mc_node *n)
{
    const struct mc_update_opts *o = b->o;
    bool sgd = o->kind == MC_OPTIMIZER_SGD;
    int rc = mc_edit_attr_int(n, "decays", b->decays, b->err);
    rc = rc ? rc : attr_double(b, n, "decay", o->decay);
    rc = rc ? rc : attr_double(b, n, "clip", o->clip);
    if (sgd) {
        rc = rc ? rc : attr_double(b, n, "momentum", o->momentum);
        return rc ? rc : mc_edit_attr_int(n, "nesterov", o->nesterov, b->err);
    }
    rc = rc ? rc : attr_double(b, n, "beta1", o->beta1);
    rc = rc ? rc : attr_double(b, n, "beta2", o->beta2);
    rc = rc ? rc : attr_double(b, n, "epsilon", o->epsilon);
    return rc ? rc : mc_edit_attr_int(n, "decoupled", o->kind == MC_OPTIMIZER_ADAMW, b->err);
}

static int optimizer(struct build *b, struct mc_value *old, struct mc_value *grad,
                     struct mc_value *made)
{
    bool sgd = b->o->kind == MC_OPTIMIZER_SGD;
    int moments = !sgd ? 2 : b->o->momentum > 0, blocks = sgd ? 2 : 3;
    struct mc_value *in[8] = {old}, *out[3] = {made}, *lr;
    struct mc_state *s;
    struct mc_node *n;
    int rc = scalar_input(b, MC_UPDATE_LR, b->dtype, &lr);
    for (int i = 1; i <= moments && !rc; i++)
        rc = add_state(b, MC_STATE_MOMENT, "train.moment", b->count, &s, &in[i], &out[i]);
    if (rc)
        return rc;
    struct mc_value *const rest[] = {grad, lr, b->step, b->norm, b->apply};
    memcpy(in + blocks, rest, sizeof rest);
    rc = emit(b, sgd ? "Sgd" : "Adam", in, (size_t)blocks + (b->apply ? 5 : 4), out,
              (size_t)moments + 1, &n);
    return rc ? rc : options(b, n);
}

static int average(struct build *b, struct mc_value *made)
{
    struct mc_state *s;
    struct mc_value *old, *mean;
    struct mc_node *n;
    const struct mc_state *w = &b->u->states[0];
    int rc = add_state(b, MC_STATE_AVERAGE, "train.average", b->count, &s, &old, &mean);
    if (rc)
        return rc;
    s->parts = w->parts;
    s->n_parts = w->n_parts;
    size_t bytes = 0;
    mc_dtype_bytes(s->dtype, s->count, &bytes);
    if (!(s->initial = mc_alloc_aligned(bytes)))
        return nomem(b);
    memcpy(s->initial, w->initial, bytes);
    rc = emit(b, "Ema", (struct mc_value *[]){old, made, b->step, b->norm, b->apply},
              b->apply ? 5 : 4, &mean, 1, &n);
    return rc ? rc : attr_double(b, n, "decay", b->o->ema);
}

/* ---- running statistics ---- */

static int find_statistics(struct build *b)
{
    struct mc_batchnorm_stat *list;
    int rc = mc_batchnorm_stats(b->g, &list, &b->n_statistics, b->err);
    if (rc)
        return rc;
    b->statistics = calloc(b->n_statistics + 1, sizeof *b->statistics);
    if (!b->statistics)
        rc = nomem(b);
    for (size_t i = 0; i < b->n_statistics && !rc; i++)
        b->statistics[i] = (struct part){.constant = list[i].in, .result = list[i].out};
    free(list);
    return rc;
}

static int statistics(struct build *b)
{
    struct mc_state *s, sized = {0};
    struct mc_value *old, *made, *kept;
    int rc = find_statistics(b);
    if (rc || !b->n_statistics)
        return rc;
    rc = copy_parts(b, &sized, b->statistics, b->n_statistics);
    rc = rc ? rc
            : add_state(b, MC_STATE_STATISTICS, "train.statistics", sized.count, &s, &old, &kept);
    if (rc)
        return rc;
    s->parts = sized.parts;
    s->n_parts = sized.n_parts;
    rc = fill(b, s, b->statistics);
    rc = rc ? rc : unpack(b, s, old, b->statistics);
    for (size_t i = 0; i < b->n_statistics && !rc; i++)
        rc = mc_edit_replace_uses(b->statistics[i].constant, b->statistics[i].old, b->err);
    rc = rc ? rc : pack(b, s, b->statistics, "train.measured", &made);
    return rc ? rc : emit(b, "Keep", (struct mc_value *[]){old, made, b->norm}, 3, &kept, 1, NULL);
}

/* ---- all of it ---- */

static int check(const struct mc_update_opts *o, struct mc_err *err)
{
    bool adam = o->kind != MC_OPTIMIZER_SGD;
    if (!(o->momentum >= 0 && o->momentum < 1) && !adam)
        return mc_fail(err, MC_EUSAGE, "momentum %g: from 0 to less than 1", o->momentum);
    if (o->nesterov && !(o->momentum > 0) && !adam)
        return mc_fail(err, MC_EUSAGE, "Nesterov's momentum needs a momentum above 0");
    if (adam && !(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
        return mc_fail(err, MC_EUSAGE, "beta %g, %g: from 0 to less than 1", o->beta1, o->beta2);
    if (adam && !(o->epsilon >= 0 && isfinite(o->epsilon)))
        return mc_fail(err, MC_EUSAGE, "epsilon %g: 0 or above", o->epsilon);
    if (!(o->decay >= 0 && isfinite(o->decay)))
        return mc_fail(err, MC_EUSAGE, "weight decay %g: 0 or above", o->decay);
    if (!(o->clip >= 0 && isfinite(o->clip)))
        return mc_fail(err, MC_EUSAGE, "gradient clipping at %g: 0 (none) or above", o->clip);
    if (!(o->ema >= 0 && o->ema < 1))
        return mc_fail(err, MC_EUSAGE, "average of weights with decay %g: from 0 to less than 1",
                       o->ema);
    return 0;
}

static int build(struct build *b)
{
    struct mc_value *old, *made, *grad, *sum = NULL;
    int rc = mc_edit_opset(b->g->model, MC_GRAD_DOMAIN, 1, b->err);
    rc = rc ? rc : weights(b, &old, &made);
    rc = rc ? rc : scalar_input(b, MC_UPDATE_STEP, MC_DTYPE_I64, &b->step);
    rc = rc ? rc : pack(b, &b->u->states[0], b->parts, "train.gradient", &grad);
    if (b->o->accumulate)
        rc = rc ? rc : accumulate(b, &grad, &sum);
    rc = rc ? rc : norm(b, grad);
    rc = rc ? rc : optimizer(b, old, grad, made);
    if (sum) /* after what reads the gradients, so that they are cleared where they are */
        rc = rc ? rc : emit(b, "Clear", (struct mc_value *[]){grad, b->apply}, 2, &sum, 1, NULL);
    if (b->o->ema > 0)
        rc = rc ? rc : average(b, made);
    rc = rc ? rc : statistics(b);
    for (size_t i = 0; i < b->u->n_states && !rc; i++)
        rc = mc_edit_output(b->g, mc_graph_value(b->g, b->u->states[i].out), b->err);
    for (size_t i = 0; i < b->n_parts && !rc; i++)
        remove_constant(b->parts[i].constant);
    for (size_t i = 0; i < b->n_statistics && !rc; i++)
        remove_constant(b->statistics[i].constant);
    return rc;
}

int mc_update_build(struct mc_graph *g, const struct mc_weights *w, struct mc_value *const *grad,
                    const struct mc_update_opts *opts, struct mc_update *ret, struct mc_err *err)
{
    struct mc_update u = {0};
    struct build b = {.g = g, .o = opts, .u = &u, .err = err};
    int rc = check(opts, err);
    if (rc)
        return rc;
    u.states = mc_arena_array(&u.mem, MOST_STATES, sizeof *u.states);
    rc = u.states ? choose(&b, w, grad) : nomem(&b);
    rc = rc ? rc : build(&b);
    free(b.parts);
    free(b.statistics);
    if (rc)
        mc_update_free(&u);
    else
        *ret = u;
    return rc;
}
