/* What the layers of a model are, which forms they may have, and why not. */
#include "../run/run_util.h"

#include "graph/constant.h"
#include "graph/run/fold.h"
#include "graph/verify.h"
#include "passes/quant/form/quant_site.h"

static const struct mc_quant_rules rules = {.weight_bits = 8, .block_bits = 4, .block = 32};

struct found {
    struct mc_model *m;
    struct mc_quant_sites all;
};

static struct found find(struct mc_model *m)
{
    struct found f = {.m = m};
    struct mc_err err;
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_prepare(m, NULL, &err), &err);
    build_ok(mc_quant_prepare(m, &err), &err);
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_quant_sites_find(m, &rules, &f.all, &err), &err);
    return f;
}

static void release(struct found *f)
{
    mc_quant_sites_free(&f->all);
    mc_model_free(f->m);
}

static const struct mc_quant_site *site(const struct found *f, const char *op)
{
    for (size_t i = 0; i < f->all.n; i++)
        if (!strcmp(f->all.item[i].node->op_type, op))
            return &f->all.item[i];
    fail_msg("no %s", op);
    return NULL;
}

static struct mc_value *op(struct mc_graph *g, const char *type, struct mc_value *a,
                           struct mc_value *b, struct mc_node **ret)
{
    struct mc_node *n;
    struct mc_value *y = build_node(g, type, type, b ? 2 : 1, (struct mc_value *[]){a, b}, &n);
    if (ret)
        *ret = n;
    return y;
}

static void says(const char *why, const char *text)
{
    assert_non_null(why);
    if (!strstr(why, text))
        fail_msg("'%s' does not say '%s'", why, text);
}

/* ---- shapes of layers ---- */

static void axes_of_products(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 3, DIMS(2, 5, 64));
    struct mc_value *h = op(g, "MatMul", x, random_const(g, "w", 2, DIMS(64, 48), 1), NULL);
    h = op(g, "Add", random_const(g, "b", 1, DIMS(48), 2), h, NULL);
    h = op(g, "Relu", h, NULL, NULL);
    struct mc_value *flat =
        op(g, "Reshape", h, build_const(g, "s", MC_DTYPE_I64, 1, DIMS(2), DIMS(10, 48)), NULL);
    flat = op(g, "Gemm", flat, random_const(g, "v", 2, DIMS(40, 48), 3), &n);
    assert_int_equal(mc_edit_attr_int(n, "transB", 1, NULL), 0);
    build_output(g, flat);
    struct found f = find(m);
    const struct mc_quant_site *s = site(&f, "MatMul");
    assert_int_equal(s->kind, MC_QUANT_MATMUL);
    assert_int_equal(s->out_axis[0], 1);
    assert_int_equal(s->in_axis[0], 0);
    assert_non_null(s->add);
    assert_int_equal(s->add_slot, 0);
    assert_string_equal(s->act->op_type, "Relu");
    assert_ptr_equal(s->y, s->act->out[0]);
    assert_true(s->macs == 10 * 64 * 48);
    assert_null(s->why[MC_QUANT_WEIGHT]);
    assert_null(s->why[MC_QUANT_BLOCK]);
    assert_null(s->why[MC_QUANT_DYNAMIC]);
    assert_null(s->why[MC_QUANT_STATIC]);
    s = site(&f, "Gemm");
    assert_int_equal(s->kind, MC_QUANT_GEMM);
    assert_int_equal(s->out_axis[0], 0);
    assert_int_equal(s->in_axis[0], 1);
    assert_int_equal(f.all.n, 2);
    assert_int_equal(f.all.opset, 25);
    assert_int_equal(f.all.weight_bytes, 4 * (64 * 48 + 48 + 40 * 48));
    release(&f);
}

/* OpenVINO takes blocks only that divide the inner dimension. */
static void blocks_that_divide(void **state)
{
    (void)state;
    static const struct {
        int64_t inner;
        int block;
    } cases[] = {{64, 32}, {784, 28}, {100, 25}, {62, 31}, {61, 1}, {12, 12}};
    struct mc_quant_rules r = rules;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mc_model *m = build_model(17);
        struct mc_graph *g = m->graph;
        struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(2, cases[i].inner));
        build_output(
            g, op(g, "MatMul", x, random_const(g, "w", 2, DIMS(cases[i].inner, 90), 1), NULL));
        struct found f = find(m);
        const struct mc_quant_site *s = site(&f, "MatMul");
        r.runtime = MC_QUANT_STOCK;
        assert_int_equal(mc_quant_block(s, &r, 0), 32);
        r.runtime = MC_QUANT_OPENVINO;
        assert_int_equal(mc_quant_block(s, &r, 0), cases[i].block);
        release(&f);
    }
}

