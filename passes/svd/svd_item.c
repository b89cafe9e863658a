#include "passes/svd/svd_item.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "passes/svd/form_conv.h"
#include "passes/svd/svd_run.h"

/* All forms; where two do equally well the first is taken. */
static const struct mc_svd_form *const forms[] = {
    &mc_svd_form_matrix,      &mc_svd_form_stored, &mc_svd_form_input,     &mc_svd_form_spatial,
    &mc_svd_form_spatial_row, &mc_svd_form_tucker, &mc_svd_form_separable, &mc_svd_form_group,
    &mc_svd_form_together,    &mc_svd_form_apart,  &mc_svd_form_split,
};
enum { N_FORMS = sizeof forms / sizeof *forms };

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- names of points ---- */

const char *mc_svd_label(const struct mc_svd_form *f, const struct mc_svd_point *p,
                         char ret[MC_SVD_LABEL])
{
    int n = snprintf(ret, MC_SVD_LABEL, "%.30s%srank %lld", f->name, *f->name ? " " : "",
                     (long long)p->rank[0]);
    if (p->rank[1])
        snprintf(ret + n, MC_SVD_LABEL - (size_t)n, "x%lld", (long long)p->rank[1]);
    return ret;
}

bool mc_svd_label_read(const struct mc_svd_form *f, const char *label, int64_t ret_rank[2])
{
    size_t n = strlen(f->name);
    if (n && (strncmp(label, f->name, n) || label[n++] != ' '))
        return false;
    long long a, b = 0;
    int end = -1;
    if (sscanf(label + n, "rank %lldx%lld%n", &a, &b, &end) != 2 || end < 0) {
        b = 0;
        end = -1;
        if (sscanf(label + n, "rank %lld%n", &a, &end) != 1)
            return false;
    }
    if (end < 0 || label[n + (size_t)end] || a < 1 || b < 0)
        return false;
    ret_rank[0] = a;
    ret_rank[1] = b;
    return true;
}

void mc_svd_curve_replace(struct mc_svd_curve *c, struct mc_svd_point *point, size_t n, size_t most,
                          void *state)
{
    c->form->release(c->state);
    free(c->point);
    c->state = state;
    c->point = point;
    c->complete = n >= most || n == c->n;
    c->n = n;
}

/* ---- items ---- */

static int add_forms(struct mc_svd_run *r, struct mc_svd_item *it, struct mc_err *err)
{
    it->curve = mc_calloc(N_FORMS, sizeof *it->curve);
    if (!it->curve)
        return no_memory(err);
    for (size_t f = 0; f < N_FORMS; f++)
        if (forms[f]->applies(r, it))
            it->curve[it->n_curves++].form = forms[f];
    return 0;
}

static int add_item(struct mc_svd_run *r, const size_t *layer, size_t n, struct mc_err *err)
{
    if (!MC_GROW(r->item, r->n_items, r->cap_items))
        return no_memory(err);
    struct mc_svd_item *it = &r->item[r->n_items++];
    *it = (struct mc_svd_item){.n_layers = n};
    it->layer = mc_calloc(n, sizeof *it->layer);
    if (!it->layer)
        return no_memory(err);
    memcpy(it->layer, layer, n * sizeof *layer);
    for (size_t k = 0; k < n; k++) {
        it->bytes += mc_layer_dense_bytes(&r->layers.item[layer[k]]);
        it->macs += mc_layer_dense_macs(&r->layers.item[layer[k]]);
    }
    return add_forms(r, it, err);
}

/* ---- groups ---- */

enum { GROUP_MAX = 16 };     /* more readers of one value are no projections of one layer */
enum { GROUP_ROWS = 16384 }; /* their norm together [rows, rows] takes 1 GiB */

/* Pairs that were merged stand alone, but those that had one factor in common stay together. */
static bool same_share(const struct mc_layer *a, const struct mc_layer *b)
{
    if (!a->given_share || !b->given_share)
        return !a->given_bytes && !b->given_bytes;
    return !strcmp(a->given_share, b->given_share);
}

/* A product of one node, that may share its input's factor with others. */
static bool groups_with(const struct mc_layer *a, const struct mc_layer *b)
{
    const struct mc_node *n = a->sites[0].node, *o = b->sites[0].node;
    return !b->reason && (b->kind == MC_LAYER_MATMUL || b->kind == MC_LAYER_GEMM) &&
           b->n_sites == 1 && same_share(a, b) && n->graph == o->graph && n->in[0] == o->in[0] &&
           a->n == b->n && a->weight->dtype == b->weight->dtype;
}

/* Layer i and those behind it that read the same value, none of them in an item yet. */
static size_t find_group(const struct mc_svd_run *r, size_t i, const bool *taken,
                         size_t ret[GROUP_MAX])
{
    const struct mc_layer *l = r->layers.item;
    int64_t rows = l[i].m;
    size_t n = 0;
    ret[n++] = i;
    for (size_t k = i + 1; groups_with(&l[i], &l[i]) && k < r->layers.n; k++)
        if (!taken[k] && groups_with(&l[i], &l[k])) {
            rows += l[k].m;
            if (n == GROUP_MAX || rows > GROUP_ROWS)
                return 1;
            ret[n++] = k;
        }
    return n;
}

