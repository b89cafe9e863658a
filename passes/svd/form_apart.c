/* Layers that read one value, each by itself or left as it is: all ways that are best for some price of a byte. The rank of
 * a point is the sum of theirs, where a layer that stays has the rank of its shorter side: it tells the points apart. */
#include "passes/svd/svd_run.h"

#include <stdlib.h>

#include "passes/svd/svd_path.h"

struct member {
    struct mc_svd_item item; /* of one layer */
    struct mc_svd_curve curve;
    struct mc_svd_choice choice;
};

struct state {
    struct member *member; /* [n] */
    size_t n;
    struct mc_svd_path path;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

static bool applies(const struct mc_svd_run *r, const struct mc_svd_item *it)
{
    bool fits = it->n_layers > 1;
    for (size_t k = 0; k < it->n_layers; k++) /* one that stays needs the factor that it shares */
        fits = fits && !r->layers.item[it->layer[k]].given_share;
    return fits;
}

static void release(void *state)
{
    struct state *s = state;
    if (!s)
        return;
    for (size_t k = 0; k < s->n; k++) {
        mc_svd_form_matrix.release(s->member[k].curve.state);
        free(s->member[k].curve.point);
        mc_svd_choice_free(&s->member[k].choice);
    }
    free(s->member);
    mc_svd_path_free(&s->path);
    free(s);
}

/* ---- the curve ---- */

static double cost_of(const struct mc_svd_run *r, uint64_t bytes, double macs)
{
    return r->by_macs ? macs : (double)bytes;
}

static int offer(const struct mc_svd_run *r, struct member *m, struct mc_err *err)
{
    struct mc_svd_choice *c = &m->choice;
    c->offer = mc_calloc(m->curve.n + 1, sizeof *c->offer);
    if (!c->offer)
        return no_memory(err);
    double whole = cost_of(r, m->item.bytes, m->item.macs);
    for (size_t k = 0; k < m->curve.n; k++) {
        const struct mc_svd_point *p = &m->curve.point[k];
        if (cost_of(r, p->bytes, p->macs) < whole)
            c->offer[c->n++] = (struct mc_svd_offer){cost_of(r, p->bytes, p->macs),
                                                     mc_svd_point_error(p), 0, (uint32_t)k};
    }
    c->offer[c->n++] = (struct mc_svd_offer){whole, 0, MC_SVD_AS_IT_IS, 0};
    return mc_svd_choice_make(c, err);
}

static const struct mc_svd_offer *chosen(const struct state *s, size_t row, size_t k)
{
    return &s->member[k].choice.offer[s->path.at[row * s->n + k]];
}

/* What the row of the path is as a point of the whole. */
static struct mc_svd_point point_of(const struct mc_svd_run *r, const struct state *s, size_t row)
{
    struct mc_svd_point p = {0};
    for (size_t k = 0; k < s->n; k++) {
        const struct mc_svd_offer *o = chosen(s, row, k);
        const struct member *m = &s->member[k];
        const struct mc_layer *l = &r->layers.item[m->item.layer[0]];
        bool stays = o->curve == MC_SVD_AS_IT_IS;
        const struct mc_svd_point *one = stays ? NULL : &m->curve.point[o->point];
        p.rank[0] += stays ? (l->m < l->n ? l->m : l->n) : one->rank[0];
        p.bytes += stays ? m->item.bytes : one->bytes;
        p.macs += stays ? m->item.macs : one->macs;
        p.error += o->error;
    }
    return p;
}

static int analyse_members(struct mc_svd_run *r, const struct mc_svd_item *it, double want,
                           struct state *s, struct mc_err *err)
{
    s->member = mc_calloc(it->n_layers, sizeof *s->member);
    if (!s->member)
        return no_memory(err);
    for (s->n = 0; s->n < it->n_layers; s->n++) {
        struct member *m = &s->member[s->n];
        const struct mc_layer *l = &r->layers.item[it->layer[s->n]];
        m->item = (struct mc_svd_item){.layer = &it->layer[s->n],
                                       .n_layers = 1,
                                       .bytes = mc_layer_dense_bytes(l),
                                       .macs = mc_layer_dense_macs(l)};
        m->curve.form = &mc_svd_form_matrix;
        int rc = mc_svd_form_matrix.analyse(r, &m->item, want, &m->curve, err);
        if (!rc)
            rc = offer(r, m, err);
        if (rc) {
            s->n++;
            return rc;
        }
    }
    return 0;
}

static int analyse(struct mc_svd_run *r, const struct mc_svd_item *it, double want,
                   struct mc_svd_curve *c, struct mc_err *err)
{
    struct state *s = mc_calloc(1, sizeof *s);
    int rc = s ? analyse_members(r, it, want, s, err) : no_memory(err);
    struct mc_svd_choice *choices = NULL;
    struct mc_svd_point *point = NULL;
    if (!rc && !(choices = mc_calloc(s->n, sizeof *choices)))
        rc = no_memory(err);
    for (size_t k = 0; !rc && k < s->n; k++)
        choices[k] = s->member[k].choice;
    if (!rc)
        rc = mc_svd_path_make(choices, s->n, &s->path, err);
    free(choices);
    if (!rc && !(point = mc_calloc(s->path.n, sizeof *point)))
        rc = no_memory(err);
    if (rc) {
        release(s);
        return rc;
    }
    size_t n = s->path.n - 1; /* the last row leaves everything as it is */
    for (size_t row = 0; row < n; row++)
        point[row] = point_of(r, s, row);
    bool complete = true;
    for (size_t k = 0; k < s->n; k++)
        complete = complete && s->member[k].curve.complete;
    release(c->state);
    free(c->point);
    c->complete = complete || n == c->n;
    c->state = s;
    c->point = point;
    c->n = n;
    return 0;
}

/* ---- the factors ---- */

static int place(struct mc_svd_run *r, struct mc_model *m, const struct mc_layers *in_m,
                 const struct mc_svd_item *it, const struct mc_svd_curve *c,
                 const struct mc_svd_point *p, bool sizes_only, struct mc_err *err)
{
    const struct state *s = c->state;
    size_t row = 0;
    int rc = 0;
    while (row < c->n && c->point[row].rank[0] != p->rank[0])
        row++;
    for (size_t k = 0; !rc && k < s->n && row < c->n; k++) {
        const struct mc_svd_offer *o = chosen(s, row, k);
        struct mc_svd_item one = s->member[k].item;
        one.layer = &it->layer[k];
        if (o->curve != MC_SVD_AS_IT_IS)
            rc = mc_svd_form_matrix.place(r, m, in_m, &one, &s->member[k].curve,
                                          &s->member[k].curve.point[o->point], sizes_only, err);
    }
    return rc;
}

const struct mc_svd_form mc_svd_form_apart = {"apart", applies, analyse, place, release};
