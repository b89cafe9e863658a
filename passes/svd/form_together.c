/* Layers that read one value (the projections of attention, gates and the values they let through): one product
 * that reduces the value, shared by all, and one behind it for each. */
#include "passes/svd/svd_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "graph/edit.h"
#include "passes/svd/svd_norm.h"
#include "passes/svd/svd_rewrite.h"
#include "passes/svd/svd_stack.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static bool applies(const struct mc_svd_run *r, const struct mc_svd_item *it)
{
    (void)r;
    return it->n_layers > 1;
}

static void release(void *state)
{
    if (state)
        mc_svd_spectrum_free(state);
    free(state);
}

/* ---- the curve ---- */

static double rows_macs(const struct mc_svd_run *r, const struct mc_svd_item *it)
{
    const struct mc_layer *l = &r->layers.item[it->layer[0]];
    return l->sites[0].rows < 0 ? NAN : (double)l->sites[0].rows;
}

static int make_points(struct mc_svd_run *r, const struct mc_svd_item *it,
                       const struct mc_layer *stack, const struct mc_svd_spectrum *s,
                       struct mc_svd_point **ret, struct mc_err *err)
{
    struct mc_svd_point *p = mc_calloc((size_t)s->known + 1, sizeof *p);
    if (!p)
        return no_memory(err);
    size_t elem = mc_dtype_info(r->layers.item[it->layer[0]].weight->dtype)->bits / 8;
    double rows = rows_macs(r, it), each = (double)(stack->m + stack->n);
    for (int64_t k = 1; k <= s->known; k++)
        p[k - 1] = (struct mc_svd_point){.rank = {k, 0},
                                         .bytes = (uint64_t)((double)k * each) * elem,
                                         .macs = rows * (double)k * each,
                                         .error = s->total * s->tail[k]};
    *ret = p;
    return 0;
}

static int analyse(struct mc_svd_run *r, const struct mc_svd_item *it, double want,
                   struct mc_svd_curve *c, struct mc_err *err)
{
    struct mc_svd_stack stack;
    struct mc_svd_point *point = NULL;
    int rc = mc_interrupt_check(err);
    if (!rc)
        rc = mc_svd_stack_make(r, it, &stack, err);
    if (rc)
        return rc;
    int64_t cap = mc_layer_rank_cap(&stack.layer);
    struct mc_svd_spectrum *s = mc_calloc(1, sizeof *s);
    rc = s ? mc_svd_analyse(r->la, &stack.layer, &stack.norm, r->method,
                            (int64_t)ceil(want * (double)cap), r->ctx->seed + it->layer[0],
                            r->model->spill, s, err)
           : no_memory(err);
    if (!rc)
        rc = make_points(r, it, &stack.layer, s, &point, err);
    mc_svd_stack_free(&stack);
    if (rc) {
        release(s);
        return rc;
    }
    release(c->state);
    free(c->point);
    c->state = s;
    c->point = point;
    c->complete = s->known >= cap || (size_t)s->known == c->n;
    c->n = (size_t)s->known;
    return 0;
}

/* ---- the factors ---- */

/* The layers' first products are one node, in front of the first of them. */
static int put_reduce(struct mc_model *m, const struct mc_layers *in_m,
                      const struct mc_svd_item *it, const float *b, int64_t rank,
                      struct mc_value **ret, struct mc_err *err)
{
    char name[1024];
    const struct mc_layer *l = &in_m->item[it->layer[0]];
    struct mc_node *first = l->sites[0].node, *node;
    for (size_t k = 1; k < it->n_layers; k++) {
        struct mc_node *n = in_m->item[it->layer[k]].sites[0].node;
        first = n->pos < first->pos ? n : first;
    }
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){l->n, rank});
    struct mc_value *x = first->in[0], *w;
    float *across = b ? mc_calloc((size_t)l->n, (size_t)rank * sizeof *across) : NULL;
    if (b && !across)
        return no_memory(err);
    for (int64_t k = 0; b && k < rank; k++)
        for (int64_t j = 0; j < l->n; j++)
            across[j * rank + k] = b[k * l->n + j];
    int rc = mc_svd_factor(m, l, &shape, across, "_reduce", &w, err);
    free(across);
    if (rc)
        return rc;
    snprintf(name, sizeof name, "%.900s_reduced", x->name);
    *ret = mc_edit_fresh(first->graph, name);
    snprintf(name, sizeof name, "%.900s_reduce", first->name);
    return *ret ? mc_edit_node(first->graph, first->pos, "MatMul", "", 0, *first->name ? name : "",
                               (struct mc_value *[]){x, w}, 2, ret, 1, &node, err)
                : no_memory(err);
}

