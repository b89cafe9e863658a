#include "check.h"

static void draw(struct check *c, struct mc_scatter_sum *s, int64_t *ret_n, int64_t *ret_total)
{
    int64_t n = 1, total = 1;
    *s = (struct mc_scatter_sum){.rank = 1 + (int)check_below(c, 4)};
    for (int d = 0; d < s->rank; d++) {
        bool last = d == s->rank - 1;
        s->from[d] = s->to[d] = last ? check_size(c, 16, 200) : check_size(c, 4, 9);
        if (check_coin(c)) {
            s->to[d] = last ? check_size(c, 16, 200) : check_size(c, 4, 9);
            int64_t *index = check_alloc(c, (size_t)s->from[d] * sizeof *index, sizeof *index);
            for (int64_t i = 0; i < s->from[d]; i++)
                index[i] = check_below(c, (uint32_t)s->to[d]);
            s->index[d] = index;
        }
        n *= s->from[d];
        total *= s->to[d];
    }
    *ret_n = n;
    *ret_total = total;
}

static void test_scatter(struct check *c)
{
    struct mc_scatter_sum s, wide;
    int64_t n, total;
    draw(c, &s, &n, &total);
    check_describe(c, "rank %d, %lld elements into %lld", s.rank, (long long)n, (long long)total);
    const float *src = check_floats(c, n, check_below(c, 6) == 0);
    double *want = check_alloc(c, (size_t)total * sizeof *want, sizeof *want);
    double *scale = check_alloc(c, (size_t)total * sizeof *scale, sizeof *scale);
    wide = s;
    wide.src = check_widen(c, src, n);
    wide.dst = want;
    c->ref->scatter.sum(&wide, NULL);
    wide.src = check_abs(c, src, n);
    wide.dst = scale;
    c->ref->scatter.sum(&wide, NULL);
    const float *first = NULL;
    for (int p = 0; p < CHECK_POOLS; p++) {
        float *y = check_alloc(c, (size_t)total * sizeof *y, sizeof *y);
        s.src = src;
        s.dst = y;
        c->k->scatter.sum(&s, c->pool[p]);
        if (first)
            check_same(c, "another number of threads", y, first, (size_t)total * sizeof *y);
        else /* each addition rounds once */
            check_close(c, "sum", y, want, scale, 6e-8 * (double)n, 0, total);
        first = y;
    }
}

const struct check_row check_scatter = {"scatter", 400, test_scatter, NULL};
