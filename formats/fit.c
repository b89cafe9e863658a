#include "formats/fit.h"

/* want: dimensions of the input, free ones negative. */
static bool match(const int64_t *have, const int64_t *want, int n)
{
    for (int i = 0; i < n; i++)
        if (want[i] >= 0 && want[i] != have[i])
            return false;
    return true;
}

/* Arrangements of a sample s [m] as axes of an input with k axes behind its batch, most usual first. */
static int arrangements(const int64_t *s, int m, int k, int64_t out[2][MC_RANK_MAX])
{
    int n = 0;
    if (k == 1) {
        struct mc_shape all = mc_shape_of(m, s);
        out[n++][0] = mc_shape_count(&all);
    } else if (m == 2 && k == 3) {
        for (; n < 2; n++) {
            out[n][n ? 2 : 0] = 1;
            out[n][n ? 0 : 1] = s[0];
            out[n][n ? 1 : 2] = s[1];
        }
    } else if (m == 3 && k == 3) {
        out[n][0] = s[1];
        out[n][1] = s[2];
        out[n++][2] = s[0];
    }
    return n;
}

static bool arrange(const struct mc_narray *a, const struct mc_shape *want, struct mc_fit *ret)
{
    int64_t out[2][MC_RANK_MAX];
    int m = a->shape.rank - 1, k = want->rank - 1;
    int n = arrangements(a->shape.dim + 1, m, k, out);
    for (int i = 0; i < n; i++)
        if (match(out[i], want->dim + 1, k)) {
            ret->shape.rank = want->rank;
            for (int d = 0; d < k; d++)
                ret->shape.dim[1 + d] = out[i][d];
            ret->interleave = m == 3 && k == 3;
            return true;
        }
    return false;
}

int mc_fit(const struct mc_narray *a, const struct mc_array *input, struct mc_fit *ret,
           struct mc_err *err)
{
    const struct mc_shape *have = &a->shape, *want = &input->shape;
    if (!have->rank)
        return mc_fail(err, MC_ESHAPE, "%s is a single value; its first axis must count samples",
                       a->what);
    int m = have->rank - 1;
    struct mc_fit f = {.shape = *have, .channels = m == 3 ? have->dim[1] : 1};
    bool fits = want->rank < 0 || (m == want->rank - 1 && match(have->dim + 1, want->dim + 1, m)) ||
                (a->layout && arrange(a, want, &f));
    if (!fits && m == want->rank && match(have->dim + 1, want->dim, m))
        fits = f.whole = true;
    if (!fits) {
        struct mc_shape sample = mc_shape_of(m, have->dim + 1);
        char s[MC_SHAPE_TEXT], t[MC_SHAPE_TEXT];
        return mc_fail(err, MC_ESHAPE, "samples of %s have shape %s each, input '%s' takes %s",
                       a->what, mc_shape_text(&sample, s), input->name, mc_shape_text(want, t));
    }
    *ret = f;
    return 0;
}
