#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/onnx.h"
#include "onnx_bytes.h"

/* ---- models that are read ---- */

static struct mc_model *read_ok(struct buf b)
{
    struct mc_model *m;
    struct mc_err err = {0};
    if (mc_onnx_read(save("m.onnx", b), &m, &err))
        fail_msg("%s", err.msg);
    return m;
}

static void weights_outlive_model_and_file(void **state)
{
    (void)state;
    const float w[4] = {1, 2, 3, 4};
    struct buf t = make_tensor("w", 1, 2, (const int64_t[]){2, 2});
    put_bytes(&t, 9, w, sizeof w);
    struct mc_model *m = read_ok(make_model_with(t));
    assert_int_equal(m->graph->n_inits, 1);
    struct mc_tensor *w_read = mc_tensor_ref(m->graph->inits[0]->tensor);
    assert_string_equal(m->graph->inits[0]->name, "w");
    mc_model_free(m);
    unlink(path_of("m.onnx"));
    assert_int_equal(w_read->bytes, sizeof w);
    assert_memory_equal(w_read->data, w, sizeof w);
    mc_tensor_unref(w_read);
}

/* A list of numbers in a typed field, packed or one by one, means the same bytes as raw data. */
static void typed_fields_become_bytes(void **state)
{
    (void)state;
    struct buf t = make_tensor("w", 3, 1, (const int64_t[]){3}); /* int8: 1, -1 and 255 */
    struct buf packed = {0};
    put_varint(&packed, 1);
    put_varint(&packed, (uint64_t)-1);
    put_bytes(&t, 5, packed.p, packed.n);
    put_int(&t, 5, 255);
    buf_free(&packed);
    struct mc_model *m = read_ok(make_model_with(t));
    const struct mc_tensor *x = m->graph->inits[0]->tensor;
    assert_int_equal(x->form, MC_TENSOR_FIELD);
    assert_int_equal(x->bytes, 3);
    assert_memory_equal(x->data, "\x01\xff\xff", 3);
    mc_model_free(m);

    t = make_tensor("w", 10, 1, (const int64_t[]){2}); /* float16 as whole numbers */
    put_int(&t, 5, 0x3c00);
    put_int(&t, 5, 0xfbff);
    m = read_ok(make_model_with(t));
    assert_memory_equal(m->graph->inits[0]->tensor->data, "\x00\x3c\xff\xfb", 4);
    mc_model_free(m);

    t = make_tensor("w", 22, 1, (const int64_t[]){3}); /* int4: two in each number */
    put_int(&t, 5, 0x21);
    put_int(&t, 5, 0x03);
    m = read_ok(make_model_with(t));
    assert_memory_equal(m->graph->inits[0]->tensor->data, "\x21\x03", 2);
    mc_model_free(m);
}

/* Nodes in the wrong order, an attribute that does not say its type, the last of two numbers. */
static void loose_files_are_read(void **state)
{
    (void)state;
    struct buf g = {0}, last = make_node("Neg", "t", "y"), attr = {0}, x = {0}, y = {0};
    put_text(&attr, 1, "alpha");
    put_int(&attr, 3, 5);
    put_int(&attr, 3, 6);
    put_message(&last, 5, attr);
    put_message(&g, 1, last);
    put_message(&g, 1, make_node("Abs", "x", "t"));
    put_text(&x, 1, "x");
    put_text(&y, 1, "y");
    put_message(&g, 11, x);
    put_message(&g, 12, y);
    struct mc_model *m = read_ok(make_model(g));
    assert_string_equal(m->graph->nodes[0]->op_type, "Abs");
    assert_string_equal(m->graph->nodes[1]->op_type, "Neg");
    assert_int_equal(mc_node_int(m->graph->nodes[1], "alpha", 0), 6);
    assert_int_equal(m->graph->nodes[1]->version, 17);
    mc_model_free(m);
}

