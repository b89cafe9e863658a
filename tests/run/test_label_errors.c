/* Greedy decoding and edit distance against their definitions; outputs whose batch is not their first axis. */
#include "memory_data.h"
#include "run_util.h"

#include "graph/run/label_errors.h"
#include "graph/run/measure.h"

enum { T = 7, C = 4, MOST = 6, N = 5 };

static uint64_t seed = 1;

/* What the scores say, by the definition: repeats merged, then blanks left out. */
static int64_t said(const float *score, int64_t apart, int64_t blank, int64_t *ret)
{
    int64_t path[T], n = 0;
    for (int t = 0; t < T; t++) {
        path[t] = 0;
        for (int c = 1; c < C; c++)
            if (score[t * apart + c] > score[t * apart + path[t]])
                path[t] = c;
    }
    for (int t = 0; t < T; t++)
        if (path[t] != blank && (t == 0 || path[t] != path[t - 1]))
            ret[n++] = path[t];
    return n;
}

/* The cheapest way to make a of b, all ways tried. */
static int64_t distance(const int64_t *a, int64_t n, const int64_t *b, int64_t m)
{
    if (!n || !m)
        return n + m;
    int64_t best = distance(a + 1, n - 1, b + 1, m - 1) + (a[0] != b[0]);
    int64_t left = distance(a + 1, n - 1, b, m) + 1, put = distance(a, n, b + 1, m - 1) + 1;
    best = left < best ? left : best;
    return put < best ? put : best;
}

static int64_t draw_labels(uint64_t stream, int64_t *label)
{
    float x[MOST + 1];
    mc_rng_fill_normal(seed, stream, 0, x, MOST + 1);
    int64_t n = (int64_t)(fabsf(x[MOST]) * 4) % (MOST + 1);
    for (int k = 0; k < MOST; k++)
        label[k] = k < n ? (int64_t)(fabsf(x[k]) * 5) % C : -1;
    return n;
}

static void errors_are_edit_distances(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 300; i++) {
        float score[T * C];
        double wide[T * C];
        int64_t label[MOST], row[MOST + 1], spoken[T], got_n;
        int64_t n = draw_labels(1000 + i, label), blank = (int64_t)(i % C);
        mc_rng_fill_normal(seed, i, 0, score, T * C);
        for (int k = 0; k < T * C; k++)
            wide[k] = (double)score[k];
        int64_t want = distance(spoken, said(score, C, blank, spoken), label, n);
        int64_t got = mc_label_errors(wide, T, C, blank, label, MOST, row, &got_n);
        if (got != want || got_n != n)
            fail_msg("case %d: %d errors of %d, not %d of %d", (int)i, (int)got, (int)got_n,
                     (int)want, (int)n);
    }
}

/* x [batch,T,C] -> y, which is x or its first two axes in the other order. */
static struct mc_model *model_of(bool steps_first)
{
    struct mc_model *m = build_model(17);
    struct mc_value *v = build_input(m->graph, "x", MC_DTYPE_F32, 3, DIMS(-2, T, C));
    struct mc_node *n;
    struct mc_err err;
    if (steps_first) {
        v = build_node(m->graph, "Transpose", "y", 1, &v, &n);
        build_ok(mc_edit_attr_ints(n, "perm", (const int64_t[]){1, 0, 2}, 3, &err), &err);
    } else {
        v = build_unary(m->graph, "Identity", "y", v);
    }
    build_output(m->graph, v);
    return m;
}

static void either_order_is_measured(void **state)
{
    (void)state;
    float x[N * T * C];
    int64_t labels[N * MOST], all = 0, errors = 0;
    mc_rng_fill_normal(seed, 7, 0, x, N * T * C);
    for (int i = 0; i < N; i++) {
        int64_t spoken[T], n = draw_labels(20 + (uint64_t)i, labels + i * MOST);
        errors +=
            distance(spoken, said(x + i * T * C, C, 1, spoken), labels + (ptrdiff_t)i * MOST, n);
        all += n;
    }
    for (int first = 0; first < 2; first++) {
        struct memory_data data;
        struct mc_dataset *d = memory_open(&data, "x", N, 2, DIMS(T, C), x, labels);
        d->has_labels = false;
        d->sequence = MOST;
        struct mc_model *m = model_of(first), *same = model_of(first);
        struct mc_measure_opts o = {.blank = 1, .run = {.count = -1}};
        struct mc_measure r;
        struct mc_err err;
        build_ok(mc_measure(m->graph, same->graph, d, &o, &r, &err), &err);
        assert_true(r.model.sequences && r.reference.sequences && !r.model.labelled);
        assert_true(all > 0 && r.model.label_error_rate == (double)errors / (double)all);
        assert_true(r.reference.label_error_rate == r.model.label_error_rate);
        assert_int_equal(r.model.samples, N);
        assert_true(r.agreement.top1 < 0 && r.agreement.cosine == 1);
        mc_model_free(m);
        mc_model_free(same);
    }
}

int main(void)
{
    const char *s = getenv("MCOMPRESS_SEED");
    seed = s ? strtoull(s, NULL, 0) : 1;
    print_message("seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {cmocka_unit_test(errors_are_edit_distances),
                                       cmocka_unit_test(either_order_is_measured)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