/* A bias behind a product of matrices is one of its own. */
static void product_and_sum_are_one(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(-2, 64));
    struct mc_value *h = op(g, "MatMul", x, random_const(g, "w", 2, DIMS(64, 48), 1), NULL);
    build_output(g, op(g, "Add", h, random_const(g, "b", 1, DIMS(48), 2), NULL));
    struct found f = find(m);
    assert_int_equal(f.all.n, 1);
    assert_int_equal(f.m->graph->n_nodes, 1);
    assert_string_equal(f.all.item[0].node->op_type, "Gemm");
    assert_int_equal(f.all.item[0].bias_slot, 2);
    release(&f);
}

static void convolutions(void **state)
{
    (void)state;
    struct mc_model *m = build_model(11);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(1, 64, 9, 9));
    struct mc_value *h = op(g, "Conv", x, random_const(g, "w", 4, DIMS(64, 1, 3, 3), 1), &n);
    assert_int_equal(mc_edit_attr_int(n, "group", 64, NULL), 0);
    h = op(g, "ConvTranspose", h, random_const(g, "v", 4, DIMS(64, 8, 3, 3), 2), NULL);
    build_output(g, h);
    struct found f = find(m);
    assert_int_equal(site(&f, "Conv")->out_axis[0], 0);
    assert_int_equal(site(&f, "ConvTranspose")->out_axis[0], 1);
    assert_int_equal(site(&f, "ConvTranspose")->in_axis[0], 0);
    says(site(&f, "Conv")->why[MC_QUANT_DYNAMIC], "slower");
    says(site(&f, "Conv")->why[MC_QUANT_BLOCK], "matrix products");
    assert_null(site(&f, "Conv")->why[MC_QUANT_STATIC]);
    release(&f);
}

/* ---- one weight, several readers ---- */

static void tied_tables(void **state)
{
    (void)state;
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_value *w = random_const(g, "w", 2, DIMS(100, 64), 1);
    struct mc_value *i = build_input(g, "i", MC_DTYPE_I64, 2, DIMS(1, 7));
    struct mc_value *h = op(g, "Gather", w, i, NULL), *t = op(g, "Transpose", w, NULL, &n);
    build_output(g, op(g, "MatMul", h, t, NULL));
    struct found f = find(m);
    const struct mc_quant_site *s = site(&f, "MatMul");
    assert_int_equal(f.all.n, 2);
    assert_int_equal(site(&f, "Gather")->kind, MC_QUANT_TABLE);
    assert_int_equal(s->shared, 1);
    assert_true(s->transposed[0]);
    assert_int_equal(s->out_axis[0], 0);
    assert_int_equal(s->in_axis[0], 1);
    assert_ptr_equal(mc_constant(s->weight[0]), mc_constant(w));
    assert_int_equal(f.all.weight_bytes, 4 * 6400);
    release(&f);
}

static void weights_in_branches(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_node *n;
    struct mc_err err;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(3, 64));
    struct mc_value *flag = build_input(g, "flag", MC_DTYPE_BOOL, 0, NULL);
    struct mc_value *w = random_const(g, "w", 2, DIMS(64, 64), 1);
    build_ok(mc_edit_node(g, 0, "If", "", 0, "if", &flag, 1,
                          (struct mc_value *[]){mc_edit_fresh(g, "y")}, 1, &n, &err),
             &err);
    for (int k = 0; k < 2; k++) {
        struct mc_graph *b = mc_edit_graph(m, g, n, k ? "else" : "then");
        build_ok(mc_edit_attr_graph(n, k ? "else_branch" : "then_branch", b, &err), &err);
        struct mc_value *own =
            k ? random_const(b, "v", 2, DIMS(64, 64), 2) : mc_edit_resolve(b, w->name);
        build_output(b, op(b, "MatMul", mc_edit_resolve(b, x->name), own, NULL));
    }
    build_output(g, n->out[0]);
    struct found f = find(m);
    assert_int_equal(f.all.n, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct mc_quant_site *s = &f.all.item[i];
        assert_true(s->in_body);
        assert_null(s->why[MC_QUANT_WEIGHT]);
        says(s->why[MC_QUANT_STATIC], "body");
    }
    assert_int_equal(f.all.weight_bytes, 2 * 4 * 64 * 64);
    release(&f);
}

