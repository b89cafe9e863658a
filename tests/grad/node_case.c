#include "node_case.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tests/graph/build.h"

enum { WORD = 1024, DRAWN_DIMS = 100 };

/* Dimensions "2x3", "nx3", "s" up to a character that is none; returns behind them. */
static const char *parse_dims(struct case_data *d, const char *text, struct mc_shape *ret)
{
    *ret = (struct mc_shape){0};
    if (*text == 's')
        return text + 1;
    while (isalnum((unsigned char)*text)) {
        int64_t dim;
        if (isalpha((unsigned char)*text)) {
            dim = 1 + mc_rng_below(d->seed, DRAWN_DIMS, (uint64_t)*text++, 5);
            d->drew = true;
        } else {
            char *end;
            dim = strtoll(text, &end, 10);
            text = end;
        }
        assert_true(ret->rank < MC_RANK_MAX);
        ret->dim[ret->rank++] = dim;
        if (*text != 'x')
            break;
        text++;
    }
    return text;
}

static void alloc_array(struct mc_array *a, enum mc_dtype dtype, const struct mc_shape *shape)
{
    *a = (struct mc_array){.dtype = dtype, .shape = *shape};
    assert_true(mc_dtype_bytes(dtype, mc_shape_count(shape), &a->bytes));
    a->data = mc_alloc_aligned(a->bytes);
    assert_non_null(a->data);
}

static enum mc_dtype dtype_of(char letter)
{
    switch (letter) {
    case 'i': return MC_DTYPE_I64;
    case 'l': return MC_DTYPE_I32;
    case 'j': return MC_DTYPE_I8;
    case 'u': return MC_DTYPE_U8;
    case 'b': return MC_DTYPE_BOOL;
    default: return letter == 'f' ? MC_DTYPE_F32 : MC_DTYPE_NONE;
    }
}

/* "1,2,3" behind i: or i[2x2]: */
static void parse_values(struct case_data *d, struct case_input *in, const char *word, bool scalar)
{
    double v[256];
    int n = 0;
    const char *text = word + 1;
    if (*text == '[') {
        text = parse_dims(d, text + 1, &in->shape);
        assert_true(*text == ']');
        text++;
    }
    assert_true(*text == ':');
    for (text++; *text; n++) {
        char *end;
        assert_true(n < 256);
        v[n] = strtod(text, &end);
        assert_true(end > text);
        text = end + (*end == ',');
    }
    if (word[1] != '[')
        in->shape = scalar ? mc_shape_of(0, NULL) : mc_shape_of(1, (int64_t[]){n});
    assert_int_equal(mc_shape_count(&in->shape), n);
    alloc_array(&in->f32, in->dtype, &in->shape);
    assert_int_equal(mc_dtype_from_f64((int)in->dtype, v, in->f32.data, (size_t)n, NULL), 0);
}

/* "-2..2", "0.5..1.5" */
static void parse_range(const char *text, double *low, double *high)
{
    const char *dots = strstr(text, "..");
    assert_non_null(dots);
    char first[32];
    snprintf(first, sizeof first, "%.*s", (int)(dots - text), text);
    *low = strtod(first, NULL);
    *high = strtod(dots + 2, NULL);
    assert_true(*low < *high);
}

static void parse_input(struct case_data *d, struct case_input *in, const char *word)
{
    bool runtime = false, scalar = false;
    char text[WORD];
    *in = (struct case_input){.low = -1, .high = 1};
    if (!strcmp(word, "-")) {
        in->absent = true;
        return;
    }
    if (*word == '#') {
        snprintf(text, sizeof text, "@f:%s", word + 1);
        word = text;
    }
    if (!strncmp(word, "r:", 2)) {
        runtime = true;
        word += 2;
    }
    if (*word == '@') {
        scalar = true;
        word++;
    }
    in->dtype = word[1] == ':' || word[1] == '[' ? dtype_of(*word) : MC_DTYPE_NONE;
    if (in->dtype) {
        in->constant = !runtime;
        parse_values(d, in, word, scalar);
        return;
    }
    in->dtype = MC_DTYPE_F32;
    in->random = in->checked = true;
    const char *colon = strchr(word, ':');
    for (; colon && word < colon; word++) {
        assert_true(*word == 'c' || *word == 'n');
        if (*word == 'c')
            in->constant = true;
        else
            in->checked = false;
    }
    word += colon != NULL;
    if (*word == '+') {
        in->low = 0.5;
        in->high = 2;
        word++;
    }
    word = parse_dims(d, word, &in->shape);
    if (*word == '~')
        parse_range(word + 1, &in->low, &in->high);
    else
        assert_true(*word == 0);
    alloc_array(&in->f32, MC_DTYPE_F32, &in->shape);
}

