/* mc_activation_join: spelled-out activations become one node that computes the same; what is no such thing stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "graph/grad/activation_join.h"
#include "graph/run/session.h"
#include "graph/verify.h"
#include "tests/graph/build.h"

enum { SIZE = 60 };

/* A graph from a line: "op a b; op a; …" with x, numbers, and results by their place (0, 1, …). The last is the
 * output; a name in front of an op, as in "out=Mul", makes it one, too. */
static struct mc_value *operand(struct mc_graph *g, struct mc_value *const *done, const char *word)
{
    static int count;
    char name[32];
    if (!strcmp(word, "x") || !strcmp(word, "z"))
        return mc_graph_value(g, word);
    if (word[0] == '#') {
        float v = strtof(word + 1, NULL);
        snprintf(name, sizeof name, "number%d", count++);
        return build_const(g, name, MC_DTYPE_F32, 0, NULL, &v);
    }
    return done[atoi(word)];
}

static struct mc_model *make(const char *line)
{
    struct mc_model *m = build_model(20);
    struct mc_graph *g = m->graph;
    struct mc_value *done[16], *in[2];
    char text[512], *rest = text, *op;
    int n = 0;
    build_input(g, "x", MC_DTYPE_F32, 1, (const int64_t[]){SIZE});
    build_input(g, "z", MC_DTYPE_F32, 1, (const int64_t[]){SIZE});
    snprintf(text, sizeof text, "%s", line);
    while ((op = strsep(&rest, ";")) != NULL) {
        char name[32], *word[4];
        int words = 0;
        for (char *w; (w = strsep(&op, " ")) != NULL && words < 4;)
            if (*w)
                word[words++] = w;
        bool out = !strncmp(word[0], "out=", 4), hard;
        word[0] += out ? 4 : 0;
        hard = !strcmp(word[0], "HardSigmoid");
        for (int i = 1; i < words; i++)
            in[i - 1] = operand(g, done, word[i]);
        snprintf(name, sizeof name, "v%d", n);
        done[n] = build_node(g, word[0], name, (size_t)words - 1, in, NULL);
        if (hard)
            build_ok(mc_edit_attr_float(done[n]->producer, "alpha", 1 / 6.0F, NULL), NULL);
        if (out || !rest)
            build_output(g, done[n]);
        n++;
    }
    return m;
}

static void run(struct mc_model *m, double *ret)
{
    double x[SIZE], z[SIZE];
    struct mc_session *s;
    struct mc_err err;
    for (uint64_t i = 0; i < SIZE; i++) {
        x[i] = 3 * (double)mc_rng_normal(1, 1, i);
        z[i] = (double)mc_rng_normal(1, 2, i);
    }
    struct mc_array in[] = {
        {.name = "x", .dtype = MC_DTYPE_F64, .shape = {1, {SIZE}}, .data = x, .bytes = sizeof x},
        {.name = "z", .dtype = MC_DTYPE_F64, .shape = {1, {SIZE}}, .data = z, .bytes = sizeof z}};
    struct mc_session_opts o = {.precision = MC_PRECISION_F64};
    build_ok(mc_verify(m, &err), &err);
    build_ok(mc_session_new(m->graph, &o, &s, &err), &err);
    build_ok(mc_session_run(s, in, 2, &err), &err);
    memcpy(ret, mc_session_output(s, 0)->data, SIZE * sizeof *ret);
    mc_session_free(s);
}

struct line {
    const char *op, *text; /* op: what it becomes, NULL: it stays */
    size_t nodes;          /* that are left */
};

static void check(const struct line *l)
{
    double want[SIZE], got[SIZE];
    size_t n;
    struct mc_err err;
    struct mc_model *m = make(l->text);
    run(m, want);
    size_t nodes = m->graph->n_nodes;
    build_ok(mc_activation_join(m->graph, &n, &err), &err);
    if (n != (l->op != NULL) || m->graph->n_nodes != (l->op ? l->nodes : nodes))
        fail_msg("'%s': %zu joined, %zu nodes left", l->text, n, m->graph->n_nodes);
    bool found = !l->op;
    for (size_t i = 0; i < m->graph->n_nodes; i++)
        found |= l->op && !strcmp(m->graph->nodes[i]->op_type, l->op);
    if (!found)
        fail_msg("'%s' has no %s", l->text, l->op);
    run(m, got);
    for (int i = 0; i < SIZE; i++) /* constants of the file are of float32 */
        if (!(fabs(got[i] - want[i]) <= 1e-6))
            fail_msg("'%s'[%d] is %.9g, not %.9g", l->text, i, got[i], want[i]);
    mc_model_free(m);
}

static void joined(void **state)
{
    static const struct line lines[] = {
        {"Gelu", "Div x #1.41421356;Erf 0;Add 1 #1;Mul x 2;Mul 3 #0.5", 1},
        {"Gelu", "Mul x #0.70710678;Erf 0;Add #1 1;Mul #0.5 x;Mul 2 3", 1},
        {"Gelu", "Div x #1.41421356;Erf 0;Add 1 #1;Mul 2 #0.5;Mul 3 x;Add 4 x", 2},
        {"Gelu", "Neg x;Mul 0 #0.70710678;Erf 1;Add 2 #1;Mul 0 3;Div 4 #2", 2},
        {"Gelu",
         "Pow x #3;Mul 0 #0.044715;Add x 1;Mul 2 #0.79788456;Tanh 3;Add 4 #1;Mul x #0.5;Mul 6 5",
         1},
        {"Gelu",
         "Mul x x;Mul 0 x;Mul #0.044715 1;Add 2 x;Mul #0.79788456 3;Tanh 4;Add #1 5;Mul x 6;Mul 7 "
         "#0.5",
         1},
        {"Swish", "Sigmoid x;Mul x 0", 1},
        {"Swish", "Mul x #1.702;Sigmoid 0;Mul 1 x;Mul 2 z", 2},
        {"HardSwish", "HardSigmoid x;Mul 0 x", 1},
        {"Mish", "Softplus x;Tanh 0;Mul x 1", 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        check(&lines[i]);
}

static void left_alone(void **state)
{
    static const struct line lines[] = {
        {NULL, "Div x #1.5;Erf 0;Add 1 #1;Mul x 2;Mul 3 #0.5", 0},
        {NULL, "Div x #1.41421356;Erf 0;Add 1 #1;Mul x 2;Mul 3 #0.25", 0},
        {NULL, "Div x #1.41421356;Erf 0;Add 1 #1;Mul z 2;Mul 3 #0.5", 0},
        {NULL, "Div x #1.41421356;Erf 0;Add 1 #1;Mul x 2;Mul 3 #0.5;Add 1 4", 0},
        {NULL, "Div x #1.41421356;out=Erf 0;Add 1 #1;Mul x 2;Mul 3 #0.5", 0},
        {NULL, "Sigmoid x;Mul z 0", 0},
        {NULL, "Sigmoid x;Mul x 0;Mul 1 0", 0},
        {NULL, "Sigmoid x;Mul 0 0", 0},
        {NULL, "Tanh x;Mul x 0", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        check(&lines[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joined),
        cmocka_unit_test(left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
