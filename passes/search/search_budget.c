#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passes/search/search_state.h"

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

struct ranked {
    double worth;
    size_t item;
};

static int by_worth(const void *x, const void *y)
{
    const struct ranked *a = x, *b = y;
    if (a->worth != b->worth)
        return a->worth > b->worth ? -1 : 1;
    return (a->item > b->item) - (a->item < b->item);
}

/* Items by what they are taken to cost the outputs with these options, the worst first: where time ends, what
 * matters most is measured. */
static struct ranked *rank_items(const struct mc_hunt *h, const size_t *choice)
{
    struct ranked *r = mc_calloc(h->s->n + 1, sizeof *r);
    for (size_t i = 0; r && i < h->s->n; i++) {
        size_t k = choice[i] ? choice[i] : h->s->item[i].n > 1;
        r[i] = (struct ranked){h->curve[i].error[k] * h->curve[i].factor, i};
    }
    if (r)
        qsort(r, h->s->n, sizeof *r, by_worth);
    return r;
}

int mc_hunt_anchors(struct mc_hunt *h, const size_t *choice, struct mc_err *err)
{
    static const double ratios[] = {1, 4, 0.25, 16, 1.0 / 16};
    if (h->s->planned)
        return 0;
    struct ranked *order = rank_items(h, choice);
    if (!order)
        return no_memory(err);
    size_t kinds = h->left / 2 / (h->s->n ? h->s->n : 1);
    kinds = kinds < 1 ? 1 : kinds > 5 ? 5 : kinds;
    size_t total = kinds * h->s->n, done = 0, stop = h->left / 2;
    int rc = 0;
    for (size_t a = 0; a < kinds; a++)
        for (size_t r = 0; !rc && r < h->s->n && h->left > stop && !mc_hunt_over(h); r++) {
            size_t i = order[r].item, at = choice[i] ? choice[i] : h->s->item[i].n > 1;
            mc_hunt_tell(h, "options one by one", (double)done++, (double)total);
            rc = mc_curve_measure(h, i, a ? mc_curve_near(h, i, at, ratios[a]) : at, err);
        }
    free(order);
    return rc;
}

/* A plan by what is known now; *ret_better: it became the best. */
static int try_plan(struct mc_hunt *h, double limit, bool *ret_better, struct mc_err *err)
{
    size_t *choice = mc_calloc(h->s->n + 1, sizeof *choice);
    const struct mc_set *set = NULL;
    double cost;
    *ret_better = false;
    int rc = choice ? mc_curves_draw(h, err) : no_memory(err);
    if (!rc)
        rc = mc_curves_plan(h, limit, choice, &cost, err);
    if (!rc && cost <= limit)
        rc = mc_hunt_measure(h, choice, &set, err);
    if (!rc && set) {
        h->set[set - h->set].cost = cost;
        *ret_better = mc_hunt_closer(h, set, mc_hunt_best(h));
        rc = *ret_better ? mc_hunt_keep(h, set, err) : 0;
        for (size_t i = 0; !rc && !h->s->planned && i < h->s->n; i++)
            rc = mc_curve_measure(h, i, choice[i], err);
    }
    free(choice);
    return rc;
}

/* ---- exchanges ---- */

struct
    moves { /* around the best set: what the outputs lose and win by one item's step down and up */
    size_t *base, *up, *down; /* [n] options */
    double *to_up, *to_down;  /* [n] change of the divergence; NAN: not measured */
    double divergence;
};

static void free_moves(struct moves *m)
{
    free(m->base);
    free(m->to_up);
}

static int open_moves(struct mc_hunt *h, struct moves *m, struct mc_err *err)
{
    size_t n = h->s->n;
    m->base = mc_calloc(3 * n + 1, sizeof *m->base);
    m->to_up = mc_calloc(2 * n + 1, sizeof *m->to_up);
    if (!m->base || !m->to_up)
        return no_memory(err);
    m->up = m->base + n;
    m->down = m->up + n;
    m->to_down = m->to_up + n;
    return 0;
}

static int measure_move(struct mc_hunt *h, struct moves *m, size_t i, size_t to, double *ret,
                        struct mc_err *err)
{
    const struct mc_set *set;
    size_t was = m->base[i];
    *ret = NAN;
    if (to == was)
        return 0;
    m->base[i] = to;
    int rc = mc_hunt_measure(h, m->base, &set, err);
    m->base[i] = was;
    if (!rc && set)
        *ret = set->j.divergence - m->divergence;
    return rc;
}

static int measure_moves(struct mc_hunt *h, struct moves *m, struct mc_err *err)
{
    size_t n = h->s->n;
    const struct mc_set *best = mc_hunt_best(h);
    memcpy(m->base, best->choice, n * sizeof *m->base);
    m->divergence = best->j.divergence;
    for (size_t i = 0; i < 2 * n; i++)
        m->to_up[i] = NAN;
    struct ranked *order = rank_items(h, m->base);
    int rc = order ? 0 : no_memory(err);
    for (size_t r = 0; !rc && r < n && h->left > 2; r++) {
        size_t i = order[r].item, at = m->base[i];
        mc_hunt_tell(h, "exchanges", (double)r, (double)n);
        m->down[i] = at ? mc_curve_near(h, i, at, 2) : h->s->item[i].n > 1;
        m->up[i] = at > 1 ? mc_curve_near(h, i, at, 0.5) : 0;
        rc = measure_move(h, m, i, m->down[i], &m->to_down[i], err);
        if (!rc)
            rc = measure_move(h, m, i, m->up[i], &m->to_up[i], err);
    }
    free(order);
    return rc;
}

