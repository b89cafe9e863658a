#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/quant/form/quant_cell.h"

enum kind { LSTM, GRU, RNN };
enum { MAX_DIRS = 2 };

struct cell {
    struct mc_quant_builder *b;
    size_t site;
    enum kind kind;
    int64_t dirs, gates, hidden;
    bool reverse[MAX_DIRS];
    bool reset_after; /* a GRU with linear_before_reset: one product a step */
    bool is_signed;
    enum mc_dtype dtype;
    struct mc_value *x[3];     /* integers, scale, zero point */
    struct mc_value *steps;    /* what has the shape of X */
    struct mc_value *state[2]; /* initial h, c; NULL: zeros */
    struct mc_value *out[3];   /* Y, Y_h, Y_c; NULL: not wanted */
    float *bias;               /* [dirs, 2, gates * hidden], or NULL */
    struct mc_quant_emit *e;
};

static void fail(struct mc_quant_emit *e, int rc)
{
    e->rc = e->rc ? e->rc : rc;
}

static void no_memory(struct mc_quant_emit *e)
{
    fail(e, mc_fail(e->err, MC_ENOMEM, "out of memory while changing a graph"));
}

/* ---- constants ---- */

static struct mc_value *floats(struct mc_quant_emit *e, const char *hint, const float *v, int64_t n)
{
    struct mc_shape shape = mc_shape_of(1, &n);
    struct mc_tensor *t = NULL;
    if (!e->rc)
        e->rc = mc_constant_make(v, &shape, MC_DTYPE_F32, NULL, &t, e->err);
    return mc_quant_emit_tensor(e, hint, t);
}

/* Rows of W (k 0) or R (1) of a direction, ready for a product. */
static struct mc_quant_matrix matrix(const struct cell *c, struct mc_quant_emit *e, int k,
                                     int64_t dir, int64_t row, int64_t rows)
{
    struct mc_quant_builder *b = c->b;
    const struct mc_quant_placed_weight *w = &b->b->at[c->site].w[k];
    const struct mc_tensor *q = mc_constant(w->q);
    struct mc_quant_cell_part part = {dir, 1, row, rows};
    struct mc_quant_matrix m = {NULL, NULL, NULL, c->is_signed};
    struct mc_tensor *t = NULL;
    if (!e->rc)
        e->rc = mc_quant_cell_turn(b, c->site, k, &part, 2, &t, e->err);
    m.q = mc_quant_emit_tensor(e, "q", e->rc ? NULL : t);
    if (!e->rc)
        e->rc = mc_quant_cell_rows(w->scale, q, &part, 1, &t, e->err);
    m.scale = mc_quant_emit_tensor(e, "s", e->rc ? NULL : t);
    if (!w->zero)
        return m;
    if (!e->rc)
        e->rc = mc_quant_cell_rows(w->zero, q, &part, 1, &t, e->err);
    m.zero = mc_quant_emit_tensor(e, "z", e->rc ? NULL : t);
    return m;
}

/* The part of the biases that is added to the product with W; a GRU that resets after its product keeps one inside. */
static struct mc_value *outer_bias(const struct cell *c, int64_t dir)
{
    int64_t n = c->gates * c->hidden;
    float *sum = c->bias && !c->e->rc ? malloc((size_t)n * sizeof *sum) : NULL;
    if (!sum) {
        if (c->bias)
            no_memory(c->e);
        return NULL;
    }
    const float *w = c->bias + dir * 2 * n, *r = w + n;
    for (int64_t i = 0; i < n; i++)
        sum[i] = w[i] + (c->reset_after && i >= 2 * c->hidden ? 0 : r[i]);
    struct mc_value *v = floats(c->e, "b", sum, n);
    free(sum);
    return v;
}

/* ---- one step ---- */

/* x [batch, sum of sizes] in n pieces along axis 1. */
static void split(struct mc_quant_emit *e, struct mc_value *x, int n, const int64_t *sizes,
                  struct mc_value **ret)
{
    struct mc_value *in[] = {x, mc_quant_emit_ints(e, "split", n, sizes)};
    struct mc_node *s = mc_quant_emit_node(e, "Split", "g", in, 2, (size_t)n);
    if (s)
        e->rc = mc_edit_attr_int(s, "axis", 1, e->err);
    for (int i = 0; i < n; i++)
        ret[i] = s ? s->out[i] : NULL;
}

