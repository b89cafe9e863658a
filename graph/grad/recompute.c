#include "graph/grad/recompute.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/grad/segment_cut.h"

/* A way to cut, and what it comes to. */
struct way {
    int cuts;   /* segments */
    int repeat; /* of which the first so many are computed again */
    double cost;
    size_t bytes;
};

struct search {
    const struct mc_model *m;
    const char *loss;
    const struct mc_recompute_opts *o;
    struct way best; /* of what fits; bytes 0: nothing yet */
    size_t least;    /* reached so far */
    struct mc_err *err;
};

/* Bytes planned for a model. */
static int measure(const struct search *s, const struct mc_model *m,
                   const struct mc_recompute *done, size_t *ret)
{
    struct mc_session_opts so = *s->o->session;
    struct mc_session *session = NULL;
    so.apart = done->apart;
    so.n_apart = done->n_apart;
    int rc = mc_session_new(m->graph, &so, &session, s->err);
    rc = rc ? rc : mc_session_peak(session, s->o->inputs, s->o->n_inputs, ret, s->err);
    mc_session_free(session);
    return rc;
}

/* Cut m in this way. */
static int apply(const struct search *s, struct mc_model *m, struct way *w,
                 struct mc_recompute *ret)
{
    struct mc_segments *g;
    int rc = mc_segments_find(m->graph, s->loss, s->o, &g, s->err);
    if (rc)
        return rc;
    rc = mc_segments_repeat(g, w->cuts, w->repeat, ret, &w->cost, s->err);
    mc_segments_free(g);
    return rc;
}

/* What a way comes to, on a copy. */
static int try_way(struct search *s, struct way *w)
{
    struct mc_model *copy;
    struct mc_recompute done = {0};
    int rc = mc_model_clone(s->m, &copy, s->err);
    if (rc)
        return rc;
    rc = apply(s, copy, w, &done);
    rc = rc ? rc : measure(s, copy, &done, &w->bytes);
    mc_model_free(copy);
    if (rc)
        return rc;
    s->least = w->bytes < s->least ? w->bytes : s->least;
    if (w->bytes <= s->o->limit && (!s->best.bytes || w->cost < s->best.cost))
        s->best = *w;
    return 0;
}

/* The fewest segments to be repeated, by halving: more of them take less memory, as a rule. */
static int fewest(struct search *s, const struct way *all)
{
    int low = 0, high = all->repeat, rc = 0;
    while (high - low > 1 && !rc) {
        struct way w = {.cuts = all->cuts, .repeat = (low + high) / 2};
        rc = try_way(s, &w);
        if (w.bytes <= s->o->limit)
            high = w.repeat;
        else
            low = w.repeat;
    }
    return rc;
}

/* Numbers of segments about the root of the number of nodes, and well to both sides. */
static int search(struct search *s, int n)
{
    static const int tries[] = {2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 48, 64};
    int fits = 0, rc = 0;
    for (size_t i = 0; i < sizeof tries / sizeof *tries && !rc && fits < 3; i++) {
        struct way w = {.cuts = tries[i], .repeat = tries[i] - 1};
        if (tries[i] > n)
            break;
        rc = try_way(s, &w);
        if (rc || w.bytes > s->o->limit)
            continue;
        fits++;
        rc = fewest(s, &w);
    }
    return rc;
}

int mc_recompute(struct mc_model *m, const char *loss, const struct mc_recompute_opts *o,
                 struct mc_recompute *ret, struct mc_err *err)
{
    struct search s = {.m = m, .loss = loss, .o = o, .err = err};
    struct mc_recompute r = {0};
    struct mc_segments *g;
    int rc = mc_segments_find(m->graph, loss, o, &g, err);
    if (rc)
        return rc;
    int n = mc_segments_nodes(g);
    mc_segments_free(g);
    rc = measure(&s, m, &r, &r.before);
    if (rc)
        return rc;
    r.after = s.least = r.before;
    if (r.before > o->limit) {
        rc = search(&s, n);
        if (!rc && !s.best.bytes) {
            *ret = (struct mc_recompute){.before = r.before, .after = s.least};
            return mc_fail(err, MC_EUSAGE,
                           "a training step needs at least %zu bytes, and %zu if nothing is "
                           "computed twice, which is above the limit of %zu; use smaller batches",
                           s.least, r.before, o->limit);
        }
        rc = rc ? rc : apply(&s, m, &s.best, &r);
        r.after = s.best.bytes;
    }
    if (!rc)
        *ret = r;
    return rc;
}
