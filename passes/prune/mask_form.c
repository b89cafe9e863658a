/* The two forms of a masked weight: with zeros in a file, Mul(weight, Cast(mask)) in training. */
#include "graph/edit.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "passes/prune/mask.h"
#include "passes/prune/mask_site.h"

static const char suffix[] = ".mask"; /* of the names of masks, by which they are known again */

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for masks");
}

/* ---- which weights have one ---- */

static bool zero_in_every(const bool *zero, const struct mc_shape *s, int axis, int64_t m)
{
    int64_t n = s->dim[axis], inner = mc_shape_span(s, axis + 1, s->rank);
    int64_t outer = mc_shape_span(s, 0, axis);
    if (n % m)
        return false;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++)
            for (int64_t from = 0; from < n; from += m) {
                bool any = false;
                for (int64_t k = from; k < from + m; k++)
                    any = any || zero[(o * n + k) * inner + i];
                if (!any)
                    return false;
            }
    return true;
}

/* *ret: [elements], which are zeros, or NULL where the weight has no mask. */
static int mask_of(const struct mc_mask_site *s, bool any, bool **ret, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(s->value);
    float *x;
    int64_t n, zeros = 0;
    *ret = NULL;
    int rc = mc_constant_f32(s->value, &x, &n, err);
    bool *zero = rc ? NULL : mc_calloc((size_t)n + 1, sizeof *zero);
    for (int64_t i = 0; zero && i < n; i++) {
        zero[i] = x[i] == 0;
        zeros += zero[i];
    }
    if (!rc)
        free(x);
    if (!rc && !zero)
        return no_memory(err);
    bool has = zero && zeros > 0 && zeros < n &&
               (any || zeros >= 0.3 * (double)n || zero_in_every(zero, &t->shape, s->axis, 4) ||
                zero_in_every(zero, &t->shape, s->axis, 8));
    if (has)
        *ret = zero;
    else
        free(zero);
    return rc;
}

/* ---- opening ---- */

static bool is_open(const struct mc_value *v)
{
    for (size_t i = 0; i < v->n_uses; i++) {
        const struct mc_node *n = v->uses[i].node;
        const struct mc_node *cast = mc_node_is(n, "Mul") && n->in[1] ? n->in[1]->producer : NULL;
        if (cast && mc_node_is(cast, "Cast") && cast->in[0] && strstr(cast->in[0]->name, suffix))
            return true;
    }
    return false;
}

static int add_mask(struct mc_graph *g, const struct mc_value *v, const bool *zero, size_t pos,
                    struct mc_value **ret, struct mc_err *err)
{
    const struct mc_tensor *t = mc_constant(v);
    struct mc_tensor *mask = NULL;
    struct mc_node *cast;
    struct mc_value *made = NULL;
    void *data;
    char *hint = mc_calloc(strlen(v->name) + sizeof suffix, 1);
    int rc = hint ? mc_tensor_new(MC_DTYPE_BOOL, &t->shape, g->model->spill, &mask, &data, err)
                  : no_memory(err);
    if (!rc) {
        strcat(strcpy(hint, v->name), suffix);
        for (size_t i = 0; i < mask->bytes; i++)
            ((uint8_t *)data)[i] = !zero[i];
        rc = mc_constant_new(g, pos, hint, mask, &made, err);
    }
    *ret = rc ? NULL : mc_edit_fresh(g, hint);
    if (!rc)
        rc = *ret ? mc_edit_node(g, pos, "Cast", "", 0, "", &made, 1, ret, 1, &cast, err)
                  : no_memory(err);
    if (!rc)
        rc = mc_edit_attr_int(cast, "to", (int64_t)t->dtype, err);
    mc_tensor_unref(mask);
    free(hint);
    return rc;
}

static int open_one(struct mc_graph *g, struct mc_value *v, const bool *zero, struct mc_err *err)
{
    size_t pos = v->producer ? v->producer->pos + 1 : 0;
    struct mc_value *in[2] = {v}, *out = mc_edit_fresh(g, v->name);
    struct mc_node *mul;
    int rc = out ? add_mask(g, v, zero, pos, &in[1], err) : no_memory(err);
    if (!rc)
        rc = mc_edit_node(g, in[1]->producer->pos + 1, "Mul", "", 0, "", in, 2, &out, 1, &mul, err);
    if (!rc)
        rc = mc_edit_replace_uses(v, out, err);
    return rc ? rc : mc_edit_set_input(mul, 0, v, err);
}

int mc_mask_open(struct mc_model *m, bool any, struct mc_err *err)
{
    struct mc_mask_sites s;
    int rc = mc_mask_sites_find(m->graph, &s, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < s.n && !rc; i++) {
        bool *zero = NULL;
        if (s.item[i].why || is_open(s.item[i].value))
            continue;
        rc = mask_of(&s.item[i], any, &zero, err);
        if (!rc && zero)
            rc = open_one(m->graph, s.item[i].value, zero, err);
        free(zero);
    }
    mc_mask_sites_free(&s);
    return rc;
}

/* ---- closing ---- */

static int close_one(struct mc_model *m, struct mc_node *mul, struct mc_err *err)
{
    struct mc_value *v = mul->in[0];
    const struct mc_tensor *t = mc_constant(v), *mask = mc_constant(mul->in[1]->producer->in[0]);
    size_t size = mc_dtype_info(t->dtype)->bits / 8;
    struct mc_tensor *made = NULL;
    void *data;
    int rc = mc_tensor_new(t->dtype, &t->shape, m->spill, &made, &data, err);
    for (size_t i = 0; !rc && i < mask->bytes; i++)
        if (mask->data[i])
            memcpy((uint8_t *)data + i * size, t->data + i * size, size);
    if (!rc)
        rc = mc_constant_replace(v, made, err);
    mc_tensor_unref(made);
    struct mc_value *out = mul->out[0], *cast = mul->in[1];
    if (!rc)
        rc = mc_edit_replace_uses(out, v, err);
    if (rc)
        return rc;
    mc_edit_remove_node(mul);
    mc_edit_remove_value(out);
    if (cast->n_uses == 0) {
        struct mc_node *n = cast->producer;
        struct mc_value *bits = n->in[0];
        mc_edit_remove_node(n);
        mc_edit_remove_value(cast);
        if (bits->n_uses == 0 && !bits->producer)
            mc_edit_remove_value(bits);
    }
    return 0;
}

int mc_mask_close(struct mc_model *m, struct mc_err *err)
{
    struct mc_graph *g = m->graph;
    int rc = 0;
    for (size_t i = 0; i < g->n_nodes && !rc;) {
        struct mc_node *n = g->nodes[i];
        const struct mc_node *cast =
            mc_node_is(n, "Mul") && n->n_in == 2 && n->in[1] ? n->in[1]->producer : NULL;
        const struct mc_tensor *mask =
            cast && mc_node_is(cast, "Cast") && cast->in[0] ? mc_constant(cast->in[0]) : NULL;
        const struct mc_tensor *t = mask && n->in[0] ? mc_constant(n->in[0]) : NULL;
        if (t && mask->dtype == MC_DTYPE_BOOL && strstr(cast->in[0]->name, suffix) &&
            mc_shape_equal(&t->shape, &mask->shape)) {
            rc = close_one(m, n, err);
            i -= i < 2 ? i : 2; /* up to two nodes before it went with it */
        } else {
            i++;
        }
    }
    return rc;
}
