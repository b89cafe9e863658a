/* One weight that computes several things at once (Q, K and V), taken apart: a product that reduces to the directions of all
 * parts, one part's next to the other's, and a product behind it for each part. */
#include "passes/svd/svd_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/svd/svd_norm.h"
#include "passes/svd/svd_path.h"
#include "passes/svd/svd_rewrite.h"

enum { PARTS_MAX = 3 };

struct part {
    struct mc_layer layer; /* its rows of W, f32 */
    struct mc_tensor *weight;
    struct mc_svd_spectrum spectrum;
    struct mc_svd_choice choice;
};

struct state {
    size_t n;
    struct part part[PARTS_MAX];
    struct mc_svd_path path;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static bool applies(const struct mc_svd_run *r, const struct mc_svd_item *it)
{
    const struct mc_layer *l = &r->layers.item[it->layer[0]];
    const struct mc_layer_site *s = l->sites;
    if (it->n_layers != 1 || l->kind != MC_LAYER_MATMUL || l->n_sites != 1 || s->y_rank < 2 ||
        s->y_parts < 2 || s->y_parts > PARTS_MAX || l->m % s->y_parts)
        return false;
    double m = (double)(l->m / s->y_parts), n = (double)l->n;
    return m * n > m + n; /* otherwise no rank makes a part smaller */
}

static void release(void *state)
{
    struct state *s = state;
    for (size_t k = 0; s && k < s->n; k++) {
        mc_svd_spectrum_free(&s->part[k].spectrum);
        mc_svd_choice_free(&s->part[k].choice);
        mc_tensor_unref(s->part[k].weight);
    }
    if (s)
        mc_svd_path_free(&s->path);
    free(s);
}

/* ---- the curve ---- */

static int cut_weights(struct mc_svd_run *r, const struct mc_layer *l, struct state *s,
                       struct mc_err *err)
{
    float *w = NULL;
    int rc = mc_layer_read(l, &w, err);
    size_t parts = (size_t)l->sites->y_parts;
    int64_t m = l->m / (int64_t)parts;
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){m, l->n});
    for (s->n = 0; !rc && s->n < parts; s->n++) {
        struct part *p = &s->part[s->n];
        rc = mc_constant_make(w + (int64_t)s->n * m * l->n, &shape, MC_DTYPE_F32, r->model->spill,
                              &p->weight, err);
        if (rc)
            break;
        p->layer = *l;
        p->layer.out_major = true;
        p->layer.m = m;
        p->layer.weight = p->weight;
        p->layer.given_bytes = 0;
    }
    free(w);
    return rc;
}

static int offer(const struct mc_svd_run *r, struct part *p, double scale, uint64_t bytes,
                 double macs, struct mc_err *err)
{
    struct mc_svd_choice *c = &p->choice;
    const struct mc_svd_spectrum *s = &p->spectrum;
    c->offer = mc_calloc((size_t)s->known + 1, sizeof *c->offer);
    if (!c->offer)
        return no_memory(err);
    for (int64_t k = 1; k <= s->known; k++)
        c->offer[c->n++] = (struct mc_svd_offer){(double)k * (r->by_macs ? macs : (double)bytes),
                                                 scale * s->total * s->tail[k], 0, (uint32_t)k};
    return c->n ? mc_svd_choice_make(c, err) : mc_fail(err, MC_EFAIL, "no rank of a part is known");
}

static int analyse_parts(struct mc_svd_run *r, size_t layer, double want, struct state *s,
                         struct mc_err *err)
{
    const struct mc_layer *l = &r->layers.item[layer];
    size_t elem = mc_dtype_info(l->weight->dtype)->bits / 8;
    double total;
    int rc = cut_weights(r, l, s, err);
    if (!rc)
        rc = mc_svd_run_total(r, layer, &total, err);
    for (size_t k = 0; !rc && k < s->n; k++) {
        struct part *p = &s->part[k];
        struct mc_svd_norm norm;
        struct mc_svd_norm_hold hold;
        int64_t each = p->layer.m + p->layer.n;
        int64_t cap = mc_layer_rank_cap(&p->layer);
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = mc_svd_norm_of_rows(r, layer, (int64_t)k * p->layer.m, p->layer.m, &norm, &hold,
                                     err);
        if (rc)
            break;
        rc = mc_svd_analyse(
            r->la, &p->layer, &norm, r->method, (int64_t)ceil(fmin(1, 1.5 * want) * (double)cap),
            r->ctx->seed + layer + 7919 * (k + 1), r->model->spill, &p->spectrum, err);
        mc_svd_norm_free(&hold);
        if (!rc)
            rc = offer(r, p, mc_svd_run_scale(r, layer), (uint64_t)each * elem,
                       (double)l->sites->rows * (double)each, err);
    }
    return rc;
}

