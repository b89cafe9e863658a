/* Values of a teacher: in parts where it is frozen to another batch, kept where they are small, one by one where
 * samples are whole. */
#include "train_util.h"

#include "train/teacher.h"

static struct mc_side side_of(struct mc_model *m)
{
    struct mc_side s;
    struct mc_err err;
    build_ok(mc_side_new(m, NULL, &s, &err), &err);
    return s;
}

static void run(struct mc_teacher *t, const char *name, const float *x, const int64_t *index,
                int64_t n, bool fresh, struct mc_array *ret)
{
    struct mc_err err;
    struct mc_array in = array_of(name, MC_DTYPE_F32, 2, DIMS(n, WIDTH), x);
    build_ok(mc_teacher_run(t, &in, 1, index, n, fresh, ret, &err), &err);
}

static void parts_are_the_whole(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    make_samples(&s, 4, false);
    int64_t index[10] = {3, 1, 4, 15, 9, 2, 6, 5, 35, 8};
    const struct mc_loss_input want = {"train.teacher.0", "last", false};
    float got[4][10 * CLASSES];
    static const int64_t batches[] = {-2, 1, 4, 10};
    for (int i = 0; i < 4; i++) {
        struct mc_model *m = make_net(batches[i], false, 60);
        struct mc_side side = side_of(m);
        struct mc_teacher *t;
        struct mc_teacher_opts o = {.values = &want, .n = 1, .samples = 0};
        build_ok(mc_teacher_new(&side, &o, &t, &err), &err);
        struct mc_array a;
        run(t, i % 2 ? "another name" : "x", s.x, index, 10, false, &a);
        assert_string_equal(a.name, "train.teacher.0");
        assert_int_equal(a.shape.dim[0], 10);
        assert_int_equal(a.bytes, sizeof got[i]);
        memcpy(got[i], a.data, sizeof got[i]);
        for (int k = 0; k < 10 * CLASSES; k++)
            assert_true(fabs((double)got[i][k] - (double)got[0][k]) < 1e-5);
        mc_teacher_free(t);
        mc_side_free(&side);
        mc_model_free(m);
    }
    assert_true(got[0][0] != got[0][CLASSES]);
}

/* What is kept is what was seen, by number of the sample, in any order; changed samples are run anew. */
static void values_are_kept_by_sample(void **state)
{
    (void)state;
    struct samples s;
    struct mc_err err;
    make_samples(&s, 4, false);
    const struct mc_loss_input want = {"train.teacher.0", "last", false};
    struct mc_model *m = make_net(-2, false, 60);
    struct mc_side side = side_of(m);
    struct mc_teacher *t;
    struct mc_teacher_opts o = {.values = &want, .n = 1, .samples = SAMPLES};
    build_ok(mc_teacher_new(&side, &o, &t, &err), &err);
    int64_t index[6] = {10, 20, 30, 40, 50, 60}, turned[3] = {50, 20, 60};
    float first[6 * CLASSES], zeros[6 * WIDTH] = {0};
    struct mc_array a;
    run(t, "x", s.x, index, 6, false, &a);
    memcpy(first, a.data, sizeof first);
    /* other content under the same numbers: only a run would see it */
    run(t, "x", zeros, turned, 3, false, &a);
    assert_int_equal(a.shape.dim[0], 3);
    assert_memory_equal(a.data, first + 4 * CLASSES, CLASSES * sizeof(float));
    assert_memory_equal((float *)a.data + CLASSES, first + CLASSES, CLASSES * sizeof(float));
    assert_memory_equal((float *)a.data + 2 * CLASSES, first + 5 * CLASSES,
                        CLASSES * sizeof(float));
    run(t, "x", zeros, turned, 3, true, &a);
    assert_memory_not_equal(a.data, first + 4 * CLASSES, CLASSES * sizeof(float));
    /* one that is not there yet: all run */
    turned[1] = 21;
    run(t, "x", zeros, turned, 3, false, &a);
    assert_memory_not_equal(a.data, first + 4 * CLASSES, CLASSES * sizeof(float));
    mc_teacher_free(t);
    mc_side_free(&side);
    mc_model_free(m);
}

static void inputs_must_correspond(void **state)
{
    (void)state;
    struct mc_err err;
    struct samples s;
    make_samples(&s, 4, false);
    struct mc_model *m = make_net(-2, false, 60);
    struct mc_value *two = build_input(m->graph, "second", MC_DTYPE_F32, 2, DIMS(-2, CLASSES));
    struct mc_value *sum = build_binary(m->graph, "Add", "sum", m->graph->outputs[0], two);
    build_output(m->graph, sum);
    struct mc_side side = side_of(m);
    const struct mc_loss_input want = {"train.teacher.0", "sum", false};
    struct mc_teacher_opts o = {.values = &want, .n = 1};
    struct mc_teacher *t;
    build_ok(mc_teacher_new(&side, &o, &t, &err), &err);
    struct mc_array in = array_of("x", MC_DTYPE_F32, 2, DIMS(4, WIDTH), s.x), out;
    int64_t index[4] = {0, 1, 2, 3};
    assert_int_equal(mc_teacher_run(t, &in, 1, index, 4, false, &out, &err), MC_ESHAPE);
    assert_non_null(strstr(err.msg, "'second' is none of the model's"));
    mc_teacher_free(t);
    mc_side_free(&side);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts_are_the_whole),
                                       cmocka_unit_test(values_are_kept_by_sample),
                                       cmocka_unit_test(inputs_must_correspond)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
