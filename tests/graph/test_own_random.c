/* Functions of ai.mcompress and calls of them, damaged at random: nothing crashes, every error is a line, and what is run as ours
 * is what the function's body says. MCOMPRESS_SEED sets the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "graph/infer.h"
#include "graph/own/own_circulant.h"
#include "graph/run/fold.h"
#include "graph/run/session.h"
#include "graph/summary.h"
#include "graph/verify.h"
#include "tests/graph/build_own.h"

enum { ROUNDS = 400 };

static uint64_t seed = 1, drawn;

static size_t below(size_t n)
{
    return n ? mc_rng_below(seed, 0, drawn++, (uint32_t)n) : 0;
}

static struct mc_model *weights(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_shape shape = mc_shape_of(3, (const int64_t[]){3, 4, 5});
    build_output(g, build_signs(g, "a", 6, 13, NULL));
    build_output(g, build_shared(g, "c", 4, false, shape, NULL));
    build_output(g, build_shared(g, "e", 3, true, shape, NULL));
    build_output(g, build_gates(g, "f", 4, 3, 5, false, NULL));
    return m;
}

static struct mc_value *numbers(struct mc_graph *g, int rank, const int64_t *dims)
{
    return build_floats(g, "v", rank, dims, 7);
}

static int set_layer(void *conv, struct mc_node *n, struct mc_err *err)
{
    int rc = mc_edit_attr_ints(n, "columns", &(int64_t){*(bool *)conv ? 18 : 13}, 1, err);
    if (*(bool *)conv) {
        rc = rc ? rc : mc_edit_attr_ints(n, "shape", (const int64_t[]){4, 2, 3, 3}, 4, err);
        rc = rc ? rc : mc_edit_attr_ints(n, "strides", (const int64_t[]){1, 2}, 2, err);
        rc = rc ? rc : mc_edit_attr_ints(n, "pads", (const int64_t[]){0, 1, 0, 1}, 4, err);
        rc = rc ? rc : mc_edit_attr_ints(n, "dilations", (const int64_t[]){1, 1}, 2, err);
    }
    return rc;
}

/* A layer of signs over a constant. */
static void add_xnor(struct mc_graph *g, bool conv)
{
    struct mc_err err;
    uint8_t bits[4 * 3] = {0x5a, 0x3c, 1, 2, 3, 4};
    struct mc_value *y = mc_edit_fresh(g, "y"), *x, *s, *b;
    for (int i = 2; i < 12; i += 3)
        bits[i] &= 3; /* of 18 */
    if (!conv)
        for (int i = 1; i < 8; i += 2)
            bits[i] &= 31; /* of 13 */
    struct mc_value *p =
        build_const(g, "p", MC_DTYPE_U8, 2, (const int64_t[]){4, conv ? 3 : 2}, bits);
    struct mc_value *t = build_const(g, "t", MC_DTYPE_F32, 0, NULL, NULL);
    if (conv) {
        x = numbers(g, 4, (const int64_t[]){1, 2, 4, 4});
        s = numbers(g, 3, (const int64_t[]){4, 1, 1});
        b = numbers(g, 3, (const int64_t[]){4, 1, 1});
    } else {
        x = numbers(g, 2, (const int64_t[]){2, 13});
        s = numbers(g, 1, (const int64_t[]){4});
        b = numbers(g, 1, (const int64_t[]){4});
    }
    build_ok(mc_own_call(g, g->n_nodes, conv ? "XnorConv" : "XnorGemm", "xnor",
                         (struct mc_value *[]){x, t, p, s, b}, 5, &y, 1, set_layer, &conv, NULL,
                         &err),
             &err);
    build_output(g, y);
}

static void add_circulant(struct mc_graph *g, const char *function)
{
    struct mc_err err;
    static const int64_t ones[] = {1, 1}, pads[] = {0, 1, 0, 1};
    bool conv = strstr(function, "Conv") != NULL;
    struct mc_own_circulant l = {.name = "circulant",
                                 .y = mc_edit_fresh(g, "y"),
                                 .rank = conv ? 4 : 2,
                                 .m = 8,
                                 .n = 12,
                                 .function = function,
                                 .strides = conv ? ones : NULL,
                                 .pads = pads,
                                 .dilations = ones};
    l.x = conv ? numbers(g, 4, (const int64_t[]){1, 12, 4, 4})
               : numbers(g, 2, (const int64_t[]){2, 12});
    l.c = numbers(g, conv ? 5 : 3, (const int64_t[]){2, 3, 4, 3, 3});
    l.bias = numbers(g, 1, (const int64_t[]){8});
    build_ok(mc_own_circulant_call(g, g->n_nodes, &l, NULL, &err), &err);
    build_output(g, l.y);
}