/* a: the layer's rows of A [m, rank]. */
static int put_expand(struct mc_model *m, const struct mc_layer *l, const float *a, int64_t rank,
                      struct mc_value *reduced, struct mc_err *err)
{
    struct mc_shape shape =
        mc_shape_of(2, l->out_major ? (int64_t[]){l->m, rank} : (int64_t[]){rank, l->m});
    struct mc_node *n = l->sites[0].node;
    struct mc_value *w;
    float *across = a && !l->out_major ? mc_calloc((size_t)l->m, (size_t)rank * sizeof *a) : NULL;
    if (a && !l->out_major && !across)
        return no_memory(err);
    for (int64_t i = 0; across && i < l->m; i++)
        for (int64_t k = 0; k < rank; k++)
            across[k * l->m + i] = a[i * rank + k];
    int rc = mc_svd_factor(m, l, &shape, across ? across : a, "_expand", &w, err);
    free(across);
    if (!rc)
        rc = mc_edit_set_input(n, 0, reduced, err);
    return rc ? rc : mc_edit_set_input(n, 1, w, err);
}

/* Both NULL: sizes only. */
static int put(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
               const struct mc_svd_item *it, const struct mc_svd_pair *pair, int64_t rank,
               struct mc_err *err)
{
    struct mc_value *reduced;
    int64_t at = 0, most = 0;
    int rc = put_reduce(m, in_m, it, pair ? pair->b : NULL, rank, &reduced, err);
    for (size_t k = 0; k < it->n_layers; k++)
        most = r->layers.item[it->layer[k]].m > most ? r->layers.item[it->layer[k]].m : most;
    float *zeros = mc_calloc((size_t)most, sizeof *zeros);
    if (!rc && !zeros)
        rc = no_memory(err);
    for (size_t k = 0; !rc && k < it->n_layers; k++) {
        const struct mc_layer *l = &in_m->item[it->layer[k]];
        const float *shift = pair && pair->shift[0] ? pair->shift[0] + at : zeros;
        rc = put_expand(m, l, pair ? pair->a + at * rank : NULL, rank, reduced, err);
        if (!rc && mc_svd_norm_mean(r, it->layer[k], 0))
            rc = mc_svd_shift_site(m, l, &l->sites[0], shift, err);
        at += l->m;
    }
    free(zeros);
    return rc;
}

static int place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                 const struct mc_svd_item *it, const struct mc_svd_curve *c,
                 const struct mc_svd_point *p, bool sizes_only, struct mc_err *err)
{
    struct mc_svd_stack stack;
    struct mc_svd_pair pair;
    const float *mean = NULL;
    if (sizes_only)
        return put(r, m, in_m, it, NULL, p->rank[0], err);
    int rc = mc_svd_stack_make(r, it, &stack, err);
    if (rc)
        return rc;
    for (size_t k = 0; k < it->n_layers && !mean; k++)
        mean = mc_svd_norm_mean(r, it->layer[k], 0);
    rc = mc_svd_pair(r->la, &stack.layer, c->state, p->rank[0], &mean, &pair, err);
    if (!rc) {
        rc = put(r, m, in_m, it, &pair, p->rank[0], err);
        mc_svd_pair_free(&pair);
    }
    mc_svd_stack_free(&stack);
    return rc;
}

const struct mc_svd_form mc_svd_form_together = {"together", applies, analyse, place, release};
