/* Values of a model and of what it was, from the samples and from what earlier runs kept. */
#include "svd_util.h"

#include "passes/couple/coupling.h"
#include "passes/prune/prune_repair_parts.h"

static struct mc_err err;

enum { IN = 4, MID = 6, SIZE = 5, COUNT = 40, GIVEN = 24, LAYERS = 5, NAME = 16 };

static struct mc_value *conv(struct mc_graph *g, int i, struct mc_value *x, int64_t c)
{
    char w[NAME], name[NAME];
    struct mc_node *n;
    snprintf(w, sizeof w, "w%d", i);
    snprintf(name, sizeof name, "conv%d", i);
    struct mc_value *in[] = {x, random_const(g, w, 4, DIMS(MID, c, 3, 3), (uint64_t)(i + 1))};
    struct mc_value *y = build_node(g, "Conv", name, 2, in, &n);
    build_ok(mc_edit_attr_ints(n, "pads", DIMS(1, 1, 1, 1), 4, &err), &err);
    return y;
}

/* Convolutions in a row, the results of every other one added up; the last is reshaped by its own shape. */
static struct mc_model *network(void)
{
    struct mc_model *m = build_model(17);
    struct mc_graph *g = m->graph;
    struct mc_value *x = build_input(g, "x", MC_DTYPE_F32, 4, DIMS(-1, IN, SIZE, SIZE));
    struct mc_value *shape = build_unary(g, "Shape", "shape", x), *sum = NULL;
    for (int i = 0; i < LAYERS; i++) {
        x = conv(g, i, x, i ? MID : IN);
        if (i % 2 == 0)
            x = sum = sum ? build_binary(g, "Add", i == 2 ? "add2" : "add4", sum, x) : x;
        x = build_unary(g, "Relu",
                        i == 0   ? "relu0"
                        : i == 1 ? "relu1"
                        : i == 2 ? "relu2"
                        : i == 3 ? "relu3"
                                 : "relu4",
                        x);
    }
    struct mc_node *n;
    int64_t first[] = {0}, last[] = {-1};
    struct mc_value *take[] = {shape, build_const(g, "first", MC_DTYPE_I64, 1, DIMS(1), first)};
    struct mc_value *parts[] = {build_node(g, "Gather", "batch", 2, take, &n),
                                build_const(g, "last", MC_DTYPE_I64, 1, DIMS(1), last)};
    struct mc_value *to = build_node(g, "Concat", "to", 2, parts, &n);
    build_ok(mc_edit_attr_int(n, "axis", 0, &err), &err);
    build_output(g, build_binary(g, "Reshape", "flat", x, to));
    return m;
}

struct seen {
    float *x;
    int64_t n, room, samples;
};

static int see(void *ctx, const struct mc_array *const *values, int64_t first,
               const struct mc_batch *b, struct mc_err *e)
{
    struct seen *s = ctx;
    (void)e;
    assert_int_equal(first, b->index[0]);
    assert_int_equal(first, s->samples);
    s->samples += b->n;
    for (int i = 0; i < 3; i++) {
        int64_t count = mc_shape_count(&values[i]->shape);
        if (s->n + count > s->room) {
            s->room = 2 * (s->n + count);
            s->x = realloc(s->x, (size_t)s->room * sizeof *s->x);
            assert_non_null(s->x);
        }
        memcpy(s->x + s->n, values[i]->data, (size_t)count * sizeof *s->x);
        s->n += count;
    }
    return 0;
}

static struct seen look(struct mc_repair *r, int layer, int64_t count)
{
    struct seen s = {0};
    char name[NAME];
    snprintf(name, sizeof name, "w%d", layer);
    const struct mc_node *n = mc_graph_value(r->m->graph, name)->uses[0].node;
    const char *const have[] = {n->in[0]->name, n->out[0]->name};
    struct mc_repair_ask ask = {have, have + 1, 2, 1, n, count};
    build_ok(mc_repair_observe(r, &ask, see, &s, &err), &err);
    assert_int_equal(s.samples, count);
    return s;
}

