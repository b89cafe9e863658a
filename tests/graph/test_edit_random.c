/* Random edits of graphs with nested bodies. After each one the model is sound, and means what the edit says:
 * the meaning of a value is a hash of the expression it stands for.   test_edit_random [SEED [STEPS]] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "graph/verify.h"
#include "tests/graph/build.h"

enum { SEEDS = 12, STEPS = 400, DEPTH = 4 };

static uint64_t seed, drawn;

static uint32_t below(size_t n)
{
    return mc_rng_below(seed, 0, drawn++, (uint32_t)n);
}

/* ---- meanings ---- */

struct frame {
    const struct frame *up;
    const struct mc_graph *g;
    uint64_t *meaning; /* by value index */
};

static uint64_t mix(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9e3779b97f4a7c15;
    return h ^ h >> 29;
}

static uint64_t mix_text(uint64_t h, const char *s)
{
    for (; *s; s++)
        h = mix(h, (unsigned char)*s);
    return h;
}

/* Meaning of v where it is used, if every use of `from` were one of `to`. */
static uint64_t used(const struct frame *f, const struct mc_value *v, const struct mc_value *from,
                     const struct mc_value *to)
{
    if (!v)
        return 3;
    return f->meaning[v == from ? to->index : v->index];
}

static uint64_t meaning_of(const struct frame *up, const struct mc_graph *g,
                           const struct mc_value *from, const struct mc_value *to);

static uint64_t node_meaning(const struct frame *f, const struct mc_node *n,
                             const struct mc_value *from, const struct mc_value *to)
{
    if (strcmp(n->op_type, "Identity") == 0)
        return used(f, n->in[0], from, to);
    uint64_t h = mix_text(1, n->op_type);
    for (size_t i = 0; i < n->n_in; i++)
        h = mix(h, used(f, n->in[i], from, to));
    for (size_t k = 0; k < n->n_attr; k++) {
        h = mix(mix_text(h, n->attr[k].name), (uint64_t)n->attr[k].i);
        for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n; b++)
            h = mix(h, meaning_of(f, n->attr[k].graphs[b], from, to));
    }
    return h;
}

/* Of all outputs of a graph together; in the main graph with their names. */
static uint64_t meaning_of(const struct frame *up, const struct mc_graph *g,
                           const struct mc_value *from, const struct mc_value *to)
{
    struct frame f = {up, g, calloc(g->n_values + 1, sizeof(uint64_t))};
    assert_non_null(f.meaning);
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        if (!v || v->producer)
            continue;
        if (v->outer)
            f.meaning[i] = used(up, v->outer, from, to);
        else if (v->tensor)
            f.meaning[i] = mix(7, v->tensor->data[0]);
        else
            f.meaning[i] = mix_text(9, v->name);
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        uint64_t h = node_meaning(&f, n, from, to);
        for (size_t o = 0; o < n->n_out; o++)
            f.meaning[n->out[o]->index] = o ? mix(h, o) : h;
    }
    uint64_t h = 11;
    for (size_t i = 0; i < g->n_outputs; i++) {
        h = mix(h, used(&f, g->outputs[i], from, to));
        if (!up)
            h = mix_text(h, g->outputs[i]->name);
    }
    free(f.meaning);
    return h;
}

static uint64_t meaning(const struct mc_model *m)
{
    return meaning_of(NULL, m->graph, NULL, NULL);
}

/* ---- edits ---- */

/* A value that a node at position pos may use, or NULL. */
static struct mc_value *pick(struct mc_graph *g, size_t pos)
{
    for (int tries = 0; tries < 20 && g->n_values; tries++) {
        struct mc_value *v = g->values[below(g->n_values)];
        if (v && (v->producer ? v->producer->pos < pos : v->is_input || v->tensor || v->outer))
            return v;
    }
    return NULL;
}

static struct mc_graph *pick_graph(struct mc_model *m)
{
    struct mc_graph *g = m->graph;
    while (g->n_nodes && below(3)) {
        const struct mc_node *n = g->nodes[below(g->n_nodes)];
        const struct mc_attr *a = n->n_attr ? &n->attr[below(n->n_attr)] : NULL;
        if (a && a->graphs)
            g = a->graphs[0];
    }
    return g;
}

