/* Functions of ai.mcompress and calls of them, damaged at random: nothing crashes, every error is a line, and what is run as ours
 * is what the function's body says. MCOMPRESS_SEED sets the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "graph/infer.h"
#include "graph/run/fold.h"
#include "graph/run/session.h"
#include "graph/summary.h"
#include "graph/verify.h"
#include "tests/graph/build_own.h"

enum { ROUNDS = 600 };

static uint64_t seed = 1, drawn;

static size_t below(size_t n)
{
    return n ? mc_rng_below(seed, 0, drawn++, (uint32_t)n) : 0;
}

static struct mc_model *healthy(void)
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

/* Outputs of m, one behind the other; NULL if it does not run. */
static uint8_t *run(const struct mc_model *m, size_t *ret_bytes)
{
    struct mc_session *s = NULL;
    struct mc_err err = {0};
    size_t n = 0;
    uint8_t *all = NULL;
    int rc = mc_session_new(m->graph, &(struct mc_session_opts){0}, &s, &err);
    must_be_line(rc, &err, "session");
    if (!rc) {
        rc = mc_session_run(s, NULL, 0, &err);
        must_be_line(rc, &err, "run");
    }
    for (int i = 0; !rc && i < (int)m->graph->n_outputs; i++) {
        const struct mc_array *out = mc_session_output(s, i);
        all = realloc(all, n + out->bytes + 1);
        assert_non_null(all);
        if (out->bytes)
            memcpy(all + n, out->data, out->bytes);
        n += out->bytes;
    }
    mc_session_free(s);
    *ret_bytes = n;
    return all;
}

/* Whatever form it is written in, it computes the same. */
static int compare_forms(const struct mc_model *m)
{
    size_t n, k;
    struct mc_err err = {0};
    uint8_t *want = run(m, &n);
    for (int way = 0; way < 2; way++) {
        struct mc_model *copy;
        build_ok(mc_model_clone(m, &copy, &err), &err);
        int rc = way ? mc_own_expand(copy, &err) : mc_own_inline(copy, &err);
        must_be_line(rc, &err, way ? "expand" : "inline");
        uint8_t *got = rc || mc_verify(copy, &err) ? NULL : run(copy, &k);
        if (want && got && (n != k || memcmp(got, want, n)))
            fail_msg("%s computes something else", way ? "expanded it" : "inlined it");
        if (want && !got && !way)
            fail_msg("it runs as calls, but not inlined: %s", err.msg);
        free(got);
        mc_model_free(copy);
    }
    free(want);
    return want != NULL;
}

static int look(struct mc_model *m)
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
    return compare_forms(m);
}

static void damaged_models(void **state)
{
    (void)state;
    const char *given = getenv("MCOMPRESS_SEED");
    seed = given ? strtoull(given, NULL, 10) : 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    int ran = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct mc_model *m = healthy();
        for (size_t k = 1 + below(3); k-- > 0;)
            damages[below(sizeof damages / sizeof *damages)](m);
        ran += look(m);
        mc_model_free(m);
    }
    print_message("%d of %d still run\n", ran, ROUNDS);
    assert_true(ran > ROUNDS / 20);
    assert_true(ran < ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(damaged_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
