#include <stdlib.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/share/share_tie.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for ties");
}

static bool is_on(const bool *on, size_t i)
{
    return !on || on[i];
}

/* Mean of a tensor and all that are tied to it. */
static int average(const struct mc_ties *t, size_t to, const bool *on, struct mc_model *m,
                   struct mc_err *err)
{
    const struct mc_tensor *root = t->tensor[to].tensor;
    float *sum, *x;
    int64_t n;
    size_t count = 1;
    int rc = mc_constant_f32(t->tensor[to].value, &sum, &n, err);
    if (rc)
        return rc;
    for (size_t i = 0; !rc && i < t->n; i++) {
        if (t->tie[i].to != to || !is_on(on, i))
            continue;
        rc = mc_constant_f32(t->tensor[t->tie[i].from].value, &x, &n, err);
        int64_t rows = root->shape.dim[0], cols = t->tie[i].transposed ? root->shape.dim[1] : 0;
        for (int64_t k = 0; !rc && k < n; k++)
            sum[k] += t->tie[i].transposed ? x[k % cols * rows + k / cols] : x[k];
        if (!rc)
            free(x);
        count++;
    }
    for (int64_t k = 0; k < n; k++)
        sum[k] /= (float)count;
    struct mc_tensor *made = NULL;
    if (!rc)
        rc = mc_constant_make(sum, &root->shape, root->dtype, m->spill, &made, err);
    if (!rc)
        rc = mc_constant_replace(t->tensor[to].value, made, err);
    mc_tensor_unref(made);
    free(sum);
    return rc;
}

static int replace(const struct mc_ties *t, const struct mc_tie *tie, struct mc_model *m,
                   struct mc_err *err)
{
    struct mc_value *to = t->tensor[tie->to].value, *from = t->tensor[tie->from].value, *x = to;
    if (tie->transposed) {
        struct mc_node *node;
        x = mc_edit_fresh(m->graph, from->name);
        int rc = x ? mc_edit_node(m->graph, to->producer ? to->producer->pos + 1 : 0, "Transpose",
                                  "", 0, "", &to, 1, &x, 1, &node, err)
                   : no_memory(err);
        if (!rc)
            rc = mc_edit_attr_ints(node, "perm", (int64_t[]){1, 0}, 2, err);
        if (rc)
            return rc;
    }
    return mc_edit_replace_uses(from, x, err);
}

int mc_ties_place(const struct mc_ties *t, struct mc_model *m, const bool *on, struct mc_err *err)
{
    int rc = 0;
    bool *done = mc_calloc(t->n_tensors + 1, sizeof *done);
    if (!done)
        return no_memory(err);
    for (size_t i = 0; !rc && i < t->n; i++) /* contents while all of them are there */
        if (is_on(on, i) && !t->tie[i].same && !done[t->tie[i].to]) {
            done[t->tie[i].to] = true;
            rc = average(t, t->tie[i].to, on, m, err);
        }
    for (size_t i = 0; !rc && i < t->n; i++)
        if (is_on(on, i))
            rc = replace(t, &t->tie[i], m, err);
    free(done);
    if (!rc)
        mc_edit_sweep(m->graph);
    return rc;
}
