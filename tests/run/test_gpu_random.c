/* test_gpu_random [SEED [ROUNDS]]: graphs drawn at random, of which drawn operators stay on the CPU, give the same
 * by both. Results in place, views, residuals and biases, kept values and states come about by chance. */
#include "gpu_util.h"

#define TOLERANCE 1e-4

enum { MOST = 24, ROWS = 6, COLUMNS = 24, RUNS = 4 };

static uint64_t first_seed = 1;
static int rounds = 150;

struct draw {
    uint64_t seed, n;
    struct mc_graph *g;
    struct mc_value *v[MOST + 4]; /* floats of [rows, 24] or [rows, 4, 6] */
    bool cube[MOST + 4];
    int count;
};

static uint32_t below(struct draw *d, uint32_t n)
{
    return mc_rng_below(d->seed, 1, d->n++, n);
}

static int any(struct draw *d, bool cube)
{
    for (int t = 0; t < 50; t++) {
        int i = (int)below(d, (uint32_t)d->count);
        if (d->cube[i] == cube)
            return i;
    }
    return -1;
}

static struct mc_value *drawn_const(struct draw *d, const char *name, int rank, const int64_t *dims)
{
    return random_const(d->g, mc_edit_fresh(d->g, name)->name, rank, dims, d->seed + d->n++);
}

static struct mc_value *reshaped(struct draw *d, struct mc_value *x, bool to_cube)
{
    const int64_t to[] = {0, 4, 6}, flat[] = {0, COLUMNS};
    struct mc_value *shape = build_const(d->g, mc_edit_fresh(d->g, "to")->name, MC_DTYPE_I64, 1,
                                         DIMS(to_cube ? 3 : 2), to_cube ? to : flat);
    return build_binary(d->g, "Reshape", "view", x, shape);
}

/* One more value, made of those there are. */
static void grow(struct draw *d)
{
    static const char *const unary[] = {"Relu", "Tanh", "Neg", "Sigmoid", "Abs"};
    static const char *const binary[] = {"Add", "Sub", "Mul", "Max", "Add", "Add"};
    bool cube = below(d, 4) == 0;
    int a = any(d, cube), b = any(d, cube);
    struct mc_value *y = NULL;
    uint32_t kind = below(d, 12);
    if (a < 0 || b < 0)
        return;
    if (kind < 4) {
        y = build_unary(d->g, unary[below(d, 5)], "u", d->v[a]);
    } else if (kind < 7) {
        y = build_binary(d->g, binary[below(d, 6)], "b", d->v[a], d->v[b]);
    } else if (kind < 8) {
        struct mc_value *c = drawn_const(d, "c", 1, DIMS(cube ? 6 : COLUMNS));
        y = build_binary(d->g, "Add", "bias", d->v[a], c);
    } else if (kind < 10) {
        struct mc_value *w = drawn_const(d, "w", 2, DIMS(cube ? 6 : COLUMNS, cube ? 6 : COLUMNS));
        y = build_binary(d->g, "MatMul", "product", d->v[a], w);
        y = build_binary(d->g, "Mul", "small", y,
                         f32_const(d->g, mc_edit_fresh(d->g, "s")->name, 0, DIMS(0), F(0.2f)));
        if (below(d, 2))
            y = build_binary(d->g, "MatMul", "product", d->v[b], w);
    } else {
        y = reshaped(d, d->v[a], !cube);
        cube = !cube;
    }
    d->v[d->count] = y;
    d->cube[d->count++] = cube;
}

/* Words of the operators that stay on the CPU. */
static void leave_some(struct draw *d, char *text, size_t size)
{
    static const char *const all[] = {"Relu", "Tanh", "Neg", "Sigmoid", "Abs",    "Add",
                                      "Sub",  "Mul",  "Max", "Chain",   "MatMul", "Reshape"};
    text[0] = 0;
    uint32_t share = below(d, 4);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        size_t n = strlen(text);
        if (below(d, 4) < share)
            snprintf(text + n, size - n, "%s ", all[i]);
    }
}

struct drawn {
    struct mc_model *m;
    struct mc_session_state states[2];
    const char *keep[2];
    struct mc_session_opts o;
    char leave[256];
};