int mc_svd_items_make(struct mc_svd_run *r, bool groups, struct mc_err *err)
{
    bool *taken = mc_calloc(r->layers.n, sizeof *taken);
    int rc = taken ? 0 : no_memory(err);
    for (size_t i = 0; !rc && i < r->layers.n; i++) {
        size_t group[GROUP_MAX], n = 1;
        group[0] = i;
        if (r->layers.item[i].reason || taken[i])
            continue;
        if (groups)
            n = find_group(r, i, taken, group);
        for (size_t k = 0; k < n; k++)
            taken[group[k]] = true;
        rc = add_item(r, group, n, err);
    }
    free(taken);
    return rc;
}

static void release_curve(struct mc_svd_curve *c)
{
    free(c->point);
    if (c->form)
        c->form->release(c->state);
}

void mc_svd_items_free(struct mc_svd_run *r)
{
    mc_conv_close(r);
    for (size_t i = 0; i < r->n_items; i++) {
        struct mc_svd_item *it = &r->item[i];
        for (size_t k = 0; it->curve && k < it->n_curves; k++)
            release_curve(&it->curve[k]);
        mc_svd_choice_free(&it->choice);
        free(it->curve);
        free(it->layer);
    }
    free(r->item);
}

/* ---- curves ---- */

static double cost_of(const struct mc_svd_run *r, const struct mc_svd_point *p)
{
    return r->by_macs ? p->macs : (double)p->bytes;
}

double mc_svd_point_error(const struct mc_svd_point *p)
{
    return isnan(p->error) ? INFINITY : fmax(p->error, 0);
}

/* All points of all curves that save something, and the item as it is. */
static int offer(const struct mc_svd_run *r, struct mc_svd_item *it, struct mc_err *err)
{
    double whole = r->by_macs ? it->macs : (double)it->bytes;
    size_t n = 1;
    for (size_t k = 0; k < it->n_curves; k++)
        n += it->curve[k].n;
    mc_svd_choice_free(&it->choice);
    struct mc_svd_choice *c = &it->choice;
    c->offer = mc_calloc(n, sizeof *c->offer);
    if (!c->offer)
        return no_memory(err);
    for (size_t k = 0; k < it->n_curves; k++)
        for (size_t p = 0; p < it->curve[k].n; p++) {
            const struct mc_svd_point *at = &it->curve[k].point[p];
            if (cost_of(r, at) < whole && at->bytes < it->bytes)
                c->offer[c->n++] = (struct mc_svd_offer){cost_of(r, at), mc_svd_point_error(at),
                                                         (uint32_t)k, (uint32_t)p};
        }
    c->offer[c->n++] = (struct mc_svd_offer){whole, 0, MC_SVD_AS_IT_IS, 0};
    return mc_svd_choice_make(c, err);
}

bool mc_svd_item_more(const struct mc_svd_item *it)
{
    bool more = false;
    for (size_t k = 0; k < it->n_curves; k++)
        more = more || !it->curve[k].complete;
    return more && it->want < 1;
}

int mc_svd_item_analyse(struct mc_svd_run *r, size_t i, double want, struct mc_err *err)
{
    struct mc_svd_item *it = &r->item[i];
    int rc = 0;
    want = fmin(1, want);
    for (size_t k = 0; !rc && k < it->n_curves; k++)
        if (!it->curve[k].complete)
            rc = it->curve[k].form->analyse(r, it, want, &it->curve[k], err);
    it->want = fmax(it->want, want);
    it->total = 0;
    for (size_t k = 0; !rc && k < it->n_layers; k++) {
        double total;
        rc = mc_svd_run_total(r, it->layer[k], &total, err);
        it->total += total;
    }
    return rc ? rc : offer(r, it, err);
}

bool mc_svd_item_least(const struct mc_svd_item *it, double left,
                       const struct mc_svd_curve **ret_at, const struct mc_svd_point **ret_point)
{
    const struct mc_svd_choice *c = &it->choice;
    for (size_t k = 0; k < c->n; k++)
        if (c->offer[k].curve != MC_SVD_AS_IT_IS && c->offer[k].error <= left * it->total) {
            *ret_at = &it->curve[c->offer[k].curve];
            *ret_point = &(*ret_at)->point[c->offer[k].point];
            return true;
        }
    return false;
}

void mc_svd_item_take(struct mc_svd_item *it)
{
    const struct mc_svd_offer *o = &it->choice.offer[it->choice.at];
    bool changes = o->curve != MC_SVD_AS_IT_IS;
    it->at = changes ? &it->curve[o->curve] : NULL;
    it->point = changes ? &it->at->point[o->point] : NULL;
}