static void names_need_not_be_utf8(void **state)
{
    (void)state;
    struct buf g = make_graph(), t = make_tensor("\xff\xc0w", 1, 0, NULL);
    put_bytes(&t, 9, "\0\0\0\0", 4);
    put_message(&g, 5, t);
    struct mc_model *m = read_ok(make_model(g));
    assert_string_equal(m->graph->inits[0]->name, "\xff\xc0w");
    mc_model_free(m);
}

/* Longer than protobuf libraries take; a hole in the file. */
static void weights_beyond_2_gb(void **state)
{
    (void)state;
    const int64_t bytes = 5LL << 30;
    struct mc_model *m;
    struct mc_err err;
    if (mc_onnx_read(save_large("large.onnx", make_graph(), bytes), &m, &err))
        fail_msg("%s", err.msg);
    const struct mc_tensor *t = m->graph->inits[0]->tensor;
    assert_int_equal(t->bytes, bytes);
    assert_int_equal(t->data[bytes - 1], 0);
    mc_model_free(m);
}

/* As ONNX Runtime: the last import of a domain holds, also for the nodes; a domain of its own that is not
 * imported beside others is there in its newest version, others are unknown. */
static void imports(void **state)
{
    (void)state;
    struct buf g = make_graph(), node = make_node("FastGelu", "x", "z");
    put_bytes(&node, 7, "com.microsoft", 13);
    put_message(&g, 1, node);
    node = make_node("Foo", "x", "w");
    put_bytes(&node, 7, "foo", 3);
    put_message(&g, 1, node);
    struct buf b = make_model(g);
    put_bytes(&b, 8, "\x10\x12", 2);
    struct mc_model *m = read_ok(b);
    assert_int_equal(mc_model_opset(m, ""), 18);
    for (size_t i = 0; i < m->graph->n_nodes; i++) {
        const struct mc_node *n = m->graph->nodes[i];
        assert_int_equal(n->version, !*n->domain ? 18 : strcmp(n->domain, "foo") ? 1 : 0);
    }
    mc_model_free(m);
}

/* ---- files that are refused ---- */

static void refused(struct buf b, int code, const char *part)
{
    struct mc_model *m = NULL;
    struct mc_err err = {0};
    const char *path = save("bad.onnx", b);
    int rc = mc_onnx_read(path, &m, &err);
    if (rc != code || !strstr(err.msg, part) || !strstr(err.msg, path) || strchr(err.msg, '\n'))
        fail_msg("code %d, wanted %d with '%s': %s", rc, code, part, err.msg);
    assert_null(m);
}

static struct buf bytes(const char *data, size_t n)
{
    struct buf b = {0};
    put(&b, data, n);
    return b;
}

