#include "passes/share/share_tie.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "passes/pattern.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for ties");
}

void mc_ties_free(struct mc_ties *t)
{
    free(t->tensor);
    free(t->tie);
    *t = (struct mc_ties){0};
}

/* ---- tensors ---- */

static int add(struct mc_ties *t, struct mc_value *v, struct mc_err *err)
{
    const struct mc_tensor *k =
        v && !v->is_output && !v->is_input && v->n_uses ? mc_constant(v) : NULL;
    if (!k || !k->data || !k->bytes)
        return 0;
    if (!MC_GROW(t->tensor, t->n_tensors, t->cap_tensors))
        return no_memory(err);
    t->tensor[t->n_tensors++] = (struct mc_tie_tensor){v, k, NAN};
    return 0;
}

int mc_ties_collect(const struct mc_model *m, struct mc_ties *ret, struct mc_err *err)
{
    struct mc_ties t = {0};
    const struct mc_graph *g = m->graph;
    int rc = 0;
    for (size_t i = 0; !rc && i < g->n_inits; i++)
        rc = add(&t, g->inits[i], err);
    for (size_t i = 0; !rc && i < g->n_nodes; i++)
        if (mc_node_is(g->nodes[i], "Constant") && g->nodes[i]->n_out)
            rc = add(&t, g->nodes[i]->out[0], err);
    if (rc)
        mc_ties_free(&t);
    else
        *ret = t;
    return rc;
}

static bool is_float(const struct mc_tensor *t)
{
    const struct mc_dtype_info *info = mc_dtype_info(t->dtype);
    return info->kind == MC_KIND_FLOAT && info->bits >= 16;
}

static bool turned(const struct mc_shape *a, const struct mc_shape *b)
{
    return a->rank == 2 && b->rank == 2 && a->dim[0] == b->dim[1] && a->dim[1] == b->dim[0];
}

/* The tie of a tensor, or NULL. */
static struct mc_tie *tie_of(const struct mc_ties *t, size_t from)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->tie[i].from == from)
            return &t->tie[i];
    return NULL;
}

/* Something is tied to it. */
static bool is_root(const struct mc_ties *t, size_t to)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->tie[i].to == to)
            return true;
    return false;
}

static int push(struct mc_ties *t, struct mc_tie tie, struct mc_err *err)
{
    if (!MC_GROW(t->tie, t->n, t->cap))
        return no_memory(err);
    t->tie[t->n++] = tie;
    return 0;
}

/* ---- the same ---- */

static bool repeats_one(const struct mc_tensor *t)
{
    size_t size = mc_dtype_info(t->dtype)->bits / 8;
    if (!is_float(t) || t->shape.rank > 1 || t->bytes <= size)
        return false;
    for (size_t i = size; i < t->bytes; i += size)
        if (memcmp(t->data, t->data + i, size))
            return false;
    return true;
}

static bool same_turned(const struct mc_tensor *a, const struct mc_tensor *b)
{
    size_t size = mc_dtype_info(a->dtype)->bits / 8;
    int64_t rows = a->shape.dim[0], cols = a->shape.dim[1];
    if (mc_dtype_info(a->dtype)->bits < 8)
        return false;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            if (memcmp(a->data + (size_t)(i * cols + j) * size,
                       b->data + (size_t)(j * rows + i) * size, size))
                return false;
    return true;
}

int mc_ties_same(struct mc_ties *t, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 1; !rc && i < t->n_tensors; i++) {
        const struct mc_tensor *a = t->tensor[i].tensor;
        for (size_t k = 0; !rc && k < i; k++) {
            const struct mc_tensor *b = t->tensor[k].tensor;
            if (a->dtype != b->dtype || a->bytes != b->bytes || repeats_one(a))
                continue;
            bool straight =
                mc_shape_equal(&a->shape, &b->shape) && !memcmp(a->data, b->data, a->bytes);
            if (!straight && !(turned(&a->shape, &b->shape) && same_turned(a, b)))
                continue;
            if (tie_of(
                    t,
                    k)) /* it would have been found at what that one is tied to, unless that was turned */
                continue;
            rc = push(t, (struct mc_tie){i, k, !straight, true, 0}, err);
            break;
        }
    }
    return rc;
}

/* ---- near ---- */