static struct mc_model *layers(void)
{
    static const char *const names[] = {"CirculantGemm",    "CirculantGemmWindow",
                                        "CirculantGemmDft", "CirculantGemmDft2",
                                        "CirculantConv",    "CirculantConvDft"};
    struct mc_model *m = build_model(17);
    add_xnor(m->graph, false);
    add_xnor(m->graph, true);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        add_circulant(m->graph, names[i]);
    return m;
}

/* A node of a call or of a function's body. */
static struct mc_node *any_node(struct mc_model *m)
{
    struct mc_graph *g = below(2) ? m->graph : m->functions[below(m->n_functions)]->body;
    return g->nodes[below(g->n_nodes)];
}

static void change_attribute(struct mc_model *m)
{
    static const int64_t odd[] = {0, -1, 1, 2, 8, 13, 1 << 20, INT64_MAX, INT64_MIN};
    struct mc_node *n = any_node(m);
    struct mc_attr *a = n->n_attr ? &n->attr[below(n->n_attr)] : NULL;
    if (!a || (a->type != MC_ATTR_INTS && a->type != MC_ATTR_INT))
        return;
    if (a->type == MC_ATTR_INT)
        a->i = odd[below(sizeof odd / sizeof *odd)];
    else if (a->n && a->ints)
        a->ints[below(a->n)] = odd[below(sizeof odd / sizeof *odd)];
}

static void drop_attribute(struct mc_model *m)
{
    struct mc_node *n = any_node(m);
    if (n->n_attr)
        mc_edit_attr_remove(n, n->attr[below(n->n_attr)].name);
}

static void drop_input(struct mc_model *m)
{
    struct mc_node *n = any_node(m);
    if (n->n_in)
        mc_edit_set_input(n, below(n->n_in), NULL, NULL);
}

static void mix_inputs(struct mc_model *m)
{
    struct mc_node *n = any_node(m);
    struct mc_graph *g = n->graph;
    struct mc_value *v = g->values[below(g->n_values)];
    if (n->n_in && v && (v->tensor || v->is_input))
        mc_edit_set_input(n, below(n->n_in), v, NULL);
}

static void change_operator(struct mc_model *m)
{
    static const char *const names[] = {"Add", "Gather", "Reshape", "Slice",
                                        "Mul", "Neg",    "Nobody"};
    struct mc_node *n = any_node(m);
    bool call = below(4) == 0; /* perhaps of itself */
    if (call)
        mc_edit_op(n, MC_OWN_DOMAIN, m->functions[below(m->n_functions)]->name, 1, NULL);
    else
        mc_edit_op(n, "", names[below(7)], (int)below(20), NULL);
}

static void change_constant(struct mc_model *m)
{
    static const enum mc_dtype types[] = {MC_DTYPE_F32, MC_DTYPE_U8, MC_DTYPE_I32, MC_DTYPE_F16,
                                          MC_DTYPE_BOOL};
    struct mc_graph *g = m->graph;
    struct mc_value *v = g->inits[below(g->n_inits)];
    struct mc_shape shape = v->tensor->shape;
    enum mc_dtype dtype = below(2) ? v->tensor->dtype : types[below(5)];
    struct mc_tensor *t;
    void *data;
    if (below(2))
        shape.dim[below((size_t)shape.rank)] = (int64_t)below(9);
    if (below(8) == 0)
        shape.rank = (int)below(4);
    if (mc_tensor_new(dtype, &shape, NULL, &t, &data, NULL))
        return;
    for (size_t i = 0; i < t->bytes; i++)
        ((uint8_t *)data)[i] = (uint8_t)(dtype == MC_DTYPE_U8 ? below(256) : 0);
    mc_edit_tensor(v, t, NULL);
    mc_tensor_unref(t);
}

static void (*const damages[])(struct mc_model *m) = {
    change_attribute, drop_attribute, drop_input, mix_inputs, change_operator, change_constant};

static bool is_line(int rc, const struct mc_err *err)
{
    return !rc || (err->msg[0] && !strchr(err->msg, '\n'));
}

static void must_be_line(int rc, const struct mc_err *err, const char *what)
{
    if (!is_line(rc, err))
        fail_msg("%s: code %d without a line", what, rc);
}

static struct mc_err told; /* why the last run failed */

