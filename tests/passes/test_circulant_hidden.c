/* Hidden units in another order: the model computes the same.
 *   test_circulant_hidden [SEED]     one random network */
#include "quant_same.h"

#include "passes/circulant/circulant_hidden.h"

static struct mc_err err;
static uint64_t only_seed;

/* Put the units of every layer that allows it in an order drawn from seed. Returns how many layers. */
static size_t turn_all(struct mc_model *m, uint64_t seed)
{
    struct mc_layers l = {0};
    size_t turned = 0;
    build_ok(mc_layers_collect(m, &l, &err), &err);
    for (size_t i = 0; i < l.n; i++) {
        struct mc_circulant_hidden h;
        bool may;
        build_ok(mc_circulant_hidden_find(&l.item[i], &h, &may, &err), &err);
        if (!may) {
            assert_null(h.axis);
            continue;
        }
        int64_t *order = malloc((size_t)h.m * sizeof *order + 1);
        assert_non_null(order);
        mc_rng_permute(seed, i, order, h.m);
        build_ok(mc_circulant_hidden_apply(&h, order, &err), &err);
        for (size_t k = 0; k < l.n; k++)
            l.item[k].weight = mc_constant(l.item[k].value);
        free(order);
        mc_circulant_hidden_free(&h);
        turned++;
    }
    mc_layers_free(&l);
    build_ok(mc_verify(m, &err), &err);
    return turned;
}

static void networks_compute_the_same(void **state)
{
    (void)state;
    size_t layers = 0;
    for (uint64_t seed = only_seed ? only_seed : 1; seed < (only_seed ? only_seed + 1 : 250);
         seed++) {
        struct rg r;
        struct rv x;
        int64_t dims[RG_RANK];
        rg_network(&r, seed, &x);
        for (int i = 0; i < x.rank; i++)
            dims[i] = x.d[i] == RG_BATCH ? RG_SAMPLES : x.d[i];
        build_ok(mc_verify(r.m, &err), &err);
        build_ok(mc_prepare(r.m, NULL, &err), &err);
        struct mc_model *m = quant_clone(r.m);
        layers += turn_all(m, seed);
        quant_expect_same(r.m, m, x.rank, dims, seed, 2e-5);
        mc_model_free(m);
        mc_model_free(r.m);
    }
    print_message("%zu layers\n", layers);
    assert_true(only_seed || layers > 60);
}

struct net {
    struct rg r;
    struct mc_value *x;
};

static struct net net_of(int rank, const int64_t *d)
{
    struct net n = {.r = {.seed = 5, .opset = 17}};
    n.r.m = build_model(17);
    n.r.g = n.r.m->graph;
    n.x = build_input(n.r.g, "x", MC_DTYPE_F32, rank, d);
    return n;
}

static struct mc_value *gemm(struct rg *r, struct mc_value *x, int64_t m, int64_t n, bool bias)
{
    struct mc_node *node;
    struct mc_value *in[] = {x, rg_plain(r, 2, D(m, n), 0.5, 0),
                             bias ? rg_plain(r, 1, D(m), 0.5, 0) : NULL};
    struct mc_value *y = build_node(r->g, "Gemm", "gemm", bias ? 3 : 2, in, &node);
    rg_int(node, "transB", 1);
    return y;
}

static struct mc_value *conv(struct rg *r, struct mc_value *x, int64_t m, int64_t c, int64_t group)
{
    struct mc_node *node;
    struct mc_value *in[] = {x, rg_plain(r, 4, D(m, c / group, 3, 3), 0.5, 0),
                             rg_plain(r, 1, D(m), 0.5, 0)};
    struct mc_value *y = build_node(r->g, "Conv", "conv", 3, in, &node);
    rg_int(node, "group", group);
    return y;
}

static void expect_turned(struct mc_model *m, size_t layers, int rank, const int64_t *d)
{
    struct mc_model *other = quant_clone(m);
    assert_int_equal(turn_all(other, 3), layers);
    quant_expect_same(m, other, rank, d, 1, 1e-5);
    if (layers) /* something did move */
        assert_true(mc_constant(other->graph->nodes[0]->in[1]) !=
                    mc_constant(m->graph->nodes[0]->in[1]));
    mc_model_free(other);
}

/* Gemm, gate x * sigmoid(x), slope per unit, Gemm. */
static void units_go_through_element_wise_operators(void **state)
{
    (void)state;
    struct net n = net_of(2, D(3, 6));
    struct mc_value *h = gemm(&n.r, n.x, 10, 6, true);
    h = build_binary(n.r.g, "Mul", "gate", h, build_unary(n.r.g, "Sigmoid", "s", h));
    h = build_binary(n.r.g, "PRelu", "slope", h, rg_plain(&n.r, 1, D(10), 0.5, 0));
    build_output(n.r.g, gemm(&n.r, h, 4, 10, false));
    expect_turned(n.r.m, 1, 2, D(3, 6));
    mc_model_free(n.r.m);
}

/* Conv, depthwise Conv, pool, Flatten: a channel is a run of columns. */
static void channels_become_runs(void **state)
{
    (void)state;
    struct net n = net_of(4, D(2, 3, 9, 9));
    struct mc_value *h = build_unary(n.r.g, "Relu", "relu", conv(&n.r, n.x, 8, 3, 1));
    h = conv(&n.r, h, 8, 8, 8);
    h = build_unary(n.r.g, "Flatten", "flat", h);
    build_output(n.r.g, gemm(&n.r, h, 4, 8 * 5 * 5, true));
    expect_turned(n.r.m, 1, 4, D(2, 3, 9, 9));
    mc_model_free(n.r.m);
}

/* What is seen outside, added to something else, normalised over, or read by two through one weight stays. */
static void others_hold_their_order(void **state)
{
    (void)state;
    static const char *const how[] = {"output", "residual", "softmax", "shared", "transposed"};
    for (int i = 0; i < 5; i++) {
        struct net n = net_of(2, D(3, 6));
        struct mc_value *h = gemm(&n.r, n.x, 6, 6, true), *y = h;
        struct mc_node *node;
        if (i == 0)
            build_output(n.r.g, h);
        if (i == 1)
            y = build_binary(n.r.g, "Add", "sum", h, n.x);
        if (i == 2)
            y = build_unary(n.r.g, "Softmax", "softmax", h);
        y = gemm(&n.r, y, 4, 6, false);
        if (i == 3) {
            struct mc_value *in[] = {n.x, y->producer->in[1]};
            struct mc_value *z = build_node(n.r.g, "Gemm", "second", 2, in, &node);
            rg_int(node, "transB", 1);
            y = build_binary(n.r.g, "Add", "both", y, z);
        }
        if (i == 4)
            y = build_binary(n.r.g, "MatMul", "outer", build_unary(n.r.g, "Transpose", "t", h), y);
        build_output(n.r.g, y);
        struct mc_layers l = {0};
        struct mc_circulant_hidden hidden;
        bool may;
        build_ok(mc_layers_collect(n.r.m, &l, &err), &err);
        build_ok(mc_circulant_hidden_find(&l.item[0], &hidden, &may, &err), &err);
        if (may)
            fail_msg("%s: the order is said to be free", how[i]);
        mc_circulant_hidden_free(&hidden);
        mc_layers_free(&l);
        mc_model_free(n.r.m);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_compute_the_same),
        cmocka_unit_test(units_go_through_element_wise_operators),
        cmocka_unit_test(channels_become_runs),
        cmocka_unit_test(others_hold_their_order),
    };
    only_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