static void later_runs_begin_where_earlier_ones_were(void **state)
{
    (void)state;
    float *x = gaussian(3, (int64_t)COUNT * IN * SIZE * SIZE);
    struct memory_data d;
    struct mc_pass_ctx ctx = svd_ctx(memory_open(&d, "x", COUNT, 3, DIMS(IN, SIZE, SIZE), x, NULL));
    struct mc_model *before = network(), *m;
    struct mc_coupling *c;
    build_ok(mc_model_clone(before, &m, &err), &err);
    build_ok(mc_coupling_find(before, &c, &err), &err);
    struct mc_repair kept = {.ctx = &ctx,
                             .before = before,
                             .c = c,
                             .m = m,
                             .data = &d.d,
                             .samples = COUNT,
                             .given = GIVEN,
                             .store_most = 1e9},
                     anew = kept;
    for (int i = 0; i < LAYERS; i++) {
        int64_t reads = d.reads;
        struct seen few = look(&kept, i, GIVEN);
        struct seen is = look(&kept, i, COUNT);
        assert_int_equal(d.reads > reads, i == 0);
        assert_non_null(kept.store);
        struct seen should = look(&anew, i, COUNT);
        mc_repair_forget(&anew);
        assert_true(d.reads > reads);
        assert_int_equal(is.n, should.n);
        assert_true(relative(should.x, is.x, is.n) <= 1e-12);
        assert_memory_equal(few.x, is.x, (size_t)few.n * sizeof *is.x);
        free(few.x);
        free(is.x);
        free(should.x);
        /* a fit: what is behind it changes, in this model alone */
        char name[NAME];
        snprintf(name, sizeof name, "w%d", i);
        struct mc_value *w = mc_graph_value(m->graph, name);
        struct mc_tensor *t;
        float *v = gaussian((uint64_t)(50 + i), mc_tensor_count(mc_constant(w)));
        build_ok(mc_constant_make(v, &mc_constant(w)->shape, MC_DTYPE_F32, NULL, &t, &err), &err);
        build_ok(mc_constant_replace(w, t, &err), &err);
        mc_tensor_unref(t);
        free(v);
    }
    mc_repair_forget(&kept);
    mc_coupling_free(c);
    mc_model_free(before);
    mc_model_free(m);
    free(x);
}

/* Room for some mixed samples: the next run has as many. For fewer than were given: they run again. */
static void where_room_is_short_samples_are_fewer(void **state)
{
    (void)state;
    const double each = 2 * sizeof(float) * IN * SIZE * SIZE; /* x, for both models */
    float *x = gaussian(3, (int64_t)COUNT * IN * SIZE * SIZE);
    struct mc_model *before = network(), *m;
    struct mc_coupling *c;
    build_ok(mc_model_clone(before, &m, &err), &err);
    build_ok(mc_coupling_find(before, &c, &err), &err);
    for (int less = 0; less < 2; less++) {
        struct memory_data d;
        struct mc_pass_ctx ctx =
            svd_ctx(memory_open(&d, "x", COUNT, 3, DIMS(IN, SIZE, SIZE), x, NULL));
        struct mc_repair r = {.ctx = &ctx,
                              .before = before,
                              .c = c,
                              .m = m,
                              .data = &d.d,
                              .samples = COUNT,
                              .given = GIVEN,
                              .store_most = less ? each * GIVEN / 2 : each * (COUNT - 1)};
        struct seen s = look(&r, 0, COUNT);
        free(s.x);
        assert_null(r.store);
        if (less)
            assert_int_equal(r.samples, GIVEN);
        else
            assert_in_range(r.samples, GIVEN + 1, COUNT - 1);
        s = look(&r, 0, r.samples);
        free(s.x);
        if (less)
            assert_null(r.store);
        else
            assert_non_null(r.store);
        mc_repair_forget(&r);
    }
    mc_coupling_free(c);
    mc_model_free(before);
    mc_model_free(m);
    free(x);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_runs_begin_where_earlier_ones_were),
        cmocka_unit_test(where_room_is_short_samples_are_fewer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
