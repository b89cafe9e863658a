#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/onnx.h"
#include "graph/edit.h"
#include "onnx_bytes.h"

static const struct mc_onnx_write_opts outside = {.external = true};

static struct mc_model *read_ok(const char *path)
{
    struct mc_model *m;
    struct mc_err err = {0};
    if (mc_onnx_read(path, &m, &err))
        fail_msg("%s", err.msg);
    return m;
}

/* x -> Identity -> y with the initializers a (4000 bytes) and b (40 bytes). */
static struct mc_model *small_model(void)
{
    static const uint8_t zeros[4000];
    struct buf g = make_graph(), a = make_tensor("a", 1, 1, (const int64_t[]){1000});
    struct buf b = make_tensor("b", 1, 1, (const int64_t[]){10});
    put_bytes(&a, 9, zeros, 4000);
    put_bytes(&b, 9, zeros, 40);
    put_message(&g, 5, a);
    put_message(&g, 5, b);
    return read_ok(save("in.onnx", make_model(g)));
}

static uint64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

static bool same_file(const char *a, const char *b)
{
    struct mc_map x, y;
    assert_int_equal(mc_map_open(a, &x, NULL), 0);
    assert_int_equal(mc_map_open(b, &y, NULL), 0);
    bool same = x.size == y.size && !memcmp(x.data, y.data, x.size);
    mc_map_close(&x);
    mc_map_close(&y);
    return same;
}

