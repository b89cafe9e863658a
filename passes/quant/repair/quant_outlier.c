#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/repair/quant_channel.h"
#include "passes/quant/repair/quant_repair.h"
#include "passes/quant/repair/quant_rows.h"

/* x W = (x mask) W' + x[O] W[O], W' with rows of zeros at the few channels O whose values would make the steps of all others
 * large: integers see the rest, and a product of floats, of a few rows, has these. */

/* Of the channels, at least one. */
enum { ONE_OF = 50 };
/* So many times what the largest of all others holds. */
static const double FAR = 6;
/* Of the error that rounding is expected to give: three more nodes, and one for each product, are worth no less. */
static const double GAINS = 0.25;

struct apart {
    struct mc_value *x;
    const struct mc_quant_stat *stat;
    struct mc_quant_sites *sites; /* of x's model; NULL: nobody has any */
    enum mc_dtype dtype;
    int rank;
    int64_t n, count;
    double *mask, *one, *at, *sorted; /* [n] each; `count` of at: which channels */
    struct mc_value *rest, *few;
    size_t layers;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for outlier channels");
}

/* ---- which ---- */

static double largest(const struct mc_quant_stat *s, int64_t j)
{
    return fmax(fabs((double)s->ch_min[j]), fabs((double)s->ch_max[j]));
}

static int descending(const void *pa, const void *pb)
{
    double a = *(const double *)pa, b = *(const double *)pb;
    return (a < b) - (a > b);
}

static int choose(struct apart *t, bool *ret, struct mc_err *err)
{
    int64_t most = t->n / ONE_OF > 1 ? t->n / ONE_OF : 1;
    double before = 0, after = 0;
    *ret = false;
    for (int64_t j = 0; j < t->n; j++) {
        t->sorted[j] = largest(t->stat, j);
        if (!isfinite(t->sorted[j]))
            return 0;
    }
    qsort(t->sorted, (size_t)t->n, sizeof *t->sorted, descending);
    if (!(t->sorted[most] > 0))
        return 0;
    for (int64_t j = 0; j < t->n; j++) {
        bool far = largest(t->stat, j) > FAR * t->sorted[most];
        t->one[j] = 1;
        t->mask[j] = !far;
        if (far)
            t->at[t->count++] = (double)j;
    }
    if (!t->count)
        return 0;
    int rc = mc_quant_rows_error(t->x, t->stat, t->one, t->one, &before, err);
    if (!rc)
        rc = mc_quant_rows_error(t->x, t->stat, t->mask, t->mask, &after, err);
    *ret = after < GAINS * before;
    return rc;
}

/* ---- in place ---- */

static int add_node(struct apart *t, size_t pos, const char *op, struct mc_value *first,
                    struct mc_value *second, const char *hint, struct mc_node **ret,
                    struct mc_err *err)
{
    struct mc_value *in[2] = {first, second}, *y = mc_edit_fresh(t->x->graph, hint);
    if (!y)
        return no_memory(err);
    return mc_edit_node(t->x->graph, pos, op, "", 0, "", in, second ? 2 : 1, &y, 1, ret, err);
}

/* Both are made once for all that read x. */
static int split(struct apart *t, struct mc_err *err)
{
    struct mc_node *mul, *gather;
    size_t pos = t->x->producer ? t->x->producer->pos + 1 : 0;
    int rc = add_node(t, pos, "Mul", t->x, NULL, "inliers", &mul, err);
    if (!rc)
        rc = mc_quant_put(mul, 1, t->mask, &(struct mc_shape){1, {t->n}}, t->dtype, "mask", err);
    if (!rc)
        rc = add_node(t, pos + 1, "Gather", t->x, NULL, "outliers", &gather, err);
    if (!rc)
        rc = mc_quant_put(gather, 1, t->at, &(struct mc_shape){1, {t->count}}, MC_DTYPE_I64,
                          "outlier_channels", err);
    if (!rc)
        rc = mc_edit_attr_int(gather, "axis", t->rank - 1, err);
    if (!rc) {
        t->rest = mul->out[0];
        t->few = gather->out[0];
    }
    return rc;
}

/* The bias of a MatMul stays next to it, where integers take it in. */
static struct mc_node *behind_bias(struct mc_node *n)
{
    const struct mc_value *y = n->out[0];
    struct mc_node *add = y->n_uses == 1 && y->uses[0].slot >= 0 ? y->uses[0].node : NULL;
    bool is = add && mc_node_is(n, "MatMul") && mc_node_is(add, "Add") && add->n_in == 2 &&
              !y->is_output && mc_constant(add->in[!y->uses[0].slot]);
    return is ? add : n;
}

