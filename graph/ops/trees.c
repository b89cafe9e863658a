/* TreeEnsemble of ai.onnx.ml: rows of features to sums (or means, least, largest) of the leaves they reach. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/tensor.h"

enum mode { LESS_EQUAL, LESS, GREATER_EQUAL, GREATER, EQUAL, NOT_EQUAL, MEMBER, MODES };
enum aggregate { AVERAGE, SUM, LEAST, MOST, AGGREGATES };

struct branch { /* where a test that came out so goes */
    const int64_t *to, *leaf;
};

struct forest {
    size_t n_nodes, n_leaves, n_roots, n_members;
    const int64_t *feature, *target, *root,
        *missing;            /* missing: NULL, or 1 where NaN passes the test */
    struct branch branch[2]; /* of a test that failed, and that held */
    double *split, *weight, *member;
    int64_t *first_member; /* of a node that tests membership */
    uint8_t *mode;
    int64_t targets, aggregate;
};

static void forest_free(struct forest *f)
{
    free(f->split);
    free(f->weight);
    free(f->member);
    free(f->first_member);
    free(f->mode);
    *f = (struct forest){0};
}

/* The numbers of a tensor attribute. */
static int load_tensor(const struct mc_node *n, const char *name, double **ret, size_t *ret_n,
                       struct mc_err *err)
{
    const struct mc_attr *a = mc_node_attr(n, name);
    const struct mc_tensor *t = a && a->type == MC_ATTR_TENSOR && a->n == 1 ? a->tensors[0] : NULL;
    int64_t count = t ? mc_shape_count(&t->shape) : 0;
    size_t bytes;
    *ret_n = 0;
    if (count <= 0)
        return 0;
    if (!mc_dtype_bytes((int)t->dtype, count, &bytes) || t->bytes != bytes || !t->data)
        return mc_op_fail(err, MC_EDTYPE, n, "%s holds no numbers", name);
    *ret = mc_calloc((size_t)count, sizeof **ret);
    if (!*ret)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    *ret_n = (size_t)count;
    return mc_dtype_to_f64((int)t->dtype, t->data, *ret, *ret_n, err);
}

/* A list of n numbers, each in [0, below). */
static int load_list(const struct mc_node *n, const char *name, size_t want, int64_t below,
                     const int64_t **ret, struct mc_err *err)
{
    size_t got;
    *ret = mc_node_ints(n, name, &got);
    if (got != want)
        return mc_op_fail(err, MC_ESHAPE, n, "%s has %zu values, must have %zu", name, got, want);
    for (size_t i = 0; i < got; i++)
        if ((*ret)[i] < 0 || (*ret)[i] >= below)
            return mc_op_fail(err, MC_ESHAPE, n, "%s has %lld, must be below %lld", name,
                              (long long)(*ret)[i], (long long)below);
    return 0;
}

/* Tests, and for those of membership where their values begin: sets end with a NaN each. */
static int load_modes(const struct mc_node *n, struct forest *f, struct mc_err *err)
{
    double *modes = NULL;
    size_t got, at = 0;
    int rc = load_tensor(n, "nodes_modes", &modes, &got, err);
    if (!rc && got != f->n_nodes)
        rc = mc_op_fail(err, MC_ESHAPE, n, "%zu nodes_modes for %zu nodes", got, f->n_nodes);
    f->mode = rc ? NULL : mc_calloc(f->n_nodes, sizeof *f->mode);
    f->first_member = rc ? NULL : mc_calloc(f->n_nodes, sizeof *f->first_member);
    if (!rc && (!f->mode || !f->first_member))
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < f->n_nodes && !rc; i++) {
        if (!(modes[i] >= 0 && modes[i] < MODES))
            rc = mc_op_fail(err, MC_EUNSUP, n, "node mode %g is not known", modes[i]);
        else
            f->mode[i] = (uint8_t)modes[i];
        if (rc || f->mode[i] != MEMBER)
            continue;
        f->first_member[i] = (int64_t)at;
        while (at < f->n_members && !isnan(f->member[at]))
            at++;
        if (at == f->n_members)
            rc = mc_op_fail(err, MC_ESHAPE, n, "membership_values end before node %zu's", i);
        at++;
    }
    free(modes);
    return rc;
}