static int depth_of(const struct mc_graph *g)
{
    return g->parent ? 1 + depth_of(g->parent) : 0;
}

static void add_body(struct mc_graph *g, struct mc_node *n, const char *name)
{
    struct mc_err err;
    struct mc_graph *body = mc_edit_graph(g->model, g, n, name);
    assert_non_null(body);
    build_ok(mc_edit_attr_graph(n, name, body, &err), &err);
    int captures = 1 + (int)below(3);
    struct mc_value *last = NULL;
    for (int i = 0; i < captures; i++) {
        struct mc_value *outer = pick(g, n->pos);
        struct mc_value *p = outer ? mc_edit_resolve(body, outer->name) : NULL;
        if (p)
            last = build_unary(body, "Neg", "in_body", p);
    }
    if (!last)
        last = build_const(body, "c", MC_DTYPE_U8, 0, NULL, "\x05");
    build_output(body, last);
}

static void add_node(struct mc_graph *g)
{
    static const char *const ops[] = {"Add", "Mul", "Max"};
    size_t pos = below(g->n_nodes + 1), n_in = 1 + below(3), n_out = 1 + below(2);
    struct mc_value *in[3], *out[2];
    struct mc_node *n;
    struct mc_err err;
    for (size_t i = 0; i < n_in; i++)
        in[i] = pick(g, pos);
    for (size_t i = 0; i < n_out; i++)
        out[i] = mc_edit_fresh(g, "v");
    bool body = depth_of(g) < DEPTH && below(4) == 0;
    build_ok(mc_edit_node(g, pos, body ? "If" : ops[below(3)], "", 0, "", in, n_in, out, n_out, &n,
                          &err),
             &err);
    if (body) {
        add_body(g, n, "then_branch");
        if (below(2))
            add_body(g, n, "else_branch");
    } else if (below(2)) {
        build_ok(mc_edit_attr_int(n, "k", below(100), &err), &err);
    }
}

static void add_constant(struct mc_graph *g)
{
    uint8_t byte = (uint8_t)below(256);
    build_const(g, "c", MC_DTYPE_U8, 0, NULL, &byte);
}

static void replace(struct mc_model *m, struct mc_graph *g)
{
    struct mc_value *from = pick(g, SIZE_MAX);
    struct mc_value *to = from ? pick(g, from->producer ? from->producer->pos : 0) : NULL;
    if (!to)
        return;
    struct mc_err err;
    uint64_t want = meaning_of(NULL, m->graph, from, to);
    build_ok(mc_edit_replace_uses(from, to, &err), &err);
    assert_true(from == to || (!from->n_uses && !from->is_output));
    if (meaning(m) != want)
        fail_msg("replacing '%s' by '%s' in '%s' changed something else", from->name, to->name,
                 g->name);
}

static void set_input(struct mc_graph *g)
{
    if (!g->n_nodes)
        return;
    struct mc_node *n = g->nodes[below(g->n_nodes)];
    struct mc_err err;
    build_ok(mc_edit_set_input(n, below(5), pick(g, n->pos), &err), &err);
}

static void remove_one(struct mc_model *m, struct mc_graph *g)
{
    if (!g->n_nodes)
        return;
    struct mc_node *n = g->nodes[below(g->n_nodes)];
    for (size_t i = 0; i < n->n_out; i++)
        if (n->out[i]->n_uses || n->out[i]->is_output)
            return;
    uint64_t before = meaning(m);
    struct mc_value *out[2] = {n->out[0], n->n_out > 1 ? n->out[1] : NULL};
    mc_edit_remove_node(n);
    for (size_t i = 0; i < 2; i++)
        if (out[i])
            mc_edit_remove_value(out[i]);
    assert_true(meaning(m) == before);
}

static void add_output(struct mc_graph *g)
{
    struct mc_value *v = pick(g, SIZE_MAX);
    if (v && !v->is_output && g->n_outputs < 8)
        build_output(g, v);
}

/* ---- checks ---- */

