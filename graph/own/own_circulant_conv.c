/* Convolutions that are circulant over channels. */
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "graph/own/own_circulant.h"

static const char *const window_attrs[] = {"strides", "pads", "dilations", NULL};
static const char *const dft_attrs[] = {"strides", "pads", "dilations", "p", "q", "bins", NULL};

static void window(struct mc_own_body *b)
{
    for (size_t i = 0; window_attrs[i]; i++)
        mc_body_ref(b, window_attrs[i], MC_ATTR_INTS, window_attrs[i]);
}

/* The shape of filters: any number of them, channels as given, taps as C has them. */
static int filters(struct mc_circulant_body *k, int w, int channels)
{
    int any = mc_circulant_one(k, -1), taps = mc_circulant_part(k, 3, 5);
    int shape = mc_body(k->b, "Concat", any, channels, taps);
    mc_body_int(k->b, "axis", 0);
    return mc_body(k->b, "Reshape", w, shape);
}

static int expand_body(struct mc_own_body *b)
{
    struct mc_circulant_body k = mc_circulant_body_of(b);
    int all = mc_body(b, "Gather", mc_body_in(b, MC_CIRCULANT_C), mc_circulant_rolled(&k));
    mc_body_int(b, "axis", 2);
    int w = mc_circulant_turn(&k, all, (const int64_t[]){0, 2, 1, 3, 4, 5}, 6);
    int q = mc_circulant_part(&k, 1, 2), block = mc_circulant_part(&k, 2, 3);
    int channels = mc_body(b, "Mul", q, block);
    w = filters(&k, w, channels);
    int y = mc_body(b, "Conv", mc_body_in(b, MC_CIRCULANT_X), w, mc_body_in(b, MC_CIRCULANT_B));
    window(b);
    return mc_body_end(b, y);
}

/* Filters of the product in the frequency domain: groups by bin, each of 2p filters over 2q channels, real parts first. */
static int spectra(struct mc_circulant_body *k, int f)
{
    struct mc_own_body *b = k->b;
    int taps =
        mc_circulant_turn(k, mc_body_in(b, MC_CIRCULANT_C), (const int64_t[]){3, 4, 0, 1, 2}, 5);
    int c = mc_circulant_turn(k, mc_body(b, "MatMul", taps, f), (const int64_t[]){4, 2, 3, 0, 1},
                              5); /* [2 bins, p, q, kh, kw] */
    int lead = mc_body_const(b, (const int64_t[]){2, -1}, 2);
    int pq = mc_circulant_part(k, 0, 2), kernel = mc_circulant_part(k, 3, 5);
    int shape = mc_body(b, "Concat", lead, pq, kernel);
    mc_body_int(b, "axis", 0);
    c = mc_body(b, "Reshape", c, shape);
    int re = mc_body(b, "Gather", c, mc_circulant_scalar(k, 0));
    int im = mc_body(b, "Gather", c, mc_circulant_scalar(k, 1));
    int top = mc_circulant_concat(k, 2, re, mc_body(b, "Neg", im));
    int low = mc_circulant_concat(k, 2, im, re);
    int w = mc_circulant_concat(k, 1, top, low);
    int q = mc_circulant_part(k, 1, 2), two = mc_circulant_one(k, 2);
    return filters(k, w, mc_body(b, "Mul", q, two));
}

/* Filters of one pixel, the same for each of `groups` groups. */
static int repeated(struct mc_circulant_body *k, int table, int groups)
{
    int times = mc_circulant_concat(k, 0, groups, mc_circulant_one(k, 1));
    int axes = mc_body_const(k->b, (const int64_t[]){2, 3}, 2);
    return mc_body(k->b, "Unsqueeze", mc_body(k->b, "Tile", table, times), axes);
}

/* Channels (lead, 2, rest) of v in the order (rest, 2, lead); there are 2 * bins * blocks of them. */
static int reorder(struct mc_circulant_body *k, int v, int lead, int bins, int blocks)
{
    struct mc_own_body *b = k->b;
    int pairs = mc_body(b, "Mul", blocks, bins);
    int all = mc_body(b, "Squeeze", mc_body(b, "Mul", pairs, mc_circulant_one(k, 2)));
    int rest = mc_body_const(b, (const int64_t[]){2, -1}, 2);
    int shape = mc_circulant_concat(k, 0, lead, rest);
    int order = mc_body(b, "Reshape", mc_circulant_count(k, all), shape);
    order = mc_circulant_turn(k, order, (const int64_t[]){2, 1, 0}, 3);
    order = mc_circulant_reshape(k, order, (const int64_t[]){-1}, 1);
    int y = mc_body(b, "Gather", v, order);
    /* Not 1: OpenVINO 2026.4 takes a Gather of axis 1 into a convolution of one group behind it, wrongly. */
    mc_body_int(b, "axis", -3);
    return y;
}