static void broken_wire(void **state)
{
    (void)state;
    refused(bytes("", 0), MC_EFORMAT, "empty");
    refused(bytes("PK\x03\x04zip", 7), MC_EFORMAT, "byte");
    refused(bytes("\x08", 1), MC_EFORMAT, "cut off at byte 1");
    refused(bytes("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11), MC_EFORMAT,
            "64 bits at byte 1");
    refused(bytes("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 13), MC_EFORMAT,
            "at byte 1");
    refused(bytes("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10), MC_EFORMAT,
            "bytes wanted at byte 10");
    refused(bytes("\x3a\x05\x0a", 3), MC_EFORMAT, "5 bytes wanted at byte 2, 1 are there");
    refused(bytes("\x3a\x03\x0a\x09\x01", 5), MC_EFORMAT, "9 bytes wanted at byte 4, 1 are there");
    refused(bytes("\x00\x00", 2), MC_EFORMAT, "no field of a message at byte 0");
    refused(bytes("\x0e", 1), MC_EFORMAT, "no field of a message at byte 0");
    refused(bytes("\x0d\0\0\0\0", 5), MC_EFORMAT,
            "ModelProto.ir_version of a wrong type at byte 0");
    refused(bytes("\x38\x01", 2), MC_EFORMAT, "ModelProto.graph of a wrong type");
    refused(bytes("\x0b\x0c", 2), MC_EUNSUP, "group");
    refused(bytes("\x12\x03\x61\x00\x62", 5), MC_EUNSUP,
            "ModelProto.producer_name has a NUL byte at byte 3");
}

/* 180000 messages in each other: unpacked without a limit, they overflow the stack. */
static void deep_nesting(void **state)
{
    (void)state;
    enum { DEEP = 180000 };
    size_t size = 0, at, len_bytes;
    /* Sizes from the inside out, then bytes from the outside in. */
    uint32_t *sizes = malloc(DEEP * sizeof *sizes);
    assert_non_null(sizes);
    for (size_t i = DEEP; i-- > 0;) {
        sizes[i] = (uint32_t)size;
        for (len_bytes = 1; size >> 7 * len_bytes; len_bytes++)
            ;
        size += 1 + len_bytes;
    }
    struct buf b = {0};
    uint8_t *p = malloc(size);
    assert_non_null(p);
    for (size_t i = at = 0; i < DEEP; i++) {
        /* graph 7, node 1, attribute 5, then g 6 and again node … */
        p[at++] = i == 0 ? 0x3a : (i % 3 == 1 ? 0x0a : i % 3 == 2 ? 0x2a : 0x32);
        uint32_t v = sizes[i];
        for (; v > 127; v >>= 7)
            p[at++] = (uint8_t)(v | 128);
        p[at++] = (uint8_t)v;
    }
    put(&b, p, at);
    free(p);
    free(sizes);
    refused(b, MC_EFORMAT, "nested more than 100 deep at byte");
}

static void broken_models(void **state)
{
    (void)state;
    struct buf b = {0}, g;
    put_int(&b, 1, 8);
    refused(b, MC_EFORMAT, "no graph");
    b = (struct buf){0};
    put_message(&b, 7, make_graph());
    refused(b, MC_EFORMAT, "no IR version");
    const int versions[] = {-1, 0, 2, 15, 1 << 30};
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        b = make_model(make_graph());
        put_int(&b, 1, versions[i]);
        refused(b, MC_EUNSUP, "versions 3 to 14");
    }
    b = make_model(make_graph());
    put_bytes(&b, 8, "\x0a\x01\x61\x10\x80\x80\x80\x80\x80\x01", 10);
    refused(b, MC_EFORMAT, "domain 'a' is imported in version");
    g = make_graph();
    put_message(&g, 1, make_node("Neg", "nobody", "z"));
    refused(make_model(g), MC_EFORMAT, "nothing produces 'nobody', input 0 of Neg 'z'");
    g = make_graph();
    put_message(&g, 1, make_node("Neg", "x", "y"));
    refused(make_model(g), MC_EFORMAT, "two values are named 'y'");
    g = make_graph();
    put_message(&g, 1, make_node("", "x", "z"));
    refused(make_model(g), MC_EFORMAT, "no operator");
    g = make_graph();
    put_bytes(&g, 12, "\x0a\x01q", 3);
    refused(make_model(g), MC_EFORMAT, "nothing produces the output 'q'");
    g = make_graph();
    put_message(&g, 5, make_tensor(NULL, 1, 1, (const int64_t[]){0}));
    refused(make_model(g), MC_EFORMAT, "an initializer without a name");
    g = make_graph();
    put_message(&g, 5, make_tensor("y", 1, 1, (const int64_t[]){0}));
    refused(make_model(g), MC_EFORMAT, "'y'");
}

static void refused_tensor(int dtype, int rank, const int64_t *dims, size_t raw, const char *part)
{
    static const uint8_t zeros[64];
    struct buf t = make_tensor("w", dtype, rank, dims);
    put_bytes(&t, 9, zeros, raw);
    refused(make_model_with(t), rank > MC_RANK_MAX ? MC_EUNSUP : MC_EFORMAT, part);
}

static void broken_tensors(void **state)
{
    (void)state;
    const int64_t two_three[] = {2, 3}, negative[] = {2, -3}, zero_negative[] = {0, -1};
    const int64_t huge[] = {INT64_MAX, 2}, wraps[] = {1LL << 32, 1LL << 32}, large[] = {1LL << 62};
    const int64_t many[MC_RANK_MAX + 1] = {1};
    refused_tensor(1, 2, two_three, 20, "needs 24 bytes, there are 20 at byte");
    refused_tensor(1, 2, two_three, 28, "needs 24 bytes, there are 28 at byte");
    refused_tensor(22, 2, two_three, 4, "needs 3 bytes, there are 4 at byte");
    refused_tensor(1, 0, NULL, 0, "needs 4 bytes, there are 0");
    refused_tensor(1, 2, negative, 24, "negative dimension -3");
    refused_tensor(1, 2, zero_negative, 0, "negative dimension -1");
    refused_tensor(1, 2, huge, 4, "too large to exist");
    refused_tensor(1, 2, wraps, 0, "too large to exist");
    refused_tensor(11, 1, large, 0, "too large to exist");
    refused_tensor(8, 2, two_three, 0, "0 strings");
    refused_tensor(1, MC_RANK_MAX + 1, many, 0, "rank 13");
    struct buf t = make_tensor("w", 7, 1, (const int64_t[]){2});
    put_int(&t, 7, 5);
    refused(make_model_with(t), MC_EFORMAT, "needs 16 bytes, the file has 8");
    t = make_tensor("w", 1, 1, (const int64_t[]){2});
    put_bytes(&t, 4, "\0\0\0\0\0", 5);
    refused(make_model_with(t), MC_EFORMAT, "list of numbers cut off at byte");
    refused(make_model_with(make_tensor("w", 1, 1, (const int64_t[]){1LL << 40})), MC_EFORMAT,
            "the file has 0");
}

static void parts_do_not_lose_fields(void **state)
{
    (void)state;
    struct buf b = make_model(make_graph()), more = {0};
    put_text(&more, 10, "doc");
    put_message(&b, 7, more);
    struct mc_model *m = read_ok(b);
    assert_int_equal(m->graph->n_nodes, 1);
    mc_model_free(m);
    struct buf g = make_graph(), rest = {0};
    put_int(&g, 1000, 1);
    b = make_model(g);
    put_text(&rest, 10, "doc");
    put_message(&b, 7, rest);
    refused(b, MC_EUNSUP, "ModelProto.graph comes in parts");
}

static void missing_files(void **state)
{
    (void)state;
    struct mc_model *m;
    struct mc_err err;
    assert_int_equal(mc_onnx_read(path_of("none.onnx"), &m, &err), MC_EOPEN);
    assert_non_null(strstr(err.msg, "none.onnx"));
    assert_int_equal(mc_onnx_read("/", &m, &err), MC_EOPEN);
}

static void unsound_graphs(void **state)
{
    (void)state;
    struct buf g = make_graph();
    put_message(&g, 1, make_node("Neg", "b", "a"));
    put_message(&g, 1, make_node("Neg", "a", "b"));
    refused(make_model(g), MC_EFORMAT, "cycle");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_outlive_model_and_file),
        cmocka_unit_test(typed_fields_become_bytes),
        cmocka_unit_test(loose_files_are_read),
        cmocka_unit_test(names_need_not_be_utf8),
        cmocka_unit_test(imports),
        cmocka_unit_test(weights_beyond_2_gb),
        cmocka_unit_test(broken_wire),
        cmocka_unit_test(deep_nesting),
        cmocka_unit_test(broken_models),
        cmocka_unit_test(broken_tensors),
        cmocka_unit_test(parts_do_not_lose_fields),
        cmocka_unit_test(missing_files),
        cmocka_unit_test(unsound_graphs),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_files();
    return failed;
}