static void print_graph(FILE *f, const struct mc_graph *g)
{
    fprintf(f, "graph %s ids %u\n", g->name, g->n_node_ids);
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        if (v)
            fprintf(f, "%zu %s %d %d %p %s uses %zu producer %d\n", i, v->name, v->is_input,
                    v->is_output, (void *)v->tensor, v->outer ? v->outer->name : "", v->n_uses,
                    v->producer ? (int)v->producer->id : -1);
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        fprintf(f, "node %u %s %d:", n->id, n->op_type, n->version);
        for (size_t k = 0; k < n->n_in; k++)
            fprintf(f, " %s", n->in[k] ? n->in[k]->name : "-");
        for (size_t k = 0; k < n->n_out; k++)
            fprintf(f, " > %s", n->out[k]->name);
        for (size_t k = 0; k < n->n_attr; k++) {
            fprintf(f, " %s=%lld\n", n->attr[k].name, (long long)n->attr[k].i);
            if (n->attr[k].graphs)
                print_graph(f, n->attr[k].graphs[0]);
        }
        fputc('\n', f);
    }
    for (size_t i = 0; i < g->n_outputs; i++)
        fprintf(f, "output %s\n", g->outputs[i]->name);
}

static char *text_of(const struct mc_model *m)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    print_graph(f, m->graph);
    assert_int_equal(fclose(f), 0);
    return text;
}

/* Go on with a clone: it is the same, and does not need the original. */
static struct mc_model *change_over(struct mc_model *m)
{
    struct mc_model *copy;
    struct mc_err err;
    uint64_t before = meaning(m);
    build_ok(mc_model_clone(m, &copy, &err), &err);
    char *a = text_of(m), *b = text_of(copy);
    assert_string_equal(a, b);
    free(a);
    free(b);
    mc_model_free(m);
    assert_true(meaning(copy) == before);
    return copy;
}

static void nothing_is_dead(const struct mc_graph *g)
{
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        assert_true(!v || v->n_uses || v->producer || v->is_input || v->is_output);
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        size_t wanted = 0;
        for (size_t o = 0; o < g->nodes[i]->n_out; o++)
            wanted += g->nodes[i]->out[o]->n_uses + g->nodes[i]->out[o]->is_output;
        assert_true(wanted);
        for (size_t k = 0; k < g->nodes[i]->n_attr; k++)
            if (g->nodes[i]->attr[k].graphs)
                nothing_is_dead(g->nodes[i]->attr[k].graphs[0]);
    }
}

static void sweep(struct mc_model *m)
{
    uint64_t before = meaning(m);
    mc_edit_sweep(m->graph);
    assert_true(meaning(m) == before);
    nothing_is_dead(m->graph);
}

static void edits(int steps)
{
    struct mc_model *m = build_model(17);
    struct mc_err err;
    for (int i = 0; i < 3; i++)
        build_input(m->graph, i == 0 ? "x" : i == 1 ? "y" : "z", MC_DTYPE_F32, 1, (int64_t[]){4});
    for (int step = 0; step < steps; step++) {
        struct mc_graph *g = pick_graph(m);
        uint32_t what = below(100);
        if (what < 45)
            add_node(g);
        else if (what < 55)
            add_constant(g);
        else if (what < 75)
            replace(m, g);
        else if (what < 82)
            set_input(g);
        else if (what < 88)
            remove_one(m, g);
        else if (what < 94)
            add_output(g);
        else if (what < 97)
            m = change_over(m);
        else
            sweep(m);
        build_ok(mc_verify(m, &err), &err);
    }
    sweep(m);
    build_ok(mc_verify(m, &err), &err);
    mc_model_free(m);
}

static uint64_t only_seed;
static int steps = STEPS;

static void random_edits_keep_graphs_sound(void **state)
{
    (void)state;
    /* found later: a body that hands out what it captured, under a name that is then given away */
    static const uint64_t more[] = {420, 1521, 1591};
    enum { MORE = sizeof more / sizeof *more };
    for (uint64_t s = 1; s <= SEEDS + MORE; s++) {
        seed = only_seed ? only_seed : s <= SEEDS ? s : more[s - SEEDS - 1];
        drawn = 0;
        print_message("seed %llu\n", (unsigned long long)seed);
        edits(steps);
        if (only_seed)
            break;
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        only_seed = strtoull(argv[1], NULL, 0);
    if (argc > 2)
        steps = atoi(argv[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_edits_keep_graphs_sound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