/* What is staged can be read, digested and sized before it is there, and is that once it is there. */
static void staged(const struct mc_onnx_write_opts *opts)
{
    struct mc_model *m = small_model(), *back;
    struct mc_onnx_staged *s;
    struct mc_err err;
    char before[65], after[65];
    uint64_t foretold, bytes, bytes_after;
    struct buf empty = {0};
    put(&empty, "", 0);
    const char *path = save("out.onnx", empty);
    assert_int_equal(mc_onnx_bytes(m, path, opts, &foretold, &err), 0);
    assert_int_equal(mc_onnx_stage(m, path, opts, &s, &err), 0);
    assert_int_equal(size_of(path), 0);
    assert_int_equal(size_of(path_of("out.onnx.data")), 0);
    assert_int_equal(mc_onnx_staged_digest(s, before, &bytes, &err), 0);
    if (mc_onnx_staged_read(s, &back, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(mc_onnx_staged_commit(s, &err), 0);
    assert_int_equal(mc_onnx_digest(path, after, &bytes_after, &err), 0);
    assert_string_equal(before, after);
    assert_int_equal(bytes, bytes_after);
    assert_int_equal(bytes, foretold);
    assert_int_equal(back->external, opts != NULL);
    assert_int_equal(back->graph->inits[0]->tensor->bytes, 4000);
    assert_memory_equal(back->graph->inits[0]->tensor->data, m->graph->inits[0]->tensor->data,
                        4000);
    assert_int_equal(back->graph->inits[1]->tensor->form, MC_TENSOR_RAW);
    mc_model_free(back);
    mc_model_free(m);
}

static void stage_inside(void **state)
{
    (void)state;
    staged(NULL);
}

static void stage_outside(void **state)
{
    (void)state;
    staged(&outside);
    assert_int_equal(size_of(path_of("out.onnx.data")), 4000);
    unlink(path_of("out.onnx.data"));
}

static void abort_leaves_the_old_file(void **state)
{
    (void)state;
    struct mc_model *m = small_model();
    struct mc_onnx_staged *s;
    struct buf old = {0};
    put(&old, "old", 3);
    const char *path = save("out.onnx", old);
    assert_int_equal(mc_onnx_stage(m, path, &outside, &s, NULL), 0);
    mc_onnx_staged_abort(s);
    mc_onnx_staged_abort(NULL);
    assert_int_equal(size_of(path), 3);
    assert_int_equal(access(path_of("out.onnx.data"), F_OK), -1);
    mc_model_free(m);
}

static void external_data_needs_a_path(void **state)
{
    (void)state;
    struct mc_model *m = small_model();
    struct mc_err err;
    assert_int_equal(mc_onnx_write(m, "-", &outside, &err), MC_EUSAGE);
    assert_non_null(strstr(err.msg, "standard output"));
    assert_int_equal(mc_onnx_write(m, "/nowhere/x.onnx", NULL, &err), MC_EIO);
    assert_non_null(strstr(err.msg, "/nowhere"));
    mc_model_free(m);
}

static void full_disk(void **state)
{
    (void)state;
    struct mc_model *m = small_model();
    const char *path = path_of("full.onnx");
    for (int external = 0; external < 2; external++) {
        int status = -1;
        if (fork() == 0) {
            struct mc_err err;
            const struct rlimit limit = {2000, 2000};
            signal(SIGXFSZ, SIG_IGN);
            setrlimit(RLIMIT_FSIZE, &limit);
            _exit(mc_onnx_write(m, path, external ? &outside : NULL, &err) != MC_EIO);
        }
        wait(&status);
        assert_int_equal(status, 0);
        assert_int_equal(access(path, F_OK), -1);
    }
    mc_model_free(m);
}

static void clones_and_copies_are_the_same_bytes(void **state)
{
    (void)state;
    struct mc_model *m = small_model(), *clone;
    assert_int_equal(mc_model_clone(m, &clone, NULL), 0);
    assert_int_equal(mc_onnx_write(m, path_of("one.onnx"), NULL, NULL), 0);
    mc_model_free(m);
    assert_int_equal(mc_onnx_write(clone, path_of("two.onnx"), NULL, NULL), 0);
    mc_model_free(clone);
    assert_true(same_file(path_of("one.onnx"), path_of("two.onnx")));
    m = read_ok(path_of("two.onnx"));
    assert_int_equal(mc_onnx_write(m, path_of("three.onnx"), NULL, NULL), 0);
    mc_model_free(m);
    assert_true(same_file(path_of("one.onnx"), path_of("three.onnx")));
}

/* What an edit changed replaces what the file said. */
static void edits_are_written(void **state)
{
    (void)state;
    struct mc_model *m = small_model();
    struct mc_graph *g = m->graph;
    const struct mc_dim dims[2] = {{-1, "n"}, {10, NULL}};
    const struct mc_shape shape = mc_shape_of(1, (const int64_t[]){3});
    struct mc_tensor *t;
    void *data;
    assert_int_equal(mc_tensor_new(MC_DTYPE_I8, &shape, NULL, &t, &data, NULL), 0);
    memcpy(data, "abc", 3);
    struct mc_value *v = mc_edit_constant(g, "b", t);
    assert_non_null(v);
    mc_tensor_unref(t);
    assert_true(mc_edit_type(g->inputs[0], MC_DTYPE_F16, 2, dims));
    assert_int_equal(mc_edit_meta(m, "key", "value", NULL), 0);
    assert_int_equal(mc_edit_opset(m, "ai.mcompress", 1, NULL), 0);
    assert_int_equal(mc_edit_attr_int(g->nodes[0], "zero", 0, NULL), 0);
    assert_int_equal(mc_onnx_write(m, path_of("e.onnx"), NULL, NULL), 0);
    mc_model_free(m);
    m = read_ok(path_of("e.onnx"));
    g = m->graph;
    assert_int_equal(g->n_inits, 3);
    assert_string_equal(g->inits[2]->name, "b_1");
    assert_int_equal(g->inits[2]->tensor->dtype, MC_DTYPE_I8);
    assert_memory_equal(g->inits[2]->tensor->data, "abc", 3);
    const struct mc_type *type = &g->inputs[0]->type;
    assert_int_equal(type->dtype, MC_DTYPE_F16);
    assert_int_equal(type->rank, 2);
    assert_string_equal(type->dim[0].param, "n");
    assert_int_equal(type->dim[1].value, 10);
    assert_string_equal(mc_model_meta(m, "key"), "value");
    assert_int_equal(mc_model_opset(m, "ai.mcompress"), 1);
    assert_int_equal(mc_node_int(g->nodes[0], "zero", 7), 0);
    mc_model_free(m);
}

static void unmap(void *p)
{
    munmap(p, (size_t)3 << 30);
}

/* 3 GB that nobody may touch: sizing does not, and knows that they will not fit into one file. */
static void too_large_models_go_outside(void **state)
{
    (void)state;
    const size_t large = (size_t)3 << 30;
    struct mc_model *m = small_model();
    struct mc_storage *s;
    struct mc_tensor *t;
    uint64_t inside, with;
    const struct mc_shape shape = mc_shape_of(1, (const int64_t[]){3LL << 30});
    void *p = mmap(NULL, large, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(mc_onnx_bytes(m, NULL, NULL, &inside, NULL), 0);
    assert_int_equal(mc_storage_foreign(p, large, unmap, p, &s, NULL), 0);
    assert_int_equal(mc_tensor_view(MC_DTYPE_U8, &shape, s, 0, &t, NULL), 0);
    assert_non_null(mc_edit_constant(m->graph, "large", t));
    assert_non_null(mc_edit_constant(m->graph, "again", t));
    assert_int_equal(mc_onnx_bytes(m, NULL, NULL, &with, NULL), 0);
    /* Once, although two values have it; the rest are names, places, padding to 4096 bytes. */
    assert_in_range(with, large + inside, large + inside + 5000);
    mc_tensor_unref(t);
    mc_storage_unref(s);
    mc_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stage_inside),
        cmocka_unit_test(stage_outside),
        cmocka_unit_test(abort_leaves_the_old_file),
        cmocka_unit_test(external_data_needs_a_path),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(clones_and_copies_are_the_same_bytes),
        cmocka_unit_test(edits_are_written),
        cmocka_unit_test(too_large_models_go_outside),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_files();
    return failed;
}
