#include "passes/svd/svd_probe.h"

#include <stdio.h>
#include <stdlib.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/layer/layer_slot.h"

/* A cell whose weight of ones would be larger is measured without its sums. */
enum { MOST_ONES = 1 << 26 };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* x [of `shape`] as a constant like the weight; x is freed. */
static int constant(struct mc_node *n, const struct mc_shape *shape, const char *hint, float *x,
                    struct mc_value **ret, struct mc_err *err)
{
    struct mc_tensor *t;
    int rc = x ? mc_constant_make(x, shape, mc_constant(n->in[1])->dtype, NULL, &t, err)
               : no_memory(err);
    free(x);
    if (rc)
        return rc;
    rc = mc_constant_new(n->graph, 0, hint, t, ret, err);
    mc_tensor_unref(t);
    return rc;
}

/* W [dirs, rows, n] as the [n, dirs rows] of a MatMul, and ones in its place. */
static int split_weights(struct mc_node *n, struct mc_value **ret_product, struct mc_err *err)
{
    const struct mc_shape *s = &mc_constant(n->in[1])->shape;
    int64_t rows = s->dim[0] * s->dim[1], cols = s->dim[2], count;
    struct mc_shape out = mc_shape_of(2, (int64_t[]){cols, rows});
    struct mc_shape ones = mc_shape_of(3, (int64_t[]){s->dim[0], s->dim[1], rows});
    struct mc_value *one;
    float *w, *across = mc_calloc((size_t)rows, (size_t)cols * sizeof *across);
    float *unit = mc_calloc((size_t)rows, (size_t)rows * sizeof *unit);
    int rc = mc_constant_f32(n->in[1], &w, &count, err);
    if (rc) {
        free(across);
        free(unit);
        return rc;
    }
    for (int64_t i = 0; across && unit && i < rows; i++) {
        unit[i * rows + i] = 1;
        for (int64_t j = 0; j < cols; j++)
            across[j * rows + i] = w[i * cols + j];
    }
    free(w);
    rc = constant(n, &ones, "probe_one", unit, &one, err);
    if (rc)
        free(across);
    else
        rc = constant(n, &out, "probe_w", across, ret_product, err);
    return rc ? rc : mc_edit_set_input(n, 1, one, err);
}

static int split(struct mc_node *n, const struct mc_value **ret, struct mc_err *err)
{
    const struct mc_shape *s = &mc_constant(n->in[1])->shape;
    int64_t rows = s->dim[0] * s->dim[1];
    if (s->rank != 3 || rows < 1 || rows > MOST_ONES / rows)
        return 0;
    struct mc_value *w, *sum = mc_edit_fresh(n->graph, "probe_sum");
    struct mc_node *product;
    int rc = sum ? split_weights(n, &w, err) : no_memory(err);
    if (!rc)
        rc = mc_edit_node(n->graph, n->pos, "MatMul", "", n->version, "",
                          (struct mc_value *[]){n->in[0], w}, 2, &sum, 1, &product, err);
    if (!rc)
        rc = mc_edit_set_input(n, 0, sum, err);
    *ret = sum;
    return rc;
}

static int give_states(struct mc_node *n, const struct mc_value **ret, struct mc_err *err)
{
    int rc = 0;
    if (n->n_out == 0 || !n->out[0]) {
        struct mc_value *y = mc_edit_fresh(n->graph, "probe_states");
        rc = y ? mc_edit_set_output(n, 0, y, err) : no_memory(err);
    }
    if (!rc)
        *ret = n->out[0];
    return rc;
}

/* Nodes from the last to the first: positions of those before stay what they are in the original. */
static int fill(const struct mc_model *m, const bool *wanted, bool sums, struct mc_svd_probe *p,
                struct mc_err *err)
{
    int64_t gates, dirs;
    for (size_t i = m->graph->n_nodes; i > 0; i--) {
        const struct mc_node *from = m->graph->nodes[i - 1];
        struct mc_node *n = p->model->graph->nodes[i - 1];
        if (!wanted[from->id] || !mc_layer_cell(n, &gates, &dirs))
            continue;
        int rc = give_states(n, &p->states[from->id], err);
        if (!rc && sums && mc_constant(n->in[1]))
            rc = split(n, &p->sums[from->id], err);
        if (rc)
            return rc;
    }
    return 0;
}

int mc_svd_probe_make(const struct mc_model *m, const struct mc_layers *l, bool sums,
                      struct mc_svd_probe *ret, struct mc_err *err)
{
    struct mc_svd_probe p = {0};
    size_t ids = m->graph->n_node_ids;
    bool any = false, *wanted = mc_calloc(ids, sizeof *wanted);
    if (!wanted)
        return no_memory(err);
    for (size_t i = 0; i < l->n; i++)
        for (size_t s = 0; s < l->item[i].n_sites; s++) {
            const struct mc_layer *k = &l->item[i];
            if (k->reason || k->sites[s].node->graph != m->graph ||
                (k->kind != MC_LAYER_INPUT && k->kind != MC_LAYER_RECURRENT))
                continue;
            any = wanted[k->sites[s].node->id] = true;
        }
    int rc = 0;
    if (any) {
        p.states = mc_calloc(ids, sizeof *p.states);
        p.sums = mc_calloc(ids, sizeof *p.sums);
        rc = p.states && p.sums ? mc_model_clone(m, &p.model, err) : no_memory(err);
        if (!rc)
            rc = fill(m, wanted, sums, &p, err);
    }
    free(wanted);
    if (rc)
        mc_svd_probe_free(&p);
    else
        *ret = p;
    return rc;
}

void mc_svd_probe_free(struct mc_svd_probe *p)
{
    mc_model_free(p->model);
    free(p->states);
    free(p->sums);
    *p = (struct mc_svd_probe){0};
}
