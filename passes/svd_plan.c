#include "passes/svd_plan.h"

#include <math.h>
#include <stdbool.h>

static uint64_t bytes_at(const struct mc_svd_choice *c, int64_t rank)
{
    return rank ? (uint64_t)rank * c->rank_bytes : c->dense_bytes;
}

static double error_at(const struct mc_svd_choice *c, int64_t rank)
{
    return rank ? c->weight * c->tail[rank] : 0;
}

static int64_t last_rank(const struct mc_svd_choice *c)
{
    int64_t cap = c->rank_bytes ? (int64_t)((c->dense_bytes - 1) / c->rank_bytes) : 0;
    return cap < c->known ? cap : c->known;
}

/* The rank that minimises error + price * bytes. The gain of one more rank, a squared singular value, falls
 * with the rank: bisection finds the last one that is worth its bytes; then dense is compared. */
static int64_t best_rank(const struct mc_svd_choice *c, double price)
{
    int64_t low = 1, high = last_rank(c);
    if (high < 1)
        return 0;
    while (low < high) {
        int64_t r = low + (high - low + 1) / 2;
        if (c->weight * (c->tail[r - 1] - c->tail[r]) > price * (double)c->rank_bytes)
            low = r;
        else
            high = r - 1;
    }
    double factorised = error_at(c, low) + price * (double)bytes_at(c, low);
    return price * (double)c->dense_bytes <= factorised ? 0 : low;
}

static uint64_t choose(struct mc_svd_choice *c, size_t n, double price)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        c[i].rank = best_rank(&c[i], price);
        bytes += bytes_at(&c[i], c[i].rank);
    }
    return bytes;
}

/* Of all steps (one rank more, or dense) that fit, take the one that gains most per byte. */
static bool step(struct mc_svd_choice *c, size_t n, uint64_t *room)
{
    double best = 0;
    size_t at = n;
    int64_t to = 0;
    for (size_t i = 0; i < n; i++)
        for (int dense = 0; dense < 2 && c[i].rank; dense++) {
            int64_t r = dense ? 0 : c[i].rank + 1;
            if (r > last_rank(&c[i]))
                continue;
            uint64_t more = bytes_at(&c[i], r) - bytes_at(&c[i], c[i].rank);
            double gain = (error_at(&c[i], c[i].rank) - error_at(&c[i], r)) / (double)more;
            if (more <= *room && gain > best) {
                best = gain;
                at = i;
                to = r;
            }
        }
    if (at == n)
        return false;
    *room -= bytes_at(&c[at], to) - bytes_at(&c[at], c[at].rank);
    c[at].rank = to;
    return true;
}

uint64_t mc_svd_plan(struct mc_svd_choice *c, size_t n, uint64_t budget)
{
    if (choose(c, n, 0) <= budget)
        return choose(c, n, 0);
    double top = 1e-200; /* above this price nobody pays for a single byte */
    for (size_t i = 0; i < n; i++)
        top = fmax(top, c[i].weight);
    double low = top * 1e-30, high = 2 * top;
    uint64_t bytes = choose(c, n, high);
    if (bytes > budget)
        return bytes;
    /* 64 halvings in the exponent: closer than two neighbouring singular values ever are. */
    for (int i = 0; i < 64; i++) {
        double price = sqrt(low * high);
        if (choose(c, n, price) <= budget)
            high = price;
        else
            low = price;
    }
    bytes = choose(c, n, high);
    uint64_t room = budget - bytes;
    while (step(c, n, &room))
        ;
    return budget - room;
}

int64_t mc_svd_rank_for(const struct mc_svd_choice *c, double left)
{
    int64_t r = 1;
    while (r <= c->known && c->tail[r] > left)
        r++;
    return r;
}
