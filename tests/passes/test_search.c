/* The search over a pass made up here: each layer of a small network can do with fewer of its inputs. All combinations
 * are few enough to be measured one by one. */
#include "svd_util.h"

#include "base/io.h"
#include "passes/search/search.h"
#include "passes/search/search_measure.h"

enum { LAYERS = 4, WIDTH = 16, CLASSES = 8, OPTIONS = 5, COMBINATIONS = 625, ROWS = 300 };

static struct mc_err err;
static const size_t rows_of[OPTIONS] = {16, 13, 10, 7, 4};
static const char *const labels[OPTIONS] = {"as it is", "13 inputs", "10 inputs", "7 inputs",
                                            "4 inputs"};
static const char *const names[LAYERS] = {"first", "second", "third", "last"};

struct pass {
    struct mc_model *m;
    struct memory_data data;
    struct mc_pass_ctx ctx;
    struct mc_search s;
    struct mc_search_item item[LAYERS];
    float *x;
    int64_t *label;
    bool poison; /* option 1 of the first layer gives NaN */
    size_t builds, kept;
};

/* x -> as many MatMul and Relu, the weights of those in `inputs` cut to so many inputs. */
static struct mc_model *network(const struct pass *p, const size_t *choice)
{
    struct mc_model *m = build_model(17);
    struct mc_value *x = build_input(m->graph, "x", MC_DTYPE_F32, 2, DIMS(-1, WIDTH));
    for (int i = 0; i < LAYERS; i++) {
        int64_t n = i == LAYERS - 1 ? CLASSES : WIDTH, keep = (int64_t)rows_of[choice[i]];
        float *w = gaussian(10 + (uint64_t)i, WIDTH * n);
        for (int64_t k = 0; k < WIDTH * n; k++) /* later inputs matter less */
            w[k] *= (float)(0.7 * exp(-0.25 * (double)(k / n)));
        if (p->poison && i == 0 && choice[0] == 1)
            w[0] = NAN;
        int64_t index[WIDTH];
        for (int64_t k = 0; k < keep; k++)
            index[k] = k;
        if (choice[i]) {
            struct mc_node *gather;
            struct mc_value *at =
                build_const(m->graph, "index", MC_DTYPE_I64, 1, DIMS(keep), index);
            x = build_node(m->graph, "Gather", "some", 2, (struct mc_value *[]){x, at}, &gather);
            build_ok(mc_edit_attr_int(gather, "axis", 1, &err), &err);
        }
        x = build_binary(m->graph, "MatMul", names[i], x,
                         f32_const(m->graph, "w", 2, DIMS(keep, n), w));
        free(w);
        if (i < LAYERS - 1)
            x = build_unary(m->graph, "Relu", "relu", x);
    }
    build_output(m->graph, x);
    return m;
}

static int build(void *self, const size_t *choice, bool sizes_only, struct mc_model **ret,
                 struct mc_err *e)
{
    struct pass *p = self;
    (void)sizes_only;
    (void)e;
    p->builds++;
    *ret = network(p, choice);
    return 0;
}

static int keep_best(void *host, const struct mc_model *m, struct mc_err *e)
{
    struct pass *p = host;
    (void)e;
    assert_true(m->graph->n_outputs == 1);
    p->kept++;
    return 0;
}

static int bytes_of(void *host, const struct mc_model *m, uint64_t *ret, struct mc_err *e)
{
    (void)host;
    return count_bytes(NULL, m, ret, e);
}

static const size_t nothing[LAYERS];