static int64_t rank_of(const struct state *s, size_t row, size_t k)
{
    return (int64_t)s->part[k].choice.offer[s->path.at[row * s->n + k]].point;
}

static struct mc_svd_point point_of(const struct mc_layer *l, const struct state *s, size_t row)
{
    struct mc_svd_point p = {0};
    for (size_t k = 0; k < s->n; k++) {
        p.rank[0] += rank_of(s, row, k);
        p.error += s->part[k].choice.offer[s->path.at[row * s->n + k]].error;
    }
    int64_t each = s->part[0].layer.m + l->n;
    p.bytes = (uint64_t)(p.rank[0] * each) * (mc_dtype_info(l->weight->dtype)->bits / 8);
    p.macs = l->sites->rows < 0 ? NAN : (double)l->sites->rows * (double)(p.rank[0] * each);
    return p;
}

static int make_path(struct state *s, struct mc_err *err)
{
    struct mc_svd_choice choice[PARTS_MAX];
    for (size_t k = 0; k < s->n; k++)
        choice[k] = s->part[k].choice;
    return mc_svd_path_make(choice, s->n, &s->path, err);
}

static int analyse(struct mc_svd_run *r, const struct mc_svd_item *it, double want,
                   struct mc_svd_curve *c, struct mc_err *err)
{
    const struct mc_layer *l = &r->layers.item[it->layer[0]];
    struct mc_svd_point *point = NULL;
    struct state *s = mc_calloc(1, sizeof *s);
    int rc = s ? analyse_parts(r, it->layer[0], want, s, err) : no_memory(err);
    if (!rc)
        rc = make_path(s, err);
    if (!rc && !(point = mc_calloc(s->path.n, sizeof *point)))
        rc = no_memory(err);
    if (rc) {
        release(s);
        return rc;
    }
    size_t n = 0;
    while (n < s->path.n) {
        point[n] = point_of(l, s, n);
        if (point[n].bytes >= it->bytes)
            break;
        n++;
    }
    bool complete = n < s->path.n || n == c->n;
    release(c->state);
    free(c->point);
    c->complete = complete;
    c->state = s;
    c->point = point;
    c->n = n;
    return 0;
}

/* ---- the factors ---- */

struct pairs {
    struct mc_svd_pair part[PARTS_MAX];
    float *reduce; /* [n, sum of ranks] */
    float *shift;  /* [m] */
};

static void free_pairs(struct pairs *f)
{
    for (size_t k = 0; k < PARTS_MAX; k++)
        mc_svd_pair_free(&f->part[k]);
    free(f->reduce);
    free(f->shift);
}

static int make_pairs(struct mc_svd_run *r, const struct mc_layer *l, size_t layer,
                      const struct state *s, size_t row, int64_t sum, struct pairs *f,
                      struct mc_err *err)
{
    const float *mean = mc_svd_norm_mean(r, layer, 0);
    int64_t first = 0;
    f->reduce = mc_calloc((size_t)l->n, (size_t)sum * sizeof *f->reduce);
    int rc = f->reduce ? 0 : no_memory(err);
    for (size_t k = 0; !rc && k < s->n; k++) {
        const struct part *p = &s->part[k];
        int64_t rank = rank_of(s, row, k);
        rc = mc_svd_pair(r->la, &p->layer, &p->spectrum, rank, &mean, &f->part[k], err);
        for (int64_t i = 0; !rc && i < rank; i++)
            for (int64_t j = 0; j < l->n; j++)
                f->reduce[j * sum + first + i] = f->part[k].b[i * l->n + j];
        if (!rc && mean)
            memcpy(f->shift + (int64_t)k * p->layer.m, f->part[k].shift[0],
                   (size_t)p->layer.m * sizeof *f->shift);
        first += rank;
    }
    return rc;
}

static struct mc_value *fresh(const struct mc_node *n, const char *suffix)
{
    char name[1024];
    snprintf(name, sizeof name, "%.900s%s", n->out[0]->name, suffix);
    return mc_edit_fresh(n->graph, name);
}

/* t [.., sum of ranks] -> one value for each part. The sizes were an attribute before opset 13. */
static int put_split(const struct mc_layer *l, const struct state *s, size_t row,
                     struct mc_value *t, struct mc_value **ret, struct mc_err *err)
{
    struct mc_node *n = l->sites->node, *split;
    bool attr = mc_graph_opset(n->graph, "") < 13;
    int64_t count = (int64_t)s->n, *size;
    struct mc_shape shape = mc_shape_of(1, &count);
    struct mc_value *in[2] = {t, NULL};
    struct mc_tensor *sizes;
    void *data;
    int rc = mc_tensor_new(MC_DTYPE_I64, &shape, NULL, &sizes, &data, err);
    if (rc)
        return rc;
    size = data;
    for (size_t k = 0; k < s->n; k++)
        size[k] = rank_of(s, row, k);
    for (size_t k = 0; !rc && k < s->n; k++)
        rc = (ret[k] = fresh(n, "_reduced")) ? 0 : no_memory(err);
    if (!rc && !attr)
        rc = mc_constant_new(n->graph, 0, "split", sizes, &in[1], err);
    if (!rc)
        rc = mc_edit_node(n->graph, n->pos, "Split", "", 0, "", in, attr ? 1 : 2, ret, s->n, &split,
                          err);
    if (!rc)
        rc = mc_edit_attr_int(split, "axis", l->sites->y_rank - 1, err);
    if (!rc && attr)
        rc = mc_edit_attr_ints(split, "split", size, s->n, err);
    mc_tensor_unref(sizes);
    return rc;
}

