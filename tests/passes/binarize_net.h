/* A net of four layers, of which the inner ones can be binarised, and its samples. */
#ifndef MC_TESTS_BINARIZE_NET_H
#define MC_TESTS_BINARIZE_NET_H

#include "../run/memory_data.h"
#include "../run/run_util.h"

enum { NET_SAMPLES = 96, NET_IN = 12, NET_WIDTH = 16, NET_OUT = 5 };

static inline struct mc_value *net_gemm(struct mc_graph *g, const char *name, struct mc_value *x,
                                        int out, int in, bool turned, uint64_t seed)
{
    char w[32], b[32];
    struct mc_node *n;
    snprintf(w, sizeof w, "%s.w", name);
    snprintf(b, sizeof b, "%s.b", name);
    struct mc_value *v[3] = {x, random_const(g, w, 2, turned ? DIMS(in, out) : DIMS(out, in), seed),
                             random_const(g, b, 1, DIMS(out), seed + 1)};
    struct mc_value *y = build_node(g, "Gemm", name, 3, v, &n);
    if (!turned)
        assert_int_equal(mc_edit_attr_int(n, "transB", 1, NULL), 0);
    return y;
}

/* first, Relu, inner, Relu, product and its bias, Relu, last; of so many samples at a time, -2: any number. */
static inline struct mc_model *binarize_net_of(int64_t batch)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *y = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(batch, NET_IN));
    y = build_unary(g, "Relu", "r1", net_gemm(g, "first", y, NET_WIDTH, NET_IN, false, 1));
    y = build_unary(g, "Relu", "r2", net_gemm(g, "inner", y, NET_WIDTH, NET_WIDTH, true, 3));
    y = build_binary(g, "MatMul", "product", y,
                     random_const(g, "product.w", 2, DIMS(NET_WIDTH, NET_WIDTH), 5));
    y = build_binary(g, "Add", "sum", y, random_const(g, "product.b", 1, DIMS(NET_WIDTH), 6));
    y = build_unary(g, "Relu", "r3", y);
    build_output(g, net_gemm(g, "last", y, NET_OUT, NET_WIDTH, false, 7));
    return m;
}

static inline struct mc_model *binarize_net(void)
{
    return binarize_net_of(-2);
}

static inline struct mc_dataset *net_data(struct memory_data *d)
{
    static float x[NET_SAMPLES * NET_IN];
    static int64_t labels[NET_SAMPLES];
    mc_rng_fill_normal(9, 1, 0, x, NET_SAMPLES * NET_IN);
    for (int i = 0; i < NET_SAMPLES; i++)
        for (int c = 1; c < NET_OUT; c++)
            if (x[i * NET_IN + c] > x[i * NET_IN + labels[i]])
                labels[i] = c;
    return memory_open(d, "x", NET_SAMPLES, 1, DIMS(NET_IN), x, labels);
}

#endif