/* Outputs of m, one behind the other; NULL if it does not run. *ret_float: they are all float32. */
static uint8_t *run(const struct mc_model *m, size_t *ret_bytes, bool *ret_float)
{
    struct mc_session *s = NULL;
    struct mc_err err = {0};
    size_t n = 0;
    uint8_t *all = NULL;
    *ret_float = true;
    int rc = mc_session_new(m->graph, &(struct mc_session_opts){0}, &s, &err);
    must_be_line(rc, &err, "session");
    if (!rc) {
        rc = mc_session_run(s, NULL, 0, &err);
        must_be_line(rc, &err, "run");
    }
    for (int i = 0; !rc && i < (int)m->graph->n_outputs; i++) {
        const struct mc_array *out = mc_session_output(s, i);
        all = realloc(all, n + out->bytes + 1);
        *ret_float &= out->dtype == MC_DTYPE_F32;
        assert_non_null(all);
        if (out->bytes)
            memcpy(all + n, out->data, out->bytes);
        n += out->bytes;
    }
    mc_session_free(s);
    told = err;
    *ret_bytes = n;
    return all;
}

/* Numbers that are made in another order differ a little. */
static bool are_close(const uint8_t *pa, const uint8_t *pb, size_t bytes)
{
    float most = 1, a, b;
    for (size_t i = 0; i < bytes; i += sizeof a) {
        memcpy(&a, pa + i, sizeof a);
        memcpy(&b, pb + i, sizeof b);
        if (!isfinite(a) || !isfinite(b))
            return true; /* damage makes such; sums of them depend on the order */
        most = fmaxf(most, fabsf(a));
        if (!(fabsf(a - b) <= 1e-4f * most))
            return false;
    }
    return true;
}

/* Bodies may refuse inputs of no elements, which are nothing to a row. */
static bool has_empty(const struct mc_model *m)
{
    bool empty = false;
    for (size_t i = 0; i < m->graph->n_inits; i++)
        empty |= mc_tensor_count(m->graph->inits[i]->tensor) == 0;
    return empty;
}

/* Whatever form it is written in, it computes the same. */
static int compare_forms(const struct mc_model *m, bool exact)
{
    size_t n, k;
    bool floats, same;
    struct mc_err err = {0};
    uint8_t *want = run(m, &n, &floats);
    for (int way = 0; way < 2; way++) {
        struct mc_model *copy;
        build_ok(mc_model_clone(m, &copy, &err), &err);
        int rc = way ? mc_own_expand(copy, &err) : mc_own_inline(copy, &err);
        must_be_line(rc, &err, way ? "expand" : "inline");
        uint8_t *got = rc || mc_verify(copy, &err) ? NULL : run(copy, &k, &same);
        bool near = want && got && n == k &&
                    (exact ? !memcmp(got, want, n) : !floats || are_close(got, want, n));
        if (want && got && !near)
            fail_msg("%s computes something else", way ? "expanded it" : "inlined it");
        if (want && !got && !way && !has_empty(m))
            fail_msg("it runs as calls, but not inlined: %s%s", err.msg, told.msg);
        free(got);
        mc_model_free(copy);
    }
    free(want);
    return want != NULL;
}

static int look(struct mc_model *m, bool exact)
{
    struct mc_err err = {0};
    struct mc_summary sum;
    struct mc_infer *inf = NULL;
    struct mc_model *copy;
    int rc = mc_verify(m, &err);
    must_be_line(rc, &err, "verify");
    if (rc)
        return 0;
    for (size_t i = 0; i < m->graph->n_nodes; i++) {
        rc = mc_own_check(m->graph->nodes[i], &err);
        must_be_line(rc, &err, "check");
    }
    rc = mc_summary(m, &sum, &err);
    must_be_line(rc, &err, "summary");
    rc = mc_infer_run(m->graph, NULL, &inf, &err);
    must_be_line(rc, &err, "infer");
    mc_infer_free(rc ? NULL : inf);
    build_ok(mc_model_clone(m, &copy, &err), &err);
    rc = mc_prepare(copy, NULL, &err);
    must_be_line(rc, &err, "prepare");
    build_ok(mc_verify(copy, &err), &err);
    mc_own_sweep(copy);
    mc_model_free(copy);
    return compare_forms(m, exact);
}

static void damage(struct mc_model *(*healthy)(void), bool exact)
{
    const char *given = getenv("MCOMPRESS_SEED");
    seed = given ? strtoull(given, NULL, 10) : 1;
    drawn = 0;
    print_message("seed %llu\n", (unsigned long long)seed);
    int ran = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct mc_model *m = healthy();
        for (size_t k = below(3); i && k-- > 0;)
            damages[below(sizeof damages / sizeof *damages)](m);
        ran += look(m, exact);
        mc_model_free(m);
        assert_true(i || ran);
    }
    print_message("%d of %d still run\n", ran, ROUNDS);
    assert_true(ran > ROUNDS / 20);
    assert_true(ran < ROUNDS);
}

static void damaged_weights(void **state)
{
    (void)state;
    damage(weights, true);
}

static void damaged_layers(void **state)
{
    (void)state;
    damage(layers, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_weights),
        cmocka_unit_test(damaged_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