/* ‖a - b‖ / the larger norm; b turned. Anything above `most` may be more than it is. */
static int distance_of(struct mc_ties *t, size_t a, size_t b, bool transposed, double most,
                       double *ret, struct mc_err *err)
{
    enum { SOME = 256 };
    float *x = NULL, *y = NULL;
    int64_t n, cols = t->tensor[b].tensor->shape.rank == 2 ? t->tensor[b].tensor->shape.dim[1] : 1;
    int64_t rows = t->tensor[a].tensor->shape.rank == 2 ? t->tensor[a].tensor->shape.dim[1] : 1;
    int rc = mc_constant_f32(t->tensor[a].value, &x, &n, err);
    if (!rc)
        rc = mc_constant_f32(t->tensor[b].value, &y, &n, err);
    double d = 0, xx = 0, yy = 0;
    for (int64_t i = 0; !rc && i < n; i++) {
        double u = (double)x[i], v = (double)y[transposed ? i % rows * cols + i / rows : i];
        d += (u - v) * (u - v);
        xx += u * u;
        yy += v * v;
        if (i == SOME && d > 4 * most * most * fmax(xx, yy))
            break;
    }
    *ret = fmax(xx, yy) > 0 && isfinite(d) ? sqrt(d / fmax(xx, yy)) : INFINITY;
    free(x);
    free(y);
    return rc;
}

static int near_one(struct mc_ties *t, size_t i, double most, struct mc_err *err)
{
    const struct mc_tensor *a = t->tensor[i].tensor;
    struct mc_tie best = {.from = i, .distance = INFINITY};
    for (size_t k = 0; k < i; k++) {
        const struct mc_tensor *b = t->tensor[k].tensor;
        bool straight = mc_shape_equal(&a->shape, &b->shape);
        if (a->dtype != b->dtype || tie_of(t, k) || (!straight && !turned(&a->shape, &b->shape)))
            continue;
        double d;
        int rc = distance_of(t, i, k, !straight, most, &d, err);
        if (rc)
            return rc;
        if (d <= most && d < best.distance) {
            best.to = k;
            best.transposed = !straight;
            best.distance = d;
        }
    }
    return isfinite(best.distance) ? push(t, best, err) : 0;
}

int mc_ties_near(struct mc_ties *t, double distance, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 1; !rc && i < t->n_tensors; i++) {
        const struct mc_tensor *a = t->tensor[i].tensor;
        if (is_float(a) && mc_tensor_count(a) > 1 && !tie_of(t, i) && !is_root(t, i) &&
            !repeats_one(a))
            rc = near_one(t, i, distance, err);
    }
    return rc;
}

/* ---- by name ---- */

static int match_one(struct mc_ties *t, size_t i, const struct mc_pattern *pattern,
                     struct mc_err *err)
{
    const struct mc_tensor *a = t->tensor[i].tensor;
    struct mc_tie *was = tie_of(t, i);
    if (was || is_root(t, i))
        return 0;
    for (size_t k = 0; k < i; k++) {
        const struct mc_tensor *b = t->tensor[k].tensor;
        bool straight = mc_shape_equal(&a->shape, &b->shape);
        struct mc_tie tie = {.from = i, .to = k, .transposed = !straight};
        if (a->dtype != b->dtype || tie_of(t, k) || (!straight && !turned(&a->shape, &b->shape)) ||
            !mc_pattern_fits(pattern, t->tensor[k].value->name))
            continue;
        int rc = distance_of(t, i, k, !straight, INFINITY, &tie.distance, err);
        return rc ? rc : push(t, tie, err);
    }
    return 0;
}

static bool matches(const struct mc_ties *t, size_t i, const struct mc_pattern *pattern)
{
    return is_float(t->tensor[i].tensor) && mc_pattern_fits(pattern, t->tensor[i].value->name);
}

/* Errors where nothing that matches is tied. */
static int check_any(const struct mc_ties *t, const char *regex, const struct mc_pattern *pattern,
                     struct mc_err *err)
{
    size_t matched = 0;
    for (size_t i = 0; i < t->n; i++)
        if (matches(t, t->tie[i].from, pattern) && matches(t, t->tie[i].to, pattern))
            return 0;
    for (size_t i = 0; i < t->n_tensors; i++)
        matched += matches(t, i, pattern);
    return mc_fail(err, MC_EUSAGE, "--tie '%s' matches %s", regex,
                   !matched       ? "no float tensor"
                   : matched == 1 ? "one float tensor only"
                                  : "float tensors, but no two of one shape");
}

int mc_ties_match(struct mc_ties *t, const char *regex, struct mc_err *err)
{
    struct mc_pattern pattern;
    int rc = mc_pattern_open("tie", regex, &pattern, err);
    if (rc)
        return rc;
    for (size_t i = 0; !rc && i < t->n_tensors; i++)
        if (matches(t, i, &pattern))
            rc = match_one(t, i, &pattern, err);
    if (!rc)
        rc = check_any(t, regex, &pattern, err);
    mc_pattern_close(&pattern);
    return rc;
}