/* predicted: by weights alone, and off by a factor that differs from layer to layer. */
static void open_pass(struct pass *p, bool predicted, bool labelled)
{
    static const double off[LAYERS] = {4, 0.25, 1, 0.5};
    *p = (struct pass){.x = gaussian(1, ROWS * WIDTH)};
    p->m = network(p, nothing);
    p->label = calloc(ROWS, sizeof *p->label);
    for (int i = 0; i < ROWS; i++)
        p->label[i] = i % CLASSES;
    memory_open(&p->data, "x", ROWS, 1, DIMS(WIDTH), p->x, labelled ? p->label : NULL);
    p->ctx = (struct mc_pass_ctx){.calib = &p->data.d,
                                  .calib_count = 64,
                                  .host = p,
                                  .bytes_of = bytes_of,
                                  .keep_best = keep_best};
    for (int i = 0; i < LAYERS; i++) {
        int n = i == LAYERS - 1 ? CLASSES : WIDTH;
        struct mc_search_option *o = calloc(OPTIONS, sizeof *o);
        for (int k = 0; k < OPTIONS; k++) {
            double gone = (double)(WIDTH - rows_of[k]), square = 0;
            for (size_t r = rows_of[k]; r < WIDTH; r++)
                square += exp(-0.5 * (double)r);
            o[k] = (struct mc_search_option){.label = labels[k],
                                             .bytes = -gone * n * (double)sizeof(float),
                                             .params = -gone * n,
                                             .macs = k == 1 ? NAN : -gone * n,
                                             .predicted = predicted ? off[i] * square : NAN};
        }
        p->item[i] = (struct mc_search_item){names[i], "MatMul", o, OPTIONS, 0};
    }
    p->s = (struct mc_search){
        .ctx = &p->ctx, .before = p->m, .item = p->item, .n = LAYERS, .self = p, .build = build};
}

static void close_pass(struct pass *p)
{
    for (int i = 0; i < LAYERS; i++)
        free(p->item[i].option);
    mc_model_free(p->m);
    free(p->x);
    free(p->label);
}

static struct mc_search_result search(struct pass *p, enum mc_search_goal goal, double limit,
                                      bool share)
{
    struct mc_search_result r;
    p->s.goal = goal;
    p->s.limit = limit;
    p->s.share = share;
    build_ok(mc_search_run(&p->s, &r, &err), &err);
    return r;
}

/* ---- all combinations ---- */

struct all {
    size_t choice[COMBINATIONS][LAYERS];
    double bytes[COMBINATIONS], divergence[COMBINATIONS];
    struct mc_judge *judge;
    struct mc_judgement got[COMBINATIONS];
};

static void measure_all(struct pass *p, struct all *a)
{
    build_ok(mc_judge_new(&p->ctx, p->m, 1000, &a->judge, &err), &err);
    assert_int_equal(mc_judge_samples(a->judge), ROWS - 64);
    for (int c = 0; c < COMBINATIONS; c++) {
        bool late;
        uint64_t bytes;
        for (int i = 0, rest = c; i < LAYERS; i++, rest /= OPTIONS)
            a->choice[c][i] = (size_t)(rest % OPTIONS);
        struct mc_model *m = network(p, a->choice[c]);
        build_ok(mc_judge_model(a->judge, m, false, &a->got[c], &late, &err), &err);
        count_bytes(NULL, m, &bytes, NULL);
        a->bytes[c] = (double)bytes;
        a->divergence[c] = a->got[c].divergence;
        mc_model_free(m);
    }
}

static void free_all(struct all *a)
{
    for (int c = 0; c < COMBINATIONS; c++)
        mc_judgement_free(&a->got[c]);
    mc_judge_free(a->judge);
    free(a);
}

/* Further from the reference than another set, by more than a tenth and the noise of the samples. */
static bool clearly_worse(const struct all *a, int c, int than)
{
    double mean, se;
    mc_judgement_difference(a->judge, &a->got[c], &a->got[than], &mean, &se);
    return a->divergence[c] > 1.1 * a->divergence[than] && mean > 2 * se;
}

static int find(const struct all *a, const struct mc_search_item *item)
{
    int c = 0;
    for (int i = LAYERS - 1; i >= 0; i--)
        c = c * OPTIONS + (int)item[i].choice;
    assert_true(a->choice[c][0] == item[0].choice);
    return c;
}