static int load(const struct mc_node *n, struct forest *f, struct mc_err *err)
{
    const int64_t *flags;
    size_t unused;
    *f = (struct forest){.targets = mc_node_int(n, "n_targets", 0),
                         .aggregate = mc_node_int(n, "aggregate_function", 1)};
    if (f->targets < 1 || f->targets > INT32_MAX)
        return mc_op_fail(err, MC_ESHAPE, n, "n_targets is %lld", (long long)f->targets);
    if (f->aggregate < 0 || f->aggregate >= AGGREGATES || mc_node_int(n, "post_transform", 0))
        return mc_op_fail(err, MC_EUNSUP, n, "aggregate_function %lld with post_transform %lld",
                          (long long)f->aggregate, (long long)mc_node_int(n, "post_transform", 0));
    int rc = load_tensor(n, "nodes_splits", &f->split, &f->n_nodes, err);
    rc = rc ? rc : load_tensor(n, "leaf_weights", &f->weight, &f->n_leaves, err);
    rc = rc ? rc : load_tensor(n, "membership_values", &f->member, &f->n_members, err);
    rc = rc ? rc : load_modes(n, f, err);
    rc = rc ? rc : load_list(n, "nodes_featureids", f->n_nodes, INT32_MAX, &f->feature, err);
    rc = rc ? rc : load_list(n, "leaf_targetids", f->n_leaves, f->targets, &f->target, err);
    static const char *const to[] = {"nodes_falsenodeids", "nodes_truenodeids"};
    static const char *const leaf[] = {"nodes_falseleafs", "nodes_trueleafs"};
    for (int i = 0; i < 2 && !rc; i++) {
        rc = load_list(n, to[i], f->n_nodes, INT32_MAX, &f->branch[i].to, err);
        rc = rc ? rc : load_list(n, leaf[i], f->n_nodes, 2, &f->branch[i].leaf, err);
        for (size_t k = 0; k < f->n_nodes && !rc; k++) {
            size_t most = f->branch[i].leaf[k] ? f->n_leaves : f->n_nodes;
            if ((size_t)f->branch[i].to[k] >= most)
                rc = mc_op_fail(err, MC_ESHAPE, n, "%s has %lld of %zu", to[i],
                                (long long)f->branch[i].to[k], most);
        }
    }
    if (!rc)
        f->root = mc_node_ints(n, "tree_roots", &f->n_roots);
    rc = rc ? rc : load_list(n, "tree_roots", f->n_roots, (int64_t)f->n_nodes, &f->root, err);
    flags = mc_node_ints(n, "nodes_missing_value_tracks_true", &unused);
    if (!rc && flags)
        rc = load_list(n, "nodes_missing_value_tracks_true", f->n_nodes, 2, &f->missing, err);
    return rc;
}

static int trees_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    struct forest f = {0};
    int rc = mc_op_arity(c, 1, 1, err);
    rc = rc ? rc : mc_op_need_float(c, 0, err);
    rc = rc ? rc : mc_op_need_rank(c, 0, 2, 2, err);
    rc = rc ? rc : load(c->node, &f, err);
    const struct mc_vtype *x = mc_op_in(c, 0);
    for (size_t i = 0; i < f.n_nodes && !rc && x->ranked && x->shape.dim[1] >= 0; i++)
        if (f.feature[i] >= x->shape.dim[1])
            rc = mc_op_fail(err, MC_ESHAPE, c->node, "node %zu asks for feature %lld of %lld", i,
                            (long long)f.feature[i], (long long)x->shape.dim[1]);
    if (!rc) {
        struct mc_shape y = {2, {x->ranked ? x->shape.dim[0] : MC_DIM_ANY, f.targets}};
        mc_op_give(c, 0, x->dtype, &y);
    }
    forest_free(&f);
    return rc;
}