/* A weight that a Loop hands from run to run is that of a layer; what changes on the way, or is wanted behind it, stays. */
static void weights_carried_by_loops(void **state)
{
    (void)state;
    for (int wanted = 0; wanted < 2; wanted++) {
        struct mc_model *m = build_model(13);
        struct mc_graph *g = m->graph;
        struct mc_node *n;
        struct mc_err err;
        struct mc_value *h = build_input(g, "h", MC_DTYPE_F32, 2, DIMS(3, 64));
        struct mc_value *w = random_const(g, "w", 2, DIMS(64, 64), 1);
        struct mc_value *times = build_const(g, "times", MC_DTYPE_I64, 0, NULL, &(int64_t){2});
        struct mc_value *out[] = {mc_edit_fresh(g, "h_end"), mc_edit_fresh(g, "w_end")};
        build_ok(mc_edit_node(g, 0, "Loop", "", 0, "loop", (struct mc_value *[]){times, NULL, h, w},
                              4, out, 2, &n, &err),
                 &err);
        struct mc_graph *b = mc_edit_graph(m, g, n, "body");
        build_ok(mc_edit_attr_graph(n, "body", b, &err), &err);
        build_input(b, "i", MC_DTYPE_I64, 0, NULL);
        struct mc_value *on = build_input(b, "on", MC_DTYPE_BOOL, 0, NULL);
        struct mc_value *x = build_input(b, "x", MC_DTYPE_F32, 2, DIMS(3, 64));
        struct mc_value *v = build_input(b, "v", MC_DTYPE_F32, 2, DIMS(64, 64));
        build_output(b, op(b, "Identity", on, NULL, NULL));
        build_output(b, op(b, "MatMul", x, v, NULL));
        build_output(b, v);
        build_output(g, out[0]);
        if (wanted)
            build_output(g, out[1]);
        struct found f = find(m);
        const struct mc_quant_site *s = &f.all.item[0];
        assert_int_equal(f.all.n, 1);
        assert_true(wanted ? s->reason || s->why[MC_QUANT_WEIGHT] : !s->why[MC_QUANT_WEIGHT]);
        if (!wanted)
            assert_true(mc_constant(s->weight[0]) == mc_constant(s->weight[0]->outer));
        release(&f);
    }
}

/* ---- what cannot be ---- */

static void reasons(void **state)
{
    (void)state;
    struct mc_model *m = build_model(13);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 2, DIMS(3, 64));
    struct mc_value *scale = f32_const(g, "scale", 0, NULL, F(0.5f));
    struct mc_value *q = build_const(g, "q", MC_DTYPE_I8, 2, DIMS(64, 64), NULL);
    struct mc_value *h = op(g, "MatMul", x, op(g, "DequantizeLinear", q, scale, NULL), NULL);
    struct mc_value *given =
        op(g, "Gemm", h, build_input(g, "given", MC_DTYPE_F32, 2, DIMS(64, 9)), NULL);
    struct mc_value *seen = random_const(g, "seen", 2, DIMS(64, 32), 3);
    struct mc_value *both = op(g, "MatMul", h, op(g, "Transpose", h, NULL, NULL), NULL);
    struct mc_value *small = op(g, "MatMul", both, random_const(g, "w", 2, DIMS(3, 2), 1), NULL);
    build_output(g, op(g, "MatMul", h, seen, NULL));
    build_output(g, seen);
    build_output(g, small);
    build_output(g, given);
    build_output(g, both);
    struct found f = find(m);
    assert_int_equal(f.all.n, 5);
    for (size_t i = 0; i < f.all.n; i++) {
        const struct mc_quant_site *s = &f.all.item[i];
        const char *w = s->weight[0] ? s->weight[0]->name : "";
        if (s->kind == MC_QUANT_PRODUCT) {
            says(s->why[MC_QUANT_WEIGHT], "no weight");
            says(s->why[MC_QUANT_STATIC], "slower in integers");
        } else if (!strcmp(w, "w")) {
            says(s->why[MC_QUANT_WEIGHT], "too small");
        } else {
            says(s->reason, !strcmp(w, "seen")                  ? "output of the model"
                            : !strcmp(s->node->op_type, "Gemm") ? "not constant"
                                                                : "it is quantised already");
            assert_ptr_equal(s->why[MC_QUANT_WEIGHT], s->reason);
        }
    }
    release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(axes_of_products),
                                       cmocka_unit_test(blocks_that_divide),
                                       cmocka_unit_test(product_and_sum_are_one),
                                       cmocka_unit_test(convolutions),
                                       cmocka_unit_test(tied_tables),
                                       cmocka_unit_test(weights_in_branches),
                                       cmocka_unit_test(weights_carried_by_loops),
                                       cmocka_unit_test(reasons)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