static struct mc_value *product(const struct cell *c, struct mc_quant_emit *e, struct mc_value *h,
                                int64_t dir, int64_t row, int64_t rows)
{
    struct mc_node *n = mc_quant_emit_node(e, "DynamicQuantizeLinear", "hq", &h, 1, 3);
    struct mc_value *const none[3] = {NULL};
    struct mc_quant_matrix w = matrix(c, e, 1, dir, row, rows);
    return mc_quant_emit_product(e, n ? n->out : none, &w, NULL);
}

/* i, o, f, c in this order; returns h, and the cells in *ret_c. */
static struct mc_value *lstm_step(const struct cell *c, struct mc_quant_emit *e, int64_t dir,
                                  struct mc_value *x, struct mc_value *h, struct mc_value *cells,
                                  struct mc_value **ret_c)
{
    int64_t m = c->hidden;
    struct mc_value *part[2], *gate[3];
    struct mc_value *sum = mc_quant_emit(e, "Add", "g", x, product(c, e, h, dir, 0, 4 * m));
    split(e, sum, 2, (const int64_t[]){3 * m, m}, part);
    split(e, mc_quant_emit(e, "Sigmoid", "g", part[0]), 3, (const int64_t[]){m, m, m}, gate);
    struct mc_value *kept = mc_quant_emit(e, "Mul", "c", gate[2], cells);
    struct mc_value *fresh = mc_quant_emit(e, "Tanh", "c", part[1]);
    fresh = mc_quant_emit(e, "Mul", "c", gate[0], fresh);
    *ret_c = mc_quant_emit(e, "Add", "c", kept, fresh);
    return mc_quant_emit(e, "Mul", "h", gate[1], mc_quant_emit(e, "Tanh", "h", *ret_c));
}

/* z, r, h in this order. */
static struct mc_value *gru_step(const struct cell *c, struct mc_quant_emit *e, int64_t dir,
                                 struct mc_value *x, struct mc_value *h)
{
    int64_t m = c->hidden;
    struct mc_value *of_x[2], *of_h[2], *gate[2], *candidate;
    split(e, x, 2, (const int64_t[]){2 * m, m}, of_x);
    if (c->reset_after)
        split(e, product(c, e, h, dir, 0, 3 * m), 2, (const int64_t[]){2 * m, m}, of_h);
    else
        of_h[0] = product(c, e, h, dir, 0, 2 * m);
    struct mc_value *sum = mc_quant_emit(e, "Add", "g", of_x[0], of_h[0]);
    split(e, mc_quant_emit(e, "Sigmoid", "g", sum), 2, (const int64_t[]){m, m}, gate);
    if (c->reset_after) {
        candidate = of_h[1];
        if (c->bias) {
            const float *r = c->bias + (dir * 2 + 1) * 3 * m + 2 * m;
            candidate = mc_quant_emit(e, "Add", "n", candidate, floats(e, "b", r, m));
        }
        candidate = mc_quant_emit(e, "Mul", "n", gate[1], candidate);
    } else {
        candidate = mc_quant_emit(e, "Mul", "n", gate[1], h);
        candidate = product(c, e, candidate, dir, 2 * m, m);
    }
    candidate = mc_quant_emit(e, "Tanh", "n", mc_quant_emit(e, "Add", "n", of_x[1], candidate));
    struct mc_value *step = mc_quant_emit(e, "Sub", "n", h, candidate);
    step = mc_quant_emit(e, "Mul", "n", gate[0], step);
    return mc_quant_emit(e, "Add", "h", candidate, step);
}

static struct mc_value *rnn_step(const struct cell *c, struct mc_quant_emit *e, int64_t dir,
                                 struct mc_value *x, struct mc_value *h)
{
    struct mc_value *sum = mc_quant_emit(e, "Add", "g", x, product(c, e, h, dir, 0, c->hidden));
    return mc_quant_emit(e, "Tanh", "h", sum);
}

/* ---- Scan ---- */

static struct mc_value *body_input(struct mc_quant_emit *e, const char *hint, int64_t n)
{
    struct mc_dim dims[] = {{-1, NULL}, {n, NULL}};
    struct mc_value *v = e->rc ? NULL : mc_edit_fresh(e->g, hint);
    if (!e->rc && (!v || !mc_edit_type(v, MC_DTYPE_F32, 2, dims)))
        no_memory(e);
    if (!e->rc)
        e->rc = mc_edit_input(e->g, v, e->err);
    return v;
}