/* By the sum of single divergences, or by that of the whole. */
static int best_within(const struct all *a, double limit, bool by_sum)
{
    int best = -1;
    double least = INFINITY;
    for (int c = 0; c < COMBINATIONS; c++) {
        double d = by_sum ? 0 : a->divergence[c];
        for (int i = 0, step = 1; by_sum && i < LAYERS; i++, step *= OPTIONS)
            d += a->divergence[(int)a->choice[c][i] * step];
        if (a->bytes[c] <= limit && d < least) {
            least = d;
            best = c;
        }
    }
    return best;
}

static void budgets(bool predicted)
{
    struct pass p;
    struct all *a = calloc(1, sizeof *a);
    open_pass(&p, predicted, false);
    measure_all(&p, a);
    for (int t = 0; t < 8; t++) {
        double limit = a->bytes[0] * (0.95 - 0.05 * t);
        struct mc_search_result r = search(&p, MC_SEARCH_BYTES, limit, false);
        int got = find(a, p.item), sum = best_within(a, limit, true);
        int best = best_within(a, limit, false);
        assert_true(r.reached && r.cost == a->bytes[got] && r.cost <= limit);
        assert_true(fabs(r.divergence - a->divergence[got]) < 1e-6 * a->divergence[got] + 1e-12);
        if (clearly_worse(a, got, sum) || !(a->divergence[got] <= 1.5 * a->divergence[best]))
            fail_msg("limit %g: %d %d %d; divergence %g, by the sum %g, best %g", limit, got, sum,
                     best, a->divergence[got], a->divergence[sum], a->divergence[best]);
    }
    assert_true(p.kept > 0);
    free_all(a);
    close_pass(&p);
}

static void budgets_with_a_misleading_model(void **state)
{
    (void)state;
    budgets(true);
}

static void budgets_without_a_model(void **state)
{
    (void)state;
    budgets(false);
}

/* Nothing smaller than what was found loses as little. */
static void the_smallest_within_a_loss(void **state)
{
    (void)state;
    static const double drops[] = {0.002, 0.01, 0.05};
    struct pass p;
    struct all *a = calloc(1, sizeof *a);
    open_pass(&p, true, true);
    measure_all(&p, a);
    double last = INFINITY;
    for (int t = 0; t < 3; t++) {
        struct mc_search_result r = search(&p, MC_SEARCH_DROP, drops[t], false);
        int got = find(a, p.item), smaller = 0;
        for (int c = 0; c < COMBINATIONS; c++)
            smaller += a->bytes[c] < 0.95 * r.cost && a->divergence[c] < 0.9 * a->divergence[got];
        if (!(r.reached && r.cost == a->bytes[got] && r.cost <= last && smaller == 0))
            fail_msg("drop %g: %g bytes, %d smaller ones lose less", drops[t], r.cost, smaller);
        last = r.cost;
    }
    assert_true(last < 0.9 * a->bytes[0]);
    free_all(a);
    close_pass(&p);
}

/* ---- other goals, limits ---- */

static void shares_of_other_costs(void **state)
{
    (void)state;
    struct pass p;
    open_pass(&p, true, false);
    struct mc_search_result r = search(&p, MC_SEARCH_MACS, 0.7, true);
    double before = 3 * WIDTH * WIDTH + WIDTH * CLASSES;
    assert_true(r.reached && r.before == before && r.cost <= floor(0.7 * before));
    assert_true(r.cost > 0.6 * before && p.item[0].option[1].macs == -3 * WIDTH);
    r = search(&p, MC_SEARCH_PARAMS, 500, false);
    assert_true(r.reached && r.cost <= 500 && r.cost > 400);
    close_pass(&p);
}

static void what_cannot_be_reached(void **state)
{
    (void)state;
    struct pass p;
    struct all *a = calloc(1, sizeof *a);
    open_pass(&p, true, false);
    measure_all(&p, a);
    struct mc_search_result r = search(&p, MC_SEARCH_BYTES, 1000, false);
    double least = INFINITY;
    for (int c = 0; c < COMBINATIONS; c++)
        least = fmin(least, a->bytes[c]);
    assert_false(r.reached);
    assert_true(r.cost == least);
    assert_int_equal(mc_search_missed(&p.s, &r, &err), MC_EGATE);
    free_all(a);
    close_pass(&p);
}