static int trees_setup(struct mc_call *c, struct mc_err *err)
{
    struct forest *f = mc_calloc(1, sizeof *f);
    if (!f)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    c->state = f;
    return load(c->node, f, err);
}

static void trees_teardown(struct mc_call *c)
{
    if (c->state)
        forest_free(c->state);
    free(c->state);
    c->state = NULL;
}

static bool holds(const struct forest *f, int64_t node, double v)
{
    double split = f->split[node];
    if (isnan(v) && f->missing && f->missing[node])
        return true;
    switch ((enum mode)f->mode[node]) {
    case LESS_EQUAL: return v <= split;
    case LESS: return v < split;
    case GREATER_EQUAL: return v >= split;
    case GREATER: return v > split;
    case EQUAL: return v == split;
    case NOT_EQUAL: return v != split;
    default: break;
    }
    for (int64_t i = f->first_member[node]; !isnan(f->member[i]); i++)
        if (f->member[i] == v)
            return true;
    return false;
}

static double element(const struct mc_buf *b, int64_t i)
{
    return b->dtype == MC_DTYPE_F64 ? ((const double *)b->data)[i]
                                    : (double)((const float *)b->data)[i];
}

/* The leaf that a row reaches; a tree in which it never does is an error. */
static int leaf_of(const struct mc_call *c, const struct forest *f, int64_t row, int64_t node,
                   int64_t *ret, struct mc_err *err)
{
    int64_t cols = c->in[0].shape.dim[1];
    for (size_t step = 0; step < f->n_nodes; step++) {
        int side = holds(f, node, element(&c->in[0], row * cols + f->feature[node]));
        int64_t to = f->branch[side].to[node];
        if (f->branch[side].leaf[node]) {
            *ret = to;
            return 0;
        }
        node = to;
    }
    return mc_op_fail(err, MC_EDATA, c->node, "a tree runs in a circle at node %lld",
                      (long long)node);
}

static int trees_run(struct mc_call *c, struct mc_err *err)
{
    const struct forest *f = c->state;
    const struct mc_buf *y = &c->out[0];
    double *sum = mc_calloc((size_t)f->targets, 2 * sizeof *sum), *hits = sum + f->targets;
    int rc = sum ? 0 : mc_op_fail(err, MC_ENOMEM, c->node, "out of memory");
    for (int64_t row = 0; row < y->shape.dim[0] && !rc; row++) {
        memset(sum, 0, (size_t)f->targets * 2 * sizeof *sum);
        for (size_t i = 0; i < f->n_roots && !rc; i++) {
            int64_t leaf = 0;
            rc = leaf_of(c, f, row, f->root[i], &leaf, err);
            if (rc)
                break;
            int64_t t = f->target[leaf];
            double v = f->weight[leaf], *s = &sum[t];
            bool first = hits[t]++ == 0;
            if (f->aggregate == LEAST)
                *s = first || v < *s ? v : *s;
            else if (f->aggregate == MOST)
                *s = first || v > *s ? v : *s;
            else
                *s += v;
        }
        for (int64_t t = 0; t < f->targets; t++) {
            double v = f->aggregate == AVERAGE && f->n_roots ? sum[t] / (double)f->n_roots : sum[t];
            if (y->dtype == MC_DTYPE_F64)
                ((double *)y->data)[row * f->targets + t] = v;
            else
                ((float *)y->data)[row * f->targets + t] = (float)v;
        }
    }
    free(sum);
    return rc;
}

const struct mc_op mc_ops_trees[] = {
    {"ai.onnx.ml", "TreeEnsemble", 5, 0, trees_infer, trees_setup, trees_run, trees_teardown, NULL,
     NULL},
    {0},
};