/* What the layer gives ends where the other sum comes in. */
static void shorten_site(struct apart *t, const struct mc_node *n)
{
    for (size_t i = 0; t->sites && i < t->sites->n; i++) {
        struct mc_quant_site *s = &t->sites->item[i];
        if (s->node == n) {
            s->act = NULL;
            s->y = s->add ? s->add->out[0] : n->out[0];
        }
    }
}

/* y becomes y + few W[O] for all that read it. */
static int join(struct apart *t, struct mc_node *n, const double *rows, int64_t m,
                enum mc_dtype dtype, struct mc_err *err)
{
    struct mc_node *last = behind_bias(n), *product, *add;
    struct mc_value *y = last->out[0];
    int rc = add_node(t, last->pos + 1, "MatMul", t->few, NULL, "outlier_product", &product, err);
    if (!rc)
        rc = mc_quant_put(product, 1, rows, &(struct mc_shape){2, {t->count, m}}, dtype,
                          "outlier_weight", err);
    if (!rc)
        rc =
            add_node(t, product->pos + 1, "Add", product->out[0], NULL, "with_outliers", &add, err);
    if (!rc)
        rc = mc_edit_replace_uses(y, add->out[0], err);
    return rc ? rc : mc_edit_set_input(add, 1, y, err);
}

static int change_reader(struct apart *t, struct mc_node *n, struct mc_err *err)
{
    struct mc_refit f;
    double *w;
    if (!mc_quant_rows_read(n, t->x, &f) || f.n != t->n)
        return 0;
    const struct mc_tensor *old = mc_constant(f.weight);
    struct mc_shape shape = old->shape;
    enum mc_dtype dtype = old->dtype;
    double *rows = mc_calloc((size_t)(t->count * f.m) + 1, sizeof *rows);
    int rc = rows ? mc_quant_doubles(f.weight, &w, err) : no_memory(err);
    if (rc) {
        free(rows);
        return rc;
    }
    for (int64_t k = 0; k < t->count; k++)
        for (int64_t i = 0; i < f.m; i++) {
            double *from = &w[i * f.at_m + (int64_t)t->at[k] * f.at_n];
            rows[k * f.m + i] = *from;
            *from = 0;
        }
    rc = mc_quant_put(n, 1, w, &shape, dtype, "weight", err);
    if (!rc)
        rc = mc_edit_set_input(n, 0, t->rest, err);
    if (!rc)
        rc = join(t, n, rows, f.m, dtype, err);
    if (!rc) {
        shorten_site(t, n);
        t->layers++;
    }
    free(w);
    free(rows);
    return rc;
}

/* ---- the model ---- */

static int set_apart(struct apart *t, struct mc_err *err)
{
    bool gains = false;
    size_t n = (size_t)t->n;
    t->mask = mc_calloc(4 * n, sizeof *t->mask);
    if (!t->mask)
        return no_memory(err);
    t->one = t->mask + n;
    t->at = t->one + n;
    t->sorted = t->at + n;
    int rc = choose(t, &gains, err);
    if (!rc && gains)
        rc = split(t, err);
    for (size_t u = t->x->n_uses; !rc && gains && u-- > 0;)
        rc = change_reader(t, t->x->uses[u].node, err);
    free(t->mask);
    return rc;
}

int mc_quant_outliers(struct mc_model *m, const struct mc_quant_stats *stats,
                      struct mc_quant_sites *sites, size_t *ret_layers, struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    *ret_layers = 0;
    int rc = mc_infer_run(m->graph, NULL, &inf, err);
    if (rc)
        return rc == MC_ENOMEM ? rc : 0; /* of what ranks are not known of, nothing is */
    /* the last first: what a layer gives is another value then */
    for (size_t i = stats->n; !rc && i-- > 0;) {
        struct mc_value *x = mc_graph_value(m->graph, stats->item[i].name);
        const struct mc_quant_stat *s = x ? mc_quant_rows_stat(stats, inf, x) : NULL;
        if (!s || !mc_quant_rows_readers(x, s->channels))
            continue;
        const struct mc_vtype *type = mc_infer_of(inf, x);
        struct apart t = {.x = x,
                          .stat = s,
                          .sites = sites,
                          .dtype = type->dtype,
                          .rank = type->shape.rank,
                          .n = s->channels};
        rc = set_apart(&t, err);
        *ret_layers += t.layers;
    }
    mc_infer_free(inf);
    return rc;
}
