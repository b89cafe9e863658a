#include "passes/svd/svd_plan.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/mem.h"

/* ---- offers ---- */

static int by_cost(const void *x, const void *y)
{
    const struct mc_svd_offer *a = x, *b = y;
    if (a->cost != b->cost)
        return a->cost < b->cost ? -1 : 1;
    if (a->error != b->error)
        return a->error < b->error ? -1 : 1;
    if (a->curve != b->curve)
        return a->curve < b->curve ? -1 : 1;
    return (a->point > b->point) - (a->point < b->point);
}

/* What error one more unit of cost saves, from a to b. */
static double slope(const struct mc_svd_offer *a, const struct mc_svd_offer *b)
{
    return (a->error - b->error) / (b->cost - a->cost);
}

int mc_svd_choice_make(struct mc_svd_choice *c, struct mc_err *err)
{
    qsort(c->offer, c->n, sizeof *c->offer, by_cost);
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        if (!n || c->offer[i].error < c->offer[n - 1].error)
            c->offer[n++] = c->offer[i];
    c->n = n;
    free(c->hull);
    c->n_hull = 0;
    c->hull = mc_calloc(n, sizeof *c->hull);
    if (!c->hull)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        size_t *h = c->hull, *k = &c->n_hull;
        while (*k >= 2 && slope(&c->offer[h[*k - 2]], &c->offer[h[*k - 1]]) <=
                              slope(&c->offer[h[*k - 1]], &c->offer[i]))
            --*k;
        h[(*k)++] = i;
    }
    c->at = n - 1;
    return 0;
}

void mc_svd_choice_free(struct mc_svd_choice *c)
{
    free(c->offer);
    free(c->hull);
    *c = (struct mc_svd_choice){0};
}

/* ---- the plan ---- */

/* The offer that minimises error + price * cost: slopes along the hull fall, so bisection finds the last step that is
 * worth its cost. */
static size_t best_at(const struct mc_svd_choice *c, double price)
{
    size_t low = 0, high = c->n_hull - 1;
    while (low < high) {
        size_t k = low + (high - low + 1) / 2;
        if (slope(&c->offer[c->hull[k - 1]], &c->offer[c->hull[k]]) > price)
            low = k;
        else
            high = k - 1;
    }
    return c->hull[low];
}

static double choose(struct mc_svd_choice *const *c, size_t n, double price)
{
    double cost = 0;
    for (size_t i = 0; i < n; i++) {
        c[i]->at = best_at(c[i], price);
        cost += c[i]->offer[c[i]->at].cost;
    }
    return cost;
}

/* Of all steps to a dearer offer that fit, take the one that gains most per cost. */
static bool step(struct mc_svd_choice *const *c, size_t n, double *room)
{
    double best = 0;
    size_t item = n, to = 0;
    for (size_t i = 0; i < n; i++) {
        const struct mc_svd_offer *now = &c[i]->offer[c[i]->at];
        for (size_t k = c[i]->at + 1; k < c[i]->n; k++) {
            if (c[i]->offer[k].cost - now->cost > *room)
                break;
            if (slope(now, &c[i]->offer[k]) > best) {
                best = slope(now, &c[i]->offer[k]);
                item = i;
                to = k;
            }
        }
    }
    if (item == n)
        return false;
    *room -= c[item]->offer[to].cost - c[item]->offer[c[item]->at].cost;
    c[item]->at = to;
    return true;
}

double mc_svd_plan(struct mc_svd_choice *const *c, size_t n, double budget)
{
    double top = 1e-200; /* above this price nobody pays for anything */
    for (size_t i = 0; i < n; i++)
        for (size_t k = 1; k < c[i]->n_hull; k++)
            top = fmax(top, slope(&c[i]->offer[c[i]->hull[k - 1]], &c[i]->offer[c[i]->hull[k]]));
    double cost = choose(c, n, 0);
    if (cost <= budget)
        return cost;
    double low = top * 1e-30, high = 2 * top;
    if ((cost = choose(c, n, high)) > budget)
        return cost;
    /* 64 halvings in the exponent: closer than two neighbouring slopes ever are. */
    for (int i = 0; i < 64; i++) {
        double price = sqrt(low * high);
        if (choose(c, n, price) <= budget)
            high = price;
        else
            low = price;
    }
    double room = budget - choose(c, n, high);
    while (step(c, n, &room))
        ;
    cost = 0;
    for (size_t i = 0; i < n; i++)
        cost += c[i]->offer[c[i]->at].cost;
    return cost;
}