/* Contents of all inputs of the same range: points of one grid, moved a little, in random order. */
static void draw_range(struct case_data *d, double low, double high, uint64_t stream)
{
    int64_t n = 0, at = 0;
    for (int i = 0; i < d->n_in; i++)
        if (d->in[i].random && d->in[i].low == low && d->in[i].high == high)
            n += mc_shape_count(&d->in[i].shape);
    n += n % 2; /* none in the middle, which is 0 */
    double step = (high - low) / (double)n, from = low;
    if (step < 4e-3 && n > 0) { /* a wider range for many */
        from -= low < 0 ? (4e-3 - step) * (double)n / 2 : 0;
        step = 4e-3;
    }
    int64_t *order = malloc((size_t)n * sizeof *order + 1);
    assert_non_null(order);
    mc_rng_permute(d->seed, stream, order, n);
    for (int i = 0; i < d->n_in; i++) {
        struct case_input *in = &d->in[i];
        if (!in->random || in->low != low || in->high != high)
            continue;
        for (int64_t k = 0; k < mc_shape_count(&in->shape); k++, at++) {
            double u = (double)mc_rng_uniform(d->seed, stream + 1, (uint64_t)at);
            ((float *)in->f32.data)[k] = (float)(from + step * ((double)order[at] + 0.3 + 0.4 * u));
        }
    }
    free(order);
}

static void to_f64(struct case_input *in)
{
    if (in->dtype != MC_DTYPE_F32 || in->absent) {
        in->f64 = in->f32;
        return;
    }
    alloc_array(&in->f64, MC_DTYPE_F64, &in->shape);
    for (int64_t k = 0; k < mc_shape_count(&in->shape); k++)
        ((double *)in->f64.data)[k] = (double)((float *)in->f32.data)[k];
}

void case_parse(const struct grad_case *c, uint64_t seed, struct case_data *ret)
{
    char text[WORD], *save = NULL;
    *ret = (struct case_data){.c = c, .seed = seed};
    assert_true(strlen(c->inputs) < sizeof text);
    strcpy(text, c->inputs);
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        assert_true(ret->n_in < CASE_INPUTS);
        parse_input(ret, &ret->in[ret->n_in++], w);
    }
    for (int i = 0; i < ret->n_in; i++) {
        bool first = ret->in[i].random;
        for (int j = 0; j < i && first; j++)
            first = !ret->in[j].random || ret->in[j].low != ret->in[i].low ||
                    ret->in[j].high != ret->in[i].high;
        if (first)
            draw_range(ret, ret->in[i].low, ret->in[i].high, 200 + 2 * (uint64_t)i);
    }
    for (int i = 0; i < ret->n_in; i++)
        to_f64(&ret->in[i]);
}

void case_free(struct case_data *d)
{
    for (int i = 0; i < d->n_in; i++) {
        if (d->in[i].f64.data != d->in[i].f32.data)
            free(d->in[i].f64.data);
        free(d->in[i].f32.data);
    }
}

/* ---- the graph ---- */

static int count_items(const char *text)
{
    int n = 0;
    for (const char *p = text; *p; n++) {
        p += strcspn(p, ",");
        p += *p == ',';
    }
    return n;
}