/* What the step of an item is worth in the whole, beside what its own curve says. */
static double measured_ratio(const struct mc_hunt *h, const struct moves *m, size_t i)
{
    const struct mc_curve_of *c = &h->curve[i];
    bool up = isfinite(m->to_up[i]), down = isfinite(m->to_down[i]);
    double e = c->error[m->base[i]];
    double got = (down ? m->to_down[i] : 0) - (up ? m->to_up[i] : 0);
    double said = (down ? c->error[m->down[i]] - e : 0) - (up ? c->error[m->up[i]] - e : 0);
    if ((!up && !down) || !(said > 0))
        return 1;
    return fmax(0.25, fmin(4, got / said / c->factor));
}

static int try_factors(struct mc_hunt *h, const struct moves *m, double limit, bool *ret_better,
                       struct mc_err *err)
{
    size_t n = h->s->n;
    double *ratio = mc_calloc(n + 1, sizeof *ratio);
    if (!ratio)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        ratio[i] = measured_ratio(h, m, i);
        h->curve[i].factor *= ratio[i];
    }
    int rc = try_plan(h, limit, ret_better, err);
    if (!rc && !*ret_better) { /* half the way */
        for (size_t i = 0; i < n; i++)
            h->curve[i].factor /= sqrt(ratio[i]);
        rc = try_plan(h, limit, ret_better, err);
    }
    free(ratio);
    return rc;
}

/* The moves, one up and one down or one alone, that by the measurements win most; *ret_up or *ret_down is n where there
 * is none. False if nothing wins. */
static bool best_pair(const struct mc_hunt *h, const struct moves *m, double room, size_t *ret_up,
                      size_t *ret_down)
{
    size_t n = h->s->n;
    double best = 0;
    for (size_t i = 0; i <= n; i++)
        for (size_t k = 0; k <= n; k++) {
            double gain = (i < n ? m->to_up[i] : 0) + (k < n ? m->to_down[k] : 0);
            double more = 0;
            if (k == i || !(gain < best))
                continue;
            if (i < n)
                more += h->curve[i].cost[m->up[i]] - h->curve[i].cost[m->base[i]];
            if (k < n)
                more += h->curve[k].cost[m->down[k]] - h->curve[k].cost[m->base[k]];
            if (more <= room) {
                best = gain;
                *ret_up = i;
                *ret_down = k;
            }
        }
    return best < 0;
}

/* One pair after the other, each tried once. */
static int try_pairs(struct mc_hunt *h, struct moves *m, double limit, bool *ret_better,
                     struct mc_err *err)
{
    enum { PAIRS = 4 };
    size_t n = h->s->n, up, down, *was = mc_calloc(n + 1, sizeof *was);
    int rc = was ? 0 : no_memory(err);
    *ret_better = false;
    for (int t = 0; !rc && t < PAIRS && !*ret_better && !mc_hunt_over(h); t++) {
        const struct mc_set *set = NULL;
        double cost;
        if (!best_pair(h, m, limit - mc_hunt_best(h)->cost, &up, &down))
            break;
        memcpy(was, m->base, n * sizeof *was);
        if (up < n)
            m->base[up] = m->up[up];
        if (down < n)
            m->base[down] = m->down[down];
        rc = mc_hunt_count(h, m->base, &cost, err);
        if (!rc && cost <= limit)
            rc = mc_hunt_measure(h, m->base, &set, err);
        if (!rc && set) {
            h->set[set - h->set].cost = cost;
            *ret_better = mc_hunt_closer(h, set, mc_hunt_best(h));
            rc = *ret_better ? mc_hunt_keep(h, set, err) : 0;
        }
        memcpy(m->base, was, n * sizeof *was);
        *(up < n ? &m->to_up[up] : &m->to_down[down]) = NAN;
    }
    free(was);
    return rc;
}

int mc_hunt_refine(struct mc_hunt *h, double limit, struct mc_err *err)
{
    enum { ROUNDS = 6 };
    struct moves m = {0};
    bool better = true;
    if (h->s->planned)
        return 0;
    int rc = open_moves(h, &m, err);
    for (int round = 0; !rc && better && round < ROUNDS && !mc_hunt_over(h); round++) {
        rc = measure_moves(h, &m, err);
        if (!rc)
            rc = try_factors(h, &m, limit, &better, err);
        if (!rc && !better)
            rc = try_pairs(h, &m, limit, &better, err);
    }
    free_moves(&m);
    return rc;
}

/* ---- a budget ---- */

int mc_hunt_budget(struct mc_hunt *h, struct mc_err *err)
{
    const struct mc_set *set;
    bool better = true;
    int rc = mc_curves_draw(h, err);
    if (!rc)
        rc = mc_curves_plan(h, h->limit, h->plain.choice, &h->plain.cost, err);
    if (!rc)
        rc = mc_hunt_measure(h, h->plain.choice, &set, err);
    if (rc || !set)
        return rc;
    h->set[set - h->set].cost = h->plain.cost;
    rc = mc_hunt_keep(h, set, err);
    if (rc || h->plain.cost > h->limit) /* the smallest there is */
        return rc;
    rc = mc_hunt_anchors(h, h->plain.choice, err);
    for (int t = 0; !rc && better && t < 3 && !mc_hunt_over(h); t++)
        rc = try_plan(h, h->limit, &better, err);
    return rc ? rc : mc_hunt_refine(h, h->limit, err);
}
