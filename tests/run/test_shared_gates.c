/* Cells whose gates have one matrix: the one product for all of them gives what the dense products give, which are those of
 * weights that are inputs. */
#include "run_util.h"

enum { STEPS = 4, BATCH = 3, INPUT = 7, HIDDEN = 19 };

struct cell {
    const char *op;
    int gates;
    bool both, resets; /* linear_before_reset */
    bool first;        /* an initial state */
};

/* Multiples of one matrix [dirs, HIDDEN, k], or with `off` not quite. */
static float *weights(const struct cell *c, int64_t k, uint64_t seed, bool off)
{
    int64_t dirs = 1 + c->both, all = dirs * c->gates * HIDDEN * k;
    float *w = malloc((size_t)all * sizeof *w);
    for (int64_t i = 0; i < all; i++) {
        int64_t row = i / k, gate = row / HIDDEN % c->gates, dir = row / HIDDEN / c->gates;
        uint64_t at = (uint64_t)((dir * HIDDEN + row % HIDDEN) * k + i % k);
        float scale = row % 5 == 4 ? 0 : mc_rng_normal(seed, 1, (uint64_t)row);
        w[i] = row % 7 == 6 ? 0 : 0.5F * scale * mc_rng_normal(seed, 2, at);
        if (off && gate == 1 && row % HIDDEN == 2 && i % k == 1)
            w[i] *= 1.0001F;
    }
    return w;
}

static struct mc_value *weight(struct mc_graph *g, const char *name, int64_t rows, int64_t k,
                               int64_t dirs, const float *w, bool constant)
{
    return constant ? f32_const(g, name, 3, DIMS(dirs, rows, k), w)
                    : build_input(g, name, MC_DTYPE_F32, 3, DIMS(dirs, rows, k));
}

/* All outputs, one behind the other; *ret_bytes: packed weights of the session. */
static size_t run_cell(const struct cell *c, const float *w, const float *r, bool constant,
                       float *y)
{
    int64_t dirs = 1 + c->both, rows = c->gates * HIDDEN;
    struct mc_model *m = build_model(17);
    struct mc_err err;
    struct mc_node *n;
    float x[STEPS * BATCH * INPUT], h[2 * BATCH * HIDDEN];
    mc_rng_fill_normal(3, 0, 0, x, STEPS * BATCH * INPUT);
    mc_rng_fill_normal(3, 1, 0, h, 2 * BATCH * HIDDEN);
    struct mc_value *in[6] = {
        build_input(m->graph, "x", MC_DTYPE_F32, 3, DIMS(STEPS, BATCH, INPUT)),
        weight(m->graph, "w", rows, INPUT, dirs, w, constant),
        weight(m->graph, "r", rows, HIDDEN, dirs, r, constant),
        random_const(m->graph, "b", 2, DIMS(dirs, 2 * rows), 4)};
    if (c->first)
        in[5] = f32_const(m->graph, "h", 3, DIMS(dirs, BATCH, HIDDEN), h);
    build_output(m->graph, build_node(m->graph, c->op, "cell", c->first ? 6 : 4, in, &n));
    build_ok(mc_edit_attr_int(n, "hidden_size", HIDDEN, &err), &err);
    if (c->both)
        build_ok(mc_edit_attr_string(n, "direction", "bidirectional", &err), &err);
    if (c->resets)
        build_ok(mc_edit_attr_int(n, "linear_before_reset", 1, &err), &err);
    struct mc_session *s = session_of(m, NULL);
    struct mc_array a[3] = {array_of("x", MC_DTYPE_F32, 3, DIMS(STEPS, BATCH, INPUT), x),
                            array_of("w", MC_DTYPE_F32, 3, DIMS(dirs, rows, INPUT), w),
                            array_of("r", MC_DTYPE_F32, 3, DIMS(dirs, rows, HIDDEN), r)};
    run_ok(s, a, constant ? 1 : 3);
    const struct mc_array *out = mc_session_output(s, 0);
    size_t bytes = out->bytes;
    memcpy(y, out->data, bytes);
    mc_session_free(s);
    mc_model_free(m);
    return bytes / sizeof *y;
}

static void one_product_gives_what_all_give(void **state)
{
    static const struct cell cells[] = {
        {"LSTM", 4, false, false, false}, {"LSTM", 4, true, false, true},
        {"GRU", 3, false, false, false},  {"GRU", 3, true, false, true},
        {"GRU", 3, false, true, false},   {"GRU", 3, true, true, true},
        {"RNN", 1, true, false, true},
    };
    float y[2 * STEPS * BATCH * HIDDEN], z[2 * STEPS * BATCH * HIDDEN];
    (void)state;
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        for (int off = 0; off < 2; off++) {
            float *w = weights(&cells[i], INPUT, 10 + i, off),
                  *r = weights(&cells[i], HIDDEN, 30 + i, off);
            size_t n = run_cell(&cells[i], w, r, true, y);
            assert_int_equal(run_cell(&cells[i], w, r, false, z), n);
            for (size_t k = 0; k < n; k++)
                if (!(fabs((double)y[k] - (double)z[k]) <= 2e-6))
                    fail_msg("%s %zu, %d: element %zu is %g, not %g", cells[i].op, i, off, k,
                             (double)y[k], (double)z[k]);
            free(w);
            free(r);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_product_gives_what_all_give),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