static void strings_attr(struct mc_node *n, const char *name, char *value)
{
    struct mc_attr *a = mc_edit_attr_new(n, name, MC_ATTR_STRINGS);
    struct mc_arena *mem = &n->graph->model->arena;
    assert_non_null(a);
    a->strings = mc_arena_array(mem, (size_t)count_items(value), sizeof *a->strings);
    assert_non_null(a->strings);
    char *save = NULL;
    for (char *w = strtok_r(value, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        a->strings[a->n].data = (uint8_t *)mc_arena_strdup(mem, w);
        assert_non_null(a->strings[a->n].data);
        a->strings[a->n++].size = strlen(w);
    }
}

static void numbers_attr(struct mc_node *n, const char *name, const char *value, bool floats)
{
    int64_t v[64];
    float f[64];
    size_t count = 0;
    for (const char *p = value; *p; count++) {
        char *end;
        assert_true(count < 64);
        f[count] = strtof(p, &end);
        v[count] = strtoll(p, NULL, 10);
        assert_true(end > p);
        p = end + (*end == 'f');
        p += *p == ',';
    }
    if (!floats && strchr(value, ',')) {
        assert_int_equal(mc_edit_attr_ints(n, name, v, count, NULL), 0);
    } else if (!floats) {
        assert_int_equal(mc_edit_attr_int(n, name, v[0], NULL), 0);
    } else if (!strchr(value, ',')) {
        assert_int_equal(mc_edit_attr_float(n, name, f[0], NULL), 0);
    } else {
        struct mc_attr *a = mc_edit_attr_new(n, name, MC_ATTR_FLOATS);
        assert_non_null(a);
        a->floats = mc_arena_memdup(&n->graph->model->arena, f, count * sizeof *f);
        assert_non_null(a->floats);
        a->n = count;
    }
}

static void add_attrs(struct mc_node *n, const char *attrs)
{
    char text[WORD], *save = NULL;
    assert_true(strlen(attrs) < sizeof text);
    strcpy(text, attrs);
    for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        char *value = strchr(w, '=');
        assert_non_null(value);
        *value++ = 0;
        assert_true(*value != 0);
        bool text_only = !strcmp(w, "equation");
        if (!text_only && (isdigit((unsigned char)*value) || strchr("-+.", *value)))
            numbers_attr(n, w, value, strpbrk(value, "f.") != NULL);
        else if (!text_only && strchr(value, ','))
            strings_attr(n, w, value);
        else
            assert_int_equal(mc_edit_attr_string(n, w, value, NULL), 0);
    }
}

static struct mc_value *add_input(struct mc_graph *g, const struct case_data *d, int i, bool fed,
                                  bool symbol)
{
    const struct case_input *in = &d->in[i];
    char name[16];
    int64_t dim[MC_RANK_MAX];
    if (in->absent)
        return NULL;
    snprintf(name, sizeof name, "in%d", i);
    memcpy(dim, in->shape.dim, sizeof dim);
    if (in->constant && !(fed && in->checked))
        return build_const(g, name, in->dtype, in->shape.rank, dim, in->f32.data);
    if (symbol && i == 0 && in->shape.rank > 0)
        dim[0] = -2;
    return build_input(g, name, in->dtype, in->shape.rank, dim);
}

void case_build(const struct case_data *d, bool fed, bool symbol, struct case_graph *ret)
{
    const struct grad_case *c = d->c;
    char domain[64] = "";
    const char *colon = strrchr(c->op, ':'), *op = colon ? colon + 1 : c->op;
    struct mc_err err;
    int n_out = c->n_out ? c->n_out : 1;
    if (colon) {
        assert_true((size_t)(colon - c->op) < sizeof domain);
        memcpy(domain, c->op, (size_t)(colon - c->op));
    }
    *ret = (struct case_graph){.m = build_model(domain[0] ? 20 : c->version)};
    struct mc_graph *g = ret->m->graph;
    if (domain[0])
        build_ok(mc_edit_opset(ret->m, domain, c->version, &err), &err);
    for (int i = 0; i < d->n_in; i++)
        ret->in[i] = add_input(g, d, i, fed, symbol);
    assert_true(n_out <= CASE_OUTPUTS);
    for (int i = 0; i < n_out; i++)
        ret->out[i] = c->absent >> i & 1 ? NULL : mc_edit_fresh(g, "out");
    build_ok(mc_edit_node(g, 0, op, domain, c->version, "node", ret->in, (size_t)d->n_in, ret->out,
                          (size_t)n_out, &ret->node, &err),
             &err);
    add_attrs(ret->node, c->attrs ? c->attrs : "");
    for (int i = 0; i < n_out; i++)
        if (ret->out[i])
            build_output(g, ret->out[i]);
}
