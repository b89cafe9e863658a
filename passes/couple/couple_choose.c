/* Which units of a group stay. */
#include <math.h>
#include <stdlib.h>

#include "passes/couple/coupling.h"

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

/* Counts that leave the parts even are multiples of this. */
static int64_t step_of(const struct mc_coupling_group *g)
{
    int64_t step = 1;
    for (int i = 0; i < g->n_partitions; i++)
        step = step / gcd(step, g->partition[i].parts) * g->partition[i].parts;
    return step;
}

int64_t mc_coupling_feasible(const struct mc_coupling_group *g, int64_t keep, int64_t round_to)
{
    int64_t step = step_of(g);
    if (round_to > 1 && round_to <= g->n) {
        int64_t both = step / gcd(step, round_to) * round_to;
        step = both <= g->n ? both : step;
    }
    keep = keep < 0 ? 0 : keep > g->n ? g->n : keep;
    int64_t low = keep / step * step, high = low + step;
    if (high > g->n)
        high = g->n; /* all of them are always even */
    if (low < step)
        return high < step ? g->n : step > g->n ? g->n : step;
    return keep - low <= high - keep ? low : high;
}

struct ranked {
    double score;
    int64_t at;
};

static int stronger(const void *pa, const void *pb)
{
    const struct ranked *a = pa, *b = pb;
    if (a->score != b->score)
        return a->score < b->score ? 1 : -1;
    return a->at < b->at ? -1 : 1;
}

/* How many stay in each cell, where a cell is what one part of the first partition and one of the second have in common:
 * rows and columns of this table have equal sums. Units are taken one by one along the path that gains most, which ends at
 * the best table because a cell's next unit is never worth more than the one before (successive shortest paths). */
struct cells {
    int a, b;           /* parts */
    int64_t *from;      /* [a*b+1] first unit of a cell in order of cells, best first */
    int64_t *taken;     /* [a*b] */
    int64_t *row, *col; /* how many more */
    const struct ranked *unit;
    double *worth; /* [a+b] of the best path to a row or column */
    int *via;      /* [a+b] where it came from */
};

/* One more unit along the best path: from a row that wants one, forward over cells that have one left, back over those that
 * give one up, to a column that wants one. */
static bool advance(struct cells *c)
{
    int n = c->a + c->b;
    for (int i = 0; i < n; i++) {
        c->worth[i] = i < c->a && c->row[i] > 0 ? 0 : -INFINITY;
        c->via[i] = -1;
    }
    bool moved = true;
    for (int round = 0; moved && round < n; round++) {
        moved = false;
        for (int i = 0; i < c->a; i++)
            for (int k = 0; k < c->b; k++) {
                int cell = i * c->b + k;
                const struct ranked *first = c->unit + c->from[cell];
                int64_t taken = c->taken[cell], has = c->from[cell + 1] - c->from[cell];
                if (taken < has && c->worth[i] + first[taken].score > c->worth[c->a + k]) {
                    c->worth[c->a + k] = c->worth[i] + first[taken].score;
                    c->via[c->a + k] = i;
                    moved = true;
                }
                if (taken && c->worth[c->a + k] - first[taken - 1].score > c->worth[i]) {
                    c->worth[i] = c->worth[c->a + k] - first[taken - 1].score;
                    c->via[i] = c->a + k;
                    moved = true;
                }
            }
    }
    int best = -1;
    for (int k = 0; k < c->b; k++)
        if (c->col[k] > 0 && isfinite(c->worth[c->a + k]) &&
            (best < 0 || c->worth[c->a + k] > c->worth[c->a + best]))
            best = k;
    if (best < 0)
        return false;
    c->col[best]--;
    int at = c->a + best;
    for (int steps = 0; c->via[at] >= 0 && steps <= 2 * n; steps++) {
        int before = c->via[at];
        if (at >= c->a)
            c->taken[before * c->b + at - c->a]++;
        else
            c->taken[at * c->b + before - c->a]--;
        at = before;
    }
    c->row[at]--;
    return true;
}

static int cell_of(const struct mc_coupling_group *g, int64_t i, int columns)
{
    int a = g->n_partitions > 0 ? g->partition[0].part[i] : 0;
    int b = g->n_partitions > 1 ? g->partition[1].part[i] : 0;
    return a * columns + b;
}

/* Units in order of cells, best first in each. */
static void sort_cells(const struct mc_coupling_group *g, const double *score, struct cells *c,
                       struct ranked *unit)
{
    for (int64_t i = 0; i < g->n; i++)
        c->from[cell_of(g, i, c->b) + 1]++;
    for (int k = 0; k < c->a * c->b; k++)
        c->from[k + 1] += c->from[k];
    for (int64_t i = 0; i < g->n; i++) {
        int cell = cell_of(g, i, c->b);
        unit[c->from[cell] + c->taken[cell]++] = (struct ranked){score[i], i};
    }
    for (int k = 0; k < c->a * c->b; k++) {
        c->taken[k] = 0;
        qsort(unit + c->from[k], (size_t)(c->from[k + 1] - c->from[k]), sizeof *unit, stronger);
    }
}

/* Whole numbers, of which sums along a path are exact: an equal path is never taken for a better one. */
static void make_whole(struct ranked *unit, int64_t n)
{
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(unit[i].score) && fabs(unit[i].score) > largest)
            largest = fabs(unit[i].score);
    for (int64_t i = 0; i < n; i++) {
        double share = largest > 0 ? unit[i].score / largest : 0;
        share = isfinite(unit[i].score) ? share : unit[i].score > 0 ? 2 : -2;
        unit[i].score = rint(share * 0x1p36);
    }
}

int mc_coupling_choose(const struct mc_coupling_group *g, const double *score, int64_t keep,
                       bool *gone, struct mc_err *err)
{
    struct cells c = {.a = g->n_partitions > 0 ? g->partition[0].parts : 1,
                      .b = g->n_partitions > 1 ? g->partition[1].parts : 1};
    size_t n_cells = (size_t)c.a * (size_t)c.b, sides = (size_t)(c.a + c.b);
    struct ranked *unit = mc_calloc((size_t)g->n, sizeof *unit);
    c.from = mc_calloc(n_cells + 1, sizeof *c.from);
    c.taken = mc_calloc(n_cells, sizeof *c.taken);
    c.row = mc_calloc(sides, sizeof *c.row);
    c.worth = mc_calloc(sides, sizeof *c.worth);
    c.via = mc_calloc(sides, sizeof *c.via);
    int rc = 0;
    if (!unit || !c.from || !c.taken || !c.row || !c.worth || !c.via) {
        rc = mc_fail(err, MC_ENOMEM, "out of memory");
    } else {
        c.col = c.row + c.a;
        c.unit = unit;
        sort_cells(g, score, &c, unit);
        for (int i = 0; i < c.a; i++)
            c.row[i] = keep / c.a;
        for (int i = 0; i < c.b; i++)
            c.col[i] = keep / c.b;
        if (c.b == 1)
            for (int i = 0; i < c.a; i++)
                c.taken[i] = c.row[i];
        else
            make_whole(unit, g->n);
        while (c.b > 1 && advance(&c))
            ;
        for (int64_t i = 0; i < g->n; i++)
            gone[g->first + i] = true;
        for (size_t k = 0; k < n_cells; k++)
            for (int64_t i = 0; i < c.taken[k]; i++)
                gone[g->first + unit[c.from[k] + i].at] = false;
    }
    free(unit);
    free(c.from);
    free(c.taken);
    free(c.row);
    free(c.worth);
    free(c.via);
    return rc;
}