static void body_output(struct mc_quant_emit *e, struct mc_value *v, int64_t n)
{
    struct mc_dim dims[] = {{-1, NULL}, {n, NULL}};
    if (!e->rc && !mc_edit_type(v, MC_DTYPE_F32, 2, dims))
        no_memory(e);
    if (!e->rc)
        e->rc = mc_edit_output(e->g, v, e->err);
}

/* The body of a direction's Scan: state, then the step's row of the product with W, to state and its copy. */
static void put_body(const struct cell *c, struct mc_node *scan, int64_t dir)
{
    struct mc_quant_emit body = {.rc = c->e->rc, .err = c->e->err}, *e = &body;
    struct mc_value *h, *cells = NULL, *next = NULL, *next_c = NULL, *x;
    if (!e->rc && !(e->g = mc_edit_graph(c->b->b->m, scan->graph, scan, "step")))
        no_memory(e);
    h = body_input(e, "h", c->hidden);
    if (c->kind == LSTM)
        cells = body_input(e, "c", c->hidden);
    x = body_input(e, "x", c->gates * c->hidden);
    if (c->kind == LSTM)
        next = lstm_step(c, e, dir, x, h, cells, &next_c);
    else
        next = c->kind == GRU ? gru_step(c, e, dir, x, h) : rnn_step(c, e, dir, x, h);
    struct mc_value *copy = mc_quant_emit(e, "Identity", "y", next);
    body_output(e, next, c->hidden);
    if (c->kind == LSTM)
        body_output(e, next_c, c->hidden);
    body_output(e, copy, c->hidden);
    if (!e->rc)
        e->rc = mc_edit_attr_graph(scan, "body", e->g, e->err);
    fail(c->e, e->rc);
}

/* Outputs of *ret: states at the end, then [steps, batch, hidden]. */
static struct mc_node *put_scan(const struct cell *c, int64_t dir, struct mc_value *const *state,
                                struct mc_value *x)
{
    struct mc_quant_emit *e = c->e;
    size_t n = c->kind == LSTM ? 3 : 2;
    struct mc_value *in[3] = {state[0], n == 3 ? state[1] : x, x};
    int64_t back = c->reverse[dir];
    struct mc_node *scan = mc_quant_emit_node(e, "Scan", "y", in, n, n);
    if (scan)
        e->rc = mc_edit_attr_int(scan, "num_scan_inputs", 1, e->err);
    if (!e->rc && back)
        e->rc = mc_edit_attr_ints(scan, "scan_input_directions", &back, 1, e->err);
    if (!e->rc && back)
        e->rc = mc_edit_attr_ints(scan, "scan_output_directions", &back, 1, e->err);
    put_body(c, scan, dir);
    return scan;
}

/* ---- all directions ---- */

static struct mc_value *on_axis(struct mc_quant_emit *e, const char *op, const char *hint,
                                struct mc_value *y, struct mc_value *const *in, size_t n,
                                int64_t axis)
{
    y = mc_quant_emit_list(e, op, hint, y, in, n);
    if (y)
        e->rc = mc_edit_attr_int(y->producer, "axis", axis, e->err);
    return y;
}

/* [batch, hidden] of zeros. */
static struct mc_value *zeros(const struct cell *c)
{
    struct mc_quant_emit *e = c->e;
    struct mc_value *shape = mc_quant_emit(e, "Shape", "d", c->steps);
    struct mc_value *one = mc_quant_emit_ints(e, "one", 1, (const int64_t[]){1});
    struct mc_value *pair[2] = {
        on_axis(e, "Gather", "d", NULL, (struct mc_value *[]){shape, one}, 2, 0),
        mc_quant_emit_ints(e, "hidden", 1, &c->hidden)};
    struct mc_value *dims = on_axis(e, "Concat", "d", NULL, pair, 2, 0);
    return mc_quant_emit(e, "ConstantOfShape", "h", dims);
}

/* Direction `dir` of an initial state [dirs, batch, hidden]. */
static struct mc_value *initial(const struct cell *c, struct mc_value *state, int64_t dir)
{
    struct mc_quant_emit *e = c->e;
    struct mc_shape scalar = {0};
    struct mc_tensor *t = NULL;
    void *data;
    if (c->dtype != MC_DTYPE_F32)
        state = mc_quant_emit_cast(e, "h", NULL, state, MC_DTYPE_F32);
    if (!e->rc && !(e->rc = mc_tensor_new(MC_DTYPE_I64, &scalar, NULL, &t, &data, e->err)))
        memcpy(data, &dir, sizeof dir);
    struct mc_value *in[] = {state, mc_quant_emit_tensor(e, "dir", t)};
    return on_axis(e, "Gather", "h", NULL, in, 2, 0);
}