/* A [m / parts, rank] of part k behind its reduced value; NULL: sizes only. */
static int put_expand(struct mc_model *m, const struct mc_layer *l, const float *a, int64_t rows,
                      int64_t rank, struct mc_value *reduced, struct mc_value **ret,
                      struct mc_err *err)
{
    struct mc_node *n = l->sites->node, *product;
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){rank, rows});
    struct mc_value *w;
    float *across = a ? mc_calloc((size_t)rows, (size_t)rank * sizeof *across) : NULL;
    if (a && !across)
        return no_memory(err);
    for (int64_t i = 0; a && i < rows; i++)
        for (int64_t k = 0; k < rank; k++)
            across[k * rows + i] = a[i * rank + k];
    int rc = mc_svd_factor(m, l, &shape, across, "_expand", &w, err);
    free(across);
    if (rc)
        return rc;
    *ret = fresh(n, "_part");
    return *ret ? mc_edit_node(n->graph, n->pos, "MatMul", "", n->version, "",
                               (struct mc_value *[]){reduced, w}, 2, ret, 1, &product, err)
                : no_memory(err);
}

/* The node that had the weight joins the parts. */
static int put(struct mc_model *m, const struct mc_layer *l, const struct state *s, size_t row,
               int64_t sum, const struct pairs *f, bool sizes_only, struct mc_err *err)
{
    char name[1024];
    struct mc_node *n = l->sites->node, *first;
    struct mc_value *w, *t, *reduced[PARTS_MAX], *part[PARTS_MAX] = {NULL};
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){l->n, sum});
    int rc = mc_svd_factor(m, l, &shape, sizes_only ? NULL : f->reduce, "_reduce", &w, err);
    if (rc)
        return rc;
    snprintf(name, sizeof name, "%.900s_reduce", n->name);
    t = fresh(n, "_reduced");
    rc = t ? mc_edit_node(n->graph, n->pos, "MatMul", "", n->version, *n->name ? name : "",
                          (struct mc_value *[]){n->in[0], w}, 2, &t, 1, &first, err)
           : no_memory(err);
    if (!rc)
        rc = put_split(l, s, row, t, reduced, err);
    for (size_t k = 0; !rc && k < s->n; k++)
        rc = put_expand(m, l, sizes_only ? NULL : f->part[k].a, l->m / (int64_t)s->n,
                        rank_of(s, row, k), reduced[k], &part[k], err);
    if (!rc)
        rc = mc_edit_op(n, "", "Concat", (int)mc_graph_opset(n->graph, ""), err);
    if (!rc)
        rc = mc_edit_attr_int(n, "axis", l->sites->y_rank - 1, err);
    for (size_t k = 0; !rc && k < s->n; k++)
        rc = mc_edit_set_input(n, k, part[k], err);
    return rc;
}

static int place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                 const struct mc_svd_item *it, const struct mc_svd_curve *c,
                 const struct mc_svd_point *p, bool sizes_only, struct mc_err *err)
{
    const struct mc_layer *mine = &r->layers.item[it->layer[0]];
    struct mc_layer l = in_m->item[it->layer[0]];
    struct mc_layer_site site = l.sites[0];
    const struct state *s = c->state;
    struct pairs f = {0};
    size_t row = 0;
    site.y_rank = mine->sites->y_rank; /* a clone's layers have no extents */
    l.sites = &site;
    while (row + 1 < c->n && c->point[row].rank[0] != p->rank[0])
        row++;
    f.shift = mc_calloc((size_t)l.m, sizeof *f.shift);
    int rc = f.shift ? 0 : no_memory(err);
    if (!rc && !sizes_only)
        rc = make_pairs(r, &l, it->layer[0], s, row, p->rank[0], &f, err);
    if (!rc)
        rc = put(m, &l, s, row, p->rank[0], &f, sizes_only, err);
    if (!rc && mc_svd_norm_mean(r, it->layer[0], 0))
        rc = mc_svd_shift_site(m, &l, &l.sites[0], f.shift, err);
    free_pairs(&f);
    return rc;
}

const struct mc_svd_form mc_svd_form_split = {"split", applies, analyse, place, release};