static void no_time_gives_a_plan(void **state)
{
    (void)state;
    struct pass p;
    open_pass(&p, true, false);
    p.ctx.deadline = mc_now();
    double limit = 3000;
    struct mc_search_result r = search(&p, MC_SEARCH_BYTES, limit, false);
    assert_true(r.reached && r.cost <= limit && isnan(r.divergence));
    assert_string_equal(r.ended, "time");
    r = search(&p, MC_SEARCH_DROP, 0.1, false);
    assert_true(r.reached && r.cost == r.before);
    close_pass(&p);
}

static void the_same_for_any_threads(void **state)
{
    (void)state;
    json_t *report[2];
    for (int t = 0; t < 2; t++) {
        struct pass p;
        struct mc_pool *pool;
        open_pass(&p, true, true);
        build_ok(mc_pool_new(t ? 3 : 1, &pool, &err), &err);
        p.ctx.pool = pool;
        struct mc_search_result r = search(&p, MC_SEARCH_DROP, 0.02, false);
        report[t] = mc_search_report(&p.s, &r);
        assert_non_null(report[t]);
        close_pass(&p);
        mc_pool_free(pool);
    }
    assert_true(json_equal(report[0], report[1]));
    json_decref(report[0]);
    json_decref(report[1]);
}

static void not_a_number_is_never_chosen(void **state)
{
    (void)state;
    struct pass p;
    open_pass(&p, true, false);
    p.poison = true;
    p.item[0].option[1].predicted = 1e-9;
    search(&p, MC_SEARCH_BYTES, 0.8, true);
    assert_true(p.item[0].choice != 1);
    assert_true(isinf(p.item[0].option[1].measured));
    search(&p, MC_SEARCH_DROP, 0.05, false);
    assert_true(p.item[0].choice != 1);
    close_pass(&p);
}

/* ---- choices ---- */

static void choices_come_back(void **state)
{
    (void)state;
    struct pass p;
    size_t was[LAYERS];
    open_pass(&p, true, false);
    struct mc_search_result r = search(&p, MC_SEARCH_BYTES, 0.7, true), again;
    json_t *table = mc_search_report(&p.s, &r);
    char *text = json_dumps(table, 0);
    json_t *read = json_loads(text, 0, NULL);
    for (int i = 0; i < LAYERS; i++) {
        was[i] = p.item[i].choice;
        p.item[i].choice = 0;
    }
    p.ctx.choices = read;
    again = search(&p, MC_SEARCH_BYTES, 0, false);
    for (int i = 0; i < LAYERS; i++)
        assert_int_equal(p.item[i].choice, was[i]);
    assert_true(again.cost == r.cost && again.divergence == r.divergence);
    assert_int_equal(again.measurements, 1);
    json_decref(read);
    json_decref(table);
    free(text);
    close_pass(&p);
}

static int take(struct pass *p, const char *text)
{
    struct mc_search_result r;
    json_t *choices = json_loads(text, 0, NULL);
    assert_non_null(choices);
    p->ctx.choices = choices;
    int rc = mc_search_run(&p->s, &r, &err);
    json_decref(choices);
    return rc;
}

