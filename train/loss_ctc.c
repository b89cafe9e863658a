#include "train/loss_ctc.h"

#include "graph/edit.h"

static int unfit(const struct mc_side *s, const struct mc_value *output, const char *why,
                 struct mc_err *err)
{
    char text[MC_SHAPE_TEXT];
    const struct mc_vtype *t = mc_infer_of(s->inf, output);
    return mc_fail(err, MC_ESHAPE,
                   "the loss ctc needs scores [steps,batch,classes] or [batch,steps,classes], but "
                   "output '%s' is %s%s; name another with --output",
                   output->name, t->ranked ? mc_shape_text(&t->shape, text) : "of unknown shape",
                   why);
}

/* The length of the batch, as inference knows it: below 0 a symbol. */
static bool batch_of(const struct mc_side *s, bool whole, int64_t *ret)
{
    const struct mc_graph *g = s->m->graph;
    *ret = 1;
    for (size_t i = 0; i < g->n_inputs && !whole; i++) {
        const struct mc_vtype *t = mc_infer_of(s->inf, g->inputs[i]);
        if (t->ranked && t->shape.rank > 0) {
            *ret = t->shape.dim[0];
            return true;
        }
    }
    return whole;
}

static int find_batch(const struct mc_side *s, const struct mc_value *output, bool whole,
                      int *ret_axis, struct mc_err *err)
{
    const int64_t *dim = mc_infer_of(s->inf, output)->shape.dim;
    int64_t batch;
    bool known = batch_of(s, whole, &batch), is[2] = {false};
    for (int i = 0; i < 2 && known; i++)
        is[i] = dim[i] == batch && dim[i] != MC_DIM_ANY;
    /* of two lengths that are not the batch's, that which is open may still be it */
    if (!is[0] && !is[1] && batch < 0)
        for (int i = 0; i < 2; i++)
            is[i] = dim[i] < 0;
    if (is[0] == is[1])
        return unfit(s, output, ", of which no axis or either may be the batch", err);
    *ret_axis = is[1];
    return 0;
}

/* The other order of the first two axes. */
static bool swaps(const struct mc_node *n)
{
    size_t rank;
    const int64_t *perm = mc_node_is(n, "Transpose") ? mc_node_ints(n, "perm", &rank) : NULL;
    return perm && rank == 3 && perm[0] == 1 && perm[1] == 0;
}

/* Whether a Softmax is over the classes of a value of that rank. */
static bool over_classes(const struct mc_node *n, int rank)
{
    int64_t axis = mc_node_int(n, "axis", n->version < 13 ? 1 : -1);
    return axis == -1 || axis == rank - 1;
}

static bool of_rank(const struct mc_side *s, const struct mc_value *v, int rank)
{
    const struct mc_vtype *t = mc_infer_of(s->inf, v);
    return t->ranked && t->shape.rank == rank;
}

/* To what is before the Softmax, where that is found on the way back. */
static void find_scores(const struct mc_side *s, struct mc_ctc_scores *r)
{
    struct mc_value *v = r->like;
    bool swapped = false;
    while (v->producer && v->producer->in[0] && of_rank(s, v->producer->in[0], 3) &&
           (mc_node_is(v->producer, "Identity") || swaps(v->producer))) {
        swapped ^= swaps(v->producer);
        v = v->producer->in[0];
    }
    struct mc_scores scores = mc_side_scores(v);
    if (scores.kind != MC_SCORES_SOFTMAX)
        return;
    const struct mc_vtype *t = mc_infer_of(s->inf, scores.value);
    if (!t->ranked || !over_classes(scores.node, t->shape.rank) ||
        t->shape.dim[t->shape.rank - 1] != r->classes)
        return;
    r->value = scores.value;
    r->like = v;
    r->batch_first ^= swapped;
}

int mc_ctc_scores_find(const struct mc_side *s, struct mc_value *output, bool whole,
                       struct mc_ctc_scores *ret, struct mc_err *err)
{
    const struct mc_vtype *t = mc_infer_of(s->inf, output);
    if (!t->ranked || t->shape.rank != 3 || mc_dtype_info(t->dtype)->kind != MC_KIND_FLOAT)
        return unfit(s, output, "", err);
    if (t->shape.dim[2] < 1)
        return unfit(s, output, ", whose classes are not known", err);
    int axis = 0, rc = find_batch(s, output, whole, &axis, err);
    if (rc)
        return rc;
    int64_t steps = t->shape.dim[!axis];
    *ret = (struct mc_ctc_scores){.value = output,
                                  .like = output,
                                  .batch_first = axis == 0,
                                  .classes = t->shape.dim[2],
                                  .steps = steps < 0 ? 0 : steps};
    find_scores(s, ret);
    return 0;
}
