#include "passes/couple/couple_blocks.h"

#include <string.h>

struct side { /* the axes of a shape that are not 1, and which of them no block has yet */
    const struct mc_shape *shape;
    int axis[MC_RANK_MAX], lo, hi;
};

static struct side side_of(const struct mc_shape *s)
{
    struct side r = {.shape = s};
    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] != 1)
            r.axis[r.hi++] = i;
    return r;
}

/* Length of the i-th axis from the end that is worked on. */
static int64_t length(const struct side *s, bool back, int i)
{
    return s->shape->dim[s->axis[back ? s->hi - 1 - i : s->lo + i]];
}

static bool grow(const struct side *s, bool back, int *count, int64_t *product)
{
    if (*count == s->hi - s->lo)
        return false;
    int64_t d = length(s, back, *count), more;
    if (d < 1 || __builtin_mul_overflow(*product, d, &more))
        return false;
    *product = more;
    ++*count;
    return true;
}

static void list(struct side *s, bool back, int count, int *ret, int *ret_n)
{
    memcpy(ret, s->axis + (back ? s->hi - count : s->lo), (size_t)count * sizeof *ret);
    *ret_n = count;
    if (back)
        s->hi -= count;
    else
        s->lo += count;
}

/* The next block of known lengths, or of one unknown one. `part`: also one of which something is over. */
static bool next(struct side *x, struct side *y, bool back, bool part, struct mc_block *ret)
{
    int a = 0, b = 0;
    int64_t p = 1, q = 1;
    if (x->lo == x->hi || y->lo == y->hi)
        return false;
    int64_t first = length(x, back, 0);
    if (first < 0) {
        if (first == MC_DIM_ANY || first != length(y, back, 0))
            return false;
        a = b = 1;
    } else {
        bool more = true;
        do
            more = p <= q ? grow(x, back, &a, &p) : grow(y, back, &b, &q);
        while (more && p != q);
        if (p != q && (!part || !a || !b || (p > q ? p % q : q % p)))
            return false;
        if (!b)
            return false;
    }
    *ret = (struct mc_block){
        .over_in = p > q ? p / q : 1, .over_out = q > p ? q / p : 1, .inside = !back};
    list(x, back, a, ret->in, &ret->n_in);
    list(y, back, b, ret->out, &ret->n_out);
    return true;
}

int mc_blocks_of(const struct mc_shape *in, const struct mc_shape *out,
                 struct mc_block ret[MC_BLOCKS_MAX])
{
    struct side x = side_of(in), y = side_of(out);
    struct mc_block tail[MC_BLOCKS_MAX];
    int n = 0, n_tail = 0;
    while (next(&x, &y, false, false, &ret[n]))
        n++;
    while (next(&x, &y, true, false, &tail[n_tail]))
        n_tail++;
    if (next(&x, &y, true, true, &tail[n_tail]))
        n_tail++;
    if (next(&x, &y, false, true, &ret[n]))
        n++;
    if (x.lo < x.hi || y.lo < y.hi) {
        ret[n] = (struct mc_block){.open = true};
        list(&x, false, x.hi - x.lo, ret[n].in, &ret[n].n_in);
        list(&y, false, y.hi - y.lo, ret[n].out, &ret[n].n_out);
        n++;
    }
    while (n_tail)
        ret[n++] = tail[--n_tail];
    return n;
}