static void choices_by_hand(void **state)
{
    (void)state;
    struct pass p;
    open_pass(&p, true, false);
    build_ok(take(&p, "{\"layers\": [{\"name\": \"third\", \"choice\": \"7 inputs\"},"
                      " {\"name\": \"last\", \"choice\": null}]}"),
             &err);
    assert_true(p.item[2].choice == 3 && !p.item[0].choice && !p.item[1].choice);
    static const struct {
        const char *text, *says;
    } bad[] = {
        {"{}", "no list"},
        {"{\"layers\": [{\"choice\": \"7 inputs\"}]}", "layer 1 of the list"},
        {"{\"layers\": [{\"name\": \"third\"}]}", "'third' has no"},
        {"{\"layers\": [{\"name\": \"thrid\", \"choice\": \"7 inputs\"}]}", "'third'?"},
        {"{\"layers\": [{\"name\": \"third\", \"choice\": \"8 inputs\"}]}", "'7 inputs'?"},
        {"{\"layers\": [{\"name\": \"third\", \"choice\": 7}]}", "as text"},
        {"{\"layers\": [{\"name\": \"third\", \"choice\": null},"
         " {\"name\": \"third\", \"choice\": \"7 inputs\"}]}",
         "'third' is in the list twice"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(take(&p, bad[i].text), MC_EUSAGE);
        if (!strstr(err.msg, bad[i].says))
            fail_msg("%s: %s", bad[i].text, err.msg);
    }
    close_pass(&p);
}

/* ---- words ---- */

static void amounts(void **state)
{
    (void)state;
    static const struct {
        enum mc_search_goal goal;
        const char *text;
        double value;
        bool share;
    } good[] = {
        {MC_SEARCH_BYTES, "900k", 900e3, false},  {MC_SEARCH_BYTES, "0.3", 0.3, true},
        {MC_SEARCH_BYTES, "1.5MB", 1.5e6, false}, {MC_SEARCH_BYTES, "2Ki", 2048, false},
        {MC_SEARCH_BYTES, "5000", 5000, false},   {MC_SEARCH_PARAMS, "1M", 1e6, false},
        {MC_SEARCH_MACS, "2G", 2e9, false},       {MC_SEARCH_LATENCY, "2ms", 2e-3, false},
        {MC_SEARCH_LATENCY, "0.6", 0.6, true},    {MC_SEARCH_LATENCY, "50us", 50e-6, false},
    };
    static const struct {
        enum mc_search_goal goal;
        const char *text;
    } bad[] = {{MC_SEARCH_BYTES, ""},    {MC_SEARCH_BYTES, "x"},    {MC_SEARCH_BYTES, "0"},
               {MC_SEARCH_BYTES, "-3k"}, {MC_SEARCH_BYTES, "3ms"},  {MC_SEARCH_MACS, "3MB"},
               {MC_SEARCH_LATENCY, "3"}, {MC_SEARCH_LATENCY, "3k"}, {MC_SEARCH_BYTES, "nan"},
               {MC_SEARCH_PARAMS, "inf"}};
    double v;
    bool share;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        build_ok(mc_search_amount(good[i].goal, good[i].text, &v, &share, &err), &err);
        if (!(fabs(v - good[i].value) <= 1e-12 * good[i].value) || share != good[i].share)
            fail_msg("%s is %g", good[i].text, v);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (mc_search_amount(bad[i].goal, bad[i].text, &v, &share, &err) != MC_EUSAGE)
            fail_msg("'%s' is taken", bad[i].text);
    assert_int_equal(mc_search_seconds("1.5min", &v, &err), 0);
    assert_true(v == 90);
    assert_int_equal(mc_search_seconds("0", &v, &err), 0);
    assert_int_equal(mc_search_seconds("-1s", &v, &err), MC_EUSAGE);
    assert_int_equal(mc_search_seconds("soon", &v, &err), MC_EUSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budgets_with_a_misleading_model),
        cmocka_unit_test(budgets_without_a_model),
        cmocka_unit_test(the_smallest_within_a_loss),
        cmocka_unit_test(shares_of_other_costs),
        cmocka_unit_test(what_cannot_be_reached),
        cmocka_unit_test(no_time_gives_a_plan),
        cmocka_unit_test(the_same_for_any_threads),
        cmocka_unit_test(not_a_number_is_never_chosen),
        cmocka_unit_test(choices_come_back),
        cmocka_unit_test(choices_by_hand),
        cmocka_unit_test(amounts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