static int dft_body(struct mc_own_body *b)
{
    struct mc_circulant_body k = mc_circulant_body_of(b);
    int f, g;
    mc_circulant_tables(&k, k.block, &f, &g);
    int p = mc_circulant_part(&k, 0, 1), q = mc_circulant_part(&k, 1, 2);
    int block = mc_circulant_part(&k, 2, 3), two = mc_circulant_one(&k, 2);
    int half = mc_body(b, "Div", block, two);
    int bins = mc_body(b, "Add", half, mc_circulant_one(&k, 1));
    int w = spectra(&k, f);
    int forth = repeated(&k, mc_circulant_turn(&k, f, (const int64_t[]){1, 0}, 2), q);
    int x = mc_body(b, "Conv", mc_body_in(b, MC_CIRCULANT_X), forth);
    mc_body_ref(b, "group", MC_ATTR_INT, "q");
    x = reorder(&k, x, q, bins, q);
    int y = mc_body(b, "Conv", x, w);
    window(b);
    mc_body_ref(b, "group", MC_ATTR_INT, "bins");
    y = reorder(&k, y, bins, bins, p);
    int back = repeated(&k, g, p);
    int end = mc_body(b, "Conv", y, back, mc_body_in(b, MC_CIRCULANT_B));
    mc_body_ref(b, "group", MC_ATTR_INT, "p");
    return mc_body_end(b, end);
}

/* ---- rows ---- */

static int check_window(const struct mc_node *call, struct mc_err *err)
{
    static const size_t counts[] = {2, 4, 2};
    for (size_t i = 0; window_attrs[i]; i++) {
        size_t n;
        const int64_t *v = mc_node_ints(call, window_attrs[i], &n);
        if (n != counts[i])
            return mc_own_fail(err, MC_ESHAPE, call, "attribute %s has %zu numbers, not %zu",
                               window_attrs[i], n, counts[i]);
        for (size_t d = 0; d < n; d++)
            if (v[d] < (i == 1 ? 0 : 1))
                return mc_own_fail(err, MC_ESHAPE, call, "attribute %s holds %lld", window_attrs[i],
                                   (long long)v[d]);
    }
    return 0;
}

static int check(const struct mc_node *call, struct mc_err *err)
{
    int rc = check_window(call, err);
    return rc ? rc : mc_own_circulant_check(call, 5, err);
}

static int check_dft(const struct mc_node *call, struct mc_err *err)
{
    struct mc_circulant_sizes s;
    int rc = check(call, err);
    if (rc || !mc_own_circulant_sizes(call, &s))
        return rc;
    int64_t p = mc_node_int(call, "p", 0), q = mc_node_int(call, "q", 0);
    int64_t bins = mc_node_int(call, "bins", 0);
    if (p == s.p && q == s.q && bins == s.b / 2 + 1)
        return 0;
    return mc_own_fail(err, MC_ESHAPE, call,
                       "attributes p %lld, q %lld, bins %lld do not fit C, which asks for %lld, "
                       "%lld, %lld",
                       (long long)p, (long long)q, (long long)bins, (long long)s.p, (long long)s.q,
                       (long long)(s.b / 2 + 1));
}

static int dense(const struct mc_node *call, struct mc_tensor **ret, struct mc_err *err)
{
    return mc_own_circulant_dense(call, false, ret, err);
}

static int expand(const struct mc_node *call, struct mc_value **ret, struct mc_err *err)
{
    struct mc_graph *g = call->graph;
    struct mc_value *w = NULL, *y = mc_edit_fresh(g, call->out[0]->name);
    struct mc_tensor *t = NULL;
    struct mc_node *n = NULL;
    int rc = y ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    rc = rc ? rc : mc_own_circulant_dense(call, false, &t, err);
    rc = rc ? rc : mc_constant_new(g, call->pos, call->in[MC_CIRCULANT_C]->name, t, &w, err);
    mc_tensor_unref(t);
    struct mc_value *bias = call->in[MC_CIRCULANT_B];
    if (!rc)
        rc = mc_edit_node(g, call->pos, "Conv", "", 0, call->name,
                          (struct mc_value *[]){call->in[MC_CIRCULANT_X], w, bias}, bias ? 3 : 2,
                          &y, 1, &n, err);
    for (size_t i = 0; !rc && window_attrs[i]; i++) {
        size_t count;
        const int64_t *v = mc_node_ints(call, window_attrs[i], &count);
        rc = mc_edit_attr_ints(n, window_attrs[i], v, count, err);
    }
    *ret = y;
    return rc;
}

#define ROW(n, a, f, c)                                                                            \
    {                                                                                              \
        .name = n, .n_in = 3, .inputs = (const char *const[]){"X", "C", "B"}, .attrs = a,          \
        .roles = ".ws", .body = f, .check = c, .size = mc_own_circulant_size, .dense = dense,      \
        .expand = expand                                                                           \
    }

const struct mc_own mc_own_circulant_conv[] = {
    ROW("CirculantConv", window_attrs, expand_body, check),
    ROW("CirculantConvDft", dft_attrs, dft_body, check_dft),
    {0},
};