/* Inputs x [n, 24] and states p, q [24], which the outputs p_new, q_new follow. */
static void draw_model(struct drawn *r, uint64_t seed)
{
    struct draw d = {.seed = seed};
    r->m = build_model(17);
    d.g = r->m->graph;
    struct mc_value *x = build_input(d.g, "x", MC_DTYPE_F32, 2, DIMS(-2, COLUMNS));
    struct mc_value *p = build_input(d.g, "p", MC_DTYPE_F32, 1, DIMS(COLUMNS));
    struct mc_value *q = build_input(d.g, "q", MC_DTYPE_F32, 1, DIMS(COLUMNS));
    d.v[d.count++] = x;
    d.v[d.count++] = build_binary(d.g, "Add", "xp", x, below(&d, 2) ? p : q);
    for (int i = 0, n = 4 + (int)below(&d, MOST - 4); i < n; i++)
        grow(&d);
    for (int i = 0; i < 2; i++) {
        int at = below(&d, 3) ? d.count - 1 : (int)below(&d, (uint32_t)d.count);
        build_output(d.g, build_unary(d.g, i ? "Neg" : "Identity", i ? "out" : "same", d.v[at]));
    }
    struct mc_value *half = f32_const(d.g, "half", 0, DIMS(0), F(0.5f));
    struct mc_value *pn = build_binary(d.g, "Mul", "p_new", p, half);
    struct mc_value *qn = below(&d, 2) ? build_binary(d.g, "Add", "q_new", q, p)
                                       : build_unary(d.g, "Identity", "q_new", p);
    build_output(d.g, pn);
    build_output(d.g, qn);
    r->states[0] = (struct mc_session_state){"p", pn->name};
    r->states[1] = (struct mc_session_state){"q", qn->name};
    r->keep[0] = d.v[below(&d, (uint32_t)d.count)]->name;
    r->o = (struct mc_session_opts){
        .state = r->states, .n_state = 2, .keep = r->keep, .n_keep = below(&d, 2)};
    if (below(&d, 4) == 0)
        r->o.flags |= MC_SESSION_NO_REUSE;
    if (below(&d, 4) == 0)
        r->o.flags |= MC_SESSION_NO_FUSE;
    leave_some(&d, r->leave, sizeof r->leave);
}

static void store_both(struct gpu_pair *p, const char *name, const float *x)
{
    struct mc_err err;
    build_ok(mc_session_store(p->cpu, name, x, COLUMNS * sizeof *x, &err), &err);
    build_ok(mc_session_store(p->gpu, name, x, COLUMNS * sizeof *x, &err), &err);
}

static void same_states(struct gpu_pair *p, const char *name)
{
    float a[COLUMNS], b[COLUMNS];
    struct mc_err err;
    build_ok(mc_session_fetch(p->gpu, name, a, sizeof a, &err), &err);
    build_ok(mc_session_fetch(p->cpu, name, b, sizeof b, &err), &err);
    for (int i = 0; i < COLUMNS; i++)
        if (!(fabsf(a[i] - b[i]) <= 1e-5f))
            fail_msg("state %s[%d] is %.9g, not %.9g", name, i, (double)a[i], (double)b[i]);
}

static void one_round(const struct gpu_pool *pool, uint64_t seed)
{
    struct drawn r;
    float x[ROWS * COLUMNS], state[COLUMNS];
    draw_model(&r, seed);
    struct gpu_pair p = gpu_pair_open(r.m, pool, &r.o, r.leave);
    gpu_draw(state, COLUMNS, seed);
    store_both(&p, "p", state);
    for (uint64_t run = 0; run < 2 * RUNS; run++) { /* two sizes in turn */
        struct mc_array a =
            array_of("x", MC_DTYPE_F32, 2, DIMS(run / 2 % 2 ? 1 : ROWS, COLUMNS), x);
        gpu_draw(x, ROWS * COLUMNS, seed + run);
        gpu_pair_run(&p, &a, 1, TOLERANCE);
        for (size_t k = 0; k < r.o.n_keep; k++)
            expect_alike(mc_session_value(p.gpu, r.keep[k]), mc_session_value(p.cpu, r.keep[k]),
                         TOLERANCE);
        same_states(&p, "p");
        same_states(&p, "q");
    }
    struct mc_session_stats st = gpu_stats(p.gpu);
    struct mc_gpu_memory m;
    mc_gpu_memory(pool->gpu, &m);
    assert_int_equal(st.gpu_bytes, m.used);
    gpu_pair_free(&p);
    mc_model_free(r.m);
}

static void all_rounds(void **state)
{
    struct gpu_pool pool = gpu_pool_open();
    for (int k = 0; k < rounds; k++) {
        print_message("seed %llu\n", (unsigned long long)first_seed + (unsigned long long)k);
        one_round(&pool, first_seed + (uint64_t)k);
    }
    gpu_pool_close(&pool);
    (void)state;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_rounds)};
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        rounds = atoi(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
