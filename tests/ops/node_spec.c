#include "node_spec.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "graph/run/session.h"
#include "tests/graph/build.h"

enum { INPUTS = 16, WORD = 256 };

struct builder {
    struct mc_graph *g;
    struct mc_value *in[INPUTS];
    struct mc_array array[INPUTS];
    int n_in, n_array;
    uint64_t seed;
};

static enum mc_dtype dtype_of(char letter)
{
    switch (letter) {
    case 'f': return MC_DTYPE_F32;
    case 'd': return MC_DTYPE_F64;
    case 'l': return MC_DTYPE_I64;
    case 'i': return MC_DTYPE_I32;
    case 'b': return MC_DTYPE_BOOL;
    case 's': return MC_DTYPE_F16;
    case 'u': return MC_DTYPE_U8;
    case 'c': return MC_DTYPE_I8;
    default: fail_msg("type letter '%c'", letter); return MC_DTYPE_NONE;
    }
}

static int parse_list(const char *text, int64_t *ret, int max)
{
    int n = 0;
    while (*text && *text != ']' && *text != '}' && *text != ')') {
        char *end;
        assert_true(n < max);
        ret[n++] = strtoll(text, &end, 10);
        assert_true(end > text);
        text = end + (*end == ',');
    }
    return n;
}

static int parse_floats(const char *text, float *ret, int max)
{
    int n = 0;
    while (*text && *text != '}') {
        char *end;
        assert_true(n < max);
        ret[n++] = strtof(text, &end);
        assert_true(end > text);
        text = end + (*end == ',');
    }
    return n;
}

static void fill(struct builder *b, enum mc_dtype dtype, void *data, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float x = 2 * mc_rng_normal(b->seed, (uint64_t)b->n_in, (uint64_t)i);
        x = dtype == MC_DTYPE_BOOL ? x > 0 : x;
        char *at = (char *)data + i * mc_dtype_info(dtype)->bits / 8;
        assert_int_equal(mc_dtype_from_f32(dtype, &x, at, 1, NULL), 0);
    }
}

static void add_input(struct builder *b, const char *word)
{
    char name[16];
    int64_t v[64];
    assert_true(b->n_in < INPUTS);
    snprintf(name, sizeof name, "in%d", b->n_in);
    if (word[0] == '-') {
        b->in[b->n_in++] = NULL;
        return;
    }
    enum mc_dtype dtype = dtype_of(word[0]);
    if (word[1] == '{' && dtype == MC_DTYPE_F32) {
        float values[64];
        int64_t count = parse_floats(word + 2, values, 64);
        b->in[b->n_in++] = build_const(b->g, name, dtype, 1, &count, values);
        return;
    }
    int n = parse_list(word + 2, v, 64);
    if (word[1] == '{') {
        int64_t count = n;
        int32_t narrow[64];
        uint8_t truth[64];
        for (int i = 0; i < n; i++) {
            narrow[i] = (int32_t)v[i];
            truth[i] = v[i] != 0;
        }
        b->in[b->n_in++] = build_const(b->g, name, dtype, 1, &count,
                                       dtype == MC_DTYPE_I32    ? (void *)narrow
                                       : dtype == MC_DTYPE_BOOL ? (void *)truth
                                                                : (void *)v);
        return;
    }
    b->in[b->n_in] = build_input(b->g, name, dtype, n, v);
    struct mc_array *a = &b->array[b->n_array++];
    *a = (struct mc_array){.name = b->in[b->n_in]->name, .dtype = dtype};
    a->shape = mc_shape_of(n, v);
    assert_true(mc_dtype_bytes(dtype, mc_shape_count(&a->shape), &a->bytes));
    a->data = mc_alloc_aligned(a->bytes);
    assert_non_null(a->data);
    fill(b, dtype, a->data, mc_shape_count(&a->shape));
    b->n_in++;
}

static void add_attr(struct mc_node *n, char *word)
{
    char *value = strchr(word, '=');
    assert_non_null(value);
    *value++ = 0;
    int64_t v[64];
    int rc;
    if (isalpha((unsigned char)*value) || *value == '_' || *value == '.')
        rc = mc_edit_attr_string(n, word, value, NULL);
    else if (*value == ',' || value[strlen(value) - 1] == ',')
        rc =
            mc_edit_attr_ints(n, word, v, (size_t)parse_list(value + (*value == ','), v, 64), NULL);
    else if (strchr(value, '.'))
        rc = mc_edit_attr_float(n, word, strtof(value, NULL), NULL);
    else
        rc = mc_edit_attr_int(n, word, strtoll(value, NULL, 10), NULL);
    assert_int_equal(rc, 0);
}

/* The node and the rest of the line: outputs and attributes. */
static void add_node(struct builder *b, const char *op, int version, char *rest)
{
    struct mc_value *out[64];
    struct mc_node *node;
    char *save = NULL, *word = strtok_r(rest, " ", &save);
    int n_out = word ? atoi(word) : 1;
    assert_true(n_out > 0 && n_out <= 64);
    for (int i = 0; i < n_out; i++)
        out[i] = mc_edit_fresh(b->g, "out");
    char domain[64] = "";
    const char *colon = strchr(op, ':');
    if (colon) {
        assert_true((size_t)(colon - op) < sizeof domain);
        memcpy(domain, op, (size_t)(colon - op));
        op = colon + 1;
    }
    assert_int_equal(mc_edit_node(b->g, 0, op, domain, version, "node", b->in, (size_t)b->n_in, out,
                                  (size_t)n_out, &node, NULL),
                     0);
    while ((word = strtok_r(NULL, " ", &save)))
        add_attr(node, word);
    for (int i = 0; i < n_out; i++)
        build_output(b->g, out[i]);
}

int node_spec_run(const char *spec, uint64_t seed, struct mc_err *err)
{
    char text[2048], *arrow, *save = NULL;
    assert_true(strlen(spec) < sizeof text);
    strcpy(text, spec);
    arrow = strstr(text, "-> ");
    assert_non_null(arrow);
    *arrow = 0;
    char *op = strtok_r(text, "- ", &save);
    int version = atoi(strtok_r(NULL, " ", &save));
    struct mc_model *m = build_model(version);
    struct builder b = {.g = m->graph, .seed = seed};
    for (char *word; (word = strtok_r(NULL, " ", &save));)
        add_input(&b, word);
    add_node(&b, op, version, arrow + 3);
    struct mc_session *s = NULL;
    struct mc_session_opts o = {0};
    int rc = mc_session_new(m->graph, &o, &s, err);
    rc = rc ? rc : mc_session_run(s, b.array, b.n_array, err);
    mc_session_free(s);
    mc_model_free(m);
    for (int i = 0; i < b.n_array; i++)
        free(b.array[i].data);
    return rc;
}

void node_spec_all_bad(const struct node_spec_bad *bad, size_t n)
{
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        struct mc_err err = {0};
        char op[64] = {0};
        const char *colon = strchr(bad[i].spec, ':'), *name = colon ? colon + 1 : bad[i].spec;
        int rc = node_spec_run(bad[i].spec, 1, &err);
        memcpy(op, name, strcspn(name, "-"));
        if (rc != bad[i].code || !strstr(err.msg, bad[i].words) || !strstr(err.msg, op) ||
            !strstr(err.msg, "node")) {
            print_error("%s gave %s: %s\n", bad[i].spec, mc_code_name(rc), err.msg);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

void node_spec_all_good(const char *const *good, size_t n)
{
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        struct mc_err err = {0};
        if (node_spec_run(good[i], 1, &err)) {
            print_error("%s gave %s\n", good[i], err.msg);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}