/* part [dirs] with a new axis, one behind the other along it, into y. */
static void join(const struct cell *c, struct mc_value **part, int64_t axis, struct mc_value *y)
{
    struct mc_quant_emit *e = c->e;
    bool half = c->dtype != MC_DTYPE_F32, last = c->dirs == 1 && !half;
    struct mc_value *axes = mc_quant_emit_ints(e, "axes", 1, &axis);
    for (int64_t d = 0; d < c->dirs; d++) {
        struct mc_value *in[] = {part[d], axes};
        struct mc_node *n = NULL;
        if (last)
            mc_quant_emit_list(e, "Unsqueeze", NULL, y, in, 2);
        else
            n = mc_quant_emit_node(e, "Unsqueeze", "y", in, 2, 1);
        part[d] = n ? n->out[0] : NULL;
    }
    if (c->dirs > 1)
        part[0] = on_axis(e, "Concat", "y", half ? NULL : y, part, (size_t)c->dirs, axis);
    if (half)
        mc_quant_emit_cast(e, NULL, y, part[0], c->dtype);
}

static void write_out(const struct cell *c)
{
    struct mc_value *part[3][MAX_DIRS] = {{NULL}}, *none = NULL;
    size_t n = c->kind == LSTM ? 2 : 1;
    for (size_t i = 0; i < n; i++)
        if (!c->state[i])
            none = none ? none : zeros(c);
    for (int64_t d = 0; d < c->dirs; d++) {
        struct mc_value *state[2] = {NULL, NULL};
        struct mc_quant_matrix w = matrix(c, c->e, 0, d, 0, c->gates * c->hidden);
        struct mc_value *x = mc_quant_emit_product(c->e, c->x, &w, NULL);
        struct mc_value *bias = outer_bias(c, d);
        if (bias)
            x = mc_quant_emit(c->e, "Add", "m", x, bias);
        for (size_t i = 0; i < n; i++)
            state[i] = c->state[i] ? initial(c, c->state[i], d) : none;
        struct mc_node *scan = put_scan(c, d, state, x);
        for (size_t i = 0; scan && i <= n; i++)
            part[i == n ? 0 : i + 1][d] = scan->out[i];
    }
    for (size_t i = 0; i <= n; i++)
        if (c->out[i])
            join(c, part[i], i == 0, c->out[i]);
}

static void read_node(struct cell *c, const struct mc_node *n)
{
    const char *how = mc_node_string(n, "direction", "forward");
    const struct mc_tensor *r = mc_constant(n->in[2]);
    c->kind = mc_node_is(n, "LSTM") ? LSTM : mc_node_is(n, "GRU") ? GRU : RNN;
    c->gates = c->kind == LSTM ? 4 : c->kind == GRU ? 3 : 1;
    c->dirs = r->shape.dim[0];
    c->hidden = r->shape.dim[2];
    c->reverse[0] = !strcmp(how, "reverse");
    c->reverse[1] = true;
    c->reset_after = c->kind == GRU && mc_node_int(n, "linear_before_reset", 0);
    c->steps = n->in[0];
    for (size_t i = 0; i < 2 && 5 + i < n->n_in; i++)
        c->state[i] = n->in[5 + i];
    for (size_t i = 0; i < 3 && i < n->n_out; i++)
        c->out[i] = n->out[i];
}

int mc_quant_cell_scan(struct mc_quant_builder *b, size_t site, struct mc_err *err)
{
    struct mc_node *n = b->node[site];
    struct cell c = {.b = b, .site = site, .dtype = b->sites->item[site].dtype};
    int64_t count;
    c.is_signed = mc_constant(b->b->at[site].w[0].q)->dtype == MC_DTYPE_I8;
    read_node(&c, n);
    int rc = n->n_in > 3 && n->in[3] ? mc_constant_f32(n->in[3], &c.bias, &count, err) : 0;
    rc = rc ? rc : mc_quant_put_dynamic(n, n->in[0], c.dtype, c.x, err);
    if (rc) {
        free(c.bias);
        return rc;
    }
    struct mc_quant_emit e = {n->graph, n->pos, 0, err};
    c.e = &e;
    mc_edit_remove_node(n);
    write_out(&c);
    free(c.bias);
    return e.rc;
}
