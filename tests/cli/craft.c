/* craft KIND … FILE: models and samples that no exporter makes, for the command line's tests.
 *
 *   nested DEPTH FILE        a model whose graphs are nested DEPTH deep in attributes
 *   nan MODEL FILE           MODEL with a NaN in its first weight
 *   zero MODEL FILE          MODEL with zeros in place of its first weight
 *   rename MODEL FROM TO FILE  the first operator FROM becomes TO of the domain com.acme
 *   inputs MODEL FILE        MODEL with every weight listed as a graph input
 *   packed MODEL FILE        MODEL with its weights in small forms (craft_own.h)
 *   npy N C H W FILE         float samples of that shape, values i / count
 *   idx N SIZE FILE          N images of SIZE x SIZE
 *   labels N VALUE FILE      N labels that all have one value
 *   listener ORDER FILE      a model of sequences, whose scores are [batch,8,4], or with ORDER steps [8,batch,4]
 *   sounds N FILE            float samples [8,5] for it
 *   silence N FILE           the same, but all zeros
 *   spelling N FROM FILE     their labels [N,3]; the letters of sample 2 begin at FROM, the others at 1 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/mem.h"
#include "formats/onnx.h"
#include "graph/edit.h"
#include "graph/tensor.h"
#include "tests/cli/craft_own.h"

static struct mc_err err;

static int put_file(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(data, 1, n, f) == n;
    return (f && fclose(f)) || !ok;
}

/* ---- a nested model: built from the inside out, in front of what is there ---- */

struct front {
    uint8_t *end;
    size_t n;
};

static void put_length(struct front *f, unsigned key, size_t length)
{
    uint8_t v[16];
    int n = 0;
    v[n++] = (uint8_t)(key << 3 | 2);
    for (; length >= 0x80; length >>= 7)
        v[n++] = (uint8_t)(length | 0x80);
    v[n++] = (uint8_t)length;
    f->n += (size_t)n;
    memcpy(f->end - f->n, v, (size_t)n);
}

static int nested(int depth, const char *path)
{
    enum { GRAPH_NODE = 1, NODE_ATTRIBUTE = 5, ATTRIBUTE_G = 6, MODEL_GRAPH = 7 };
    size_t cap = (size_t)depth * 16 + 64;
    uint8_t *block = calloc(1, cap);
    if (!block)
        return 1;
    struct front f = {block + cap, 0};
    for (int i = 0; i < depth; i++) {
        put_length(&f, ATTRIBUTE_G, f.n);
        put_length(&f, NODE_ATTRIBUTE, f.n);
        put_length(&f, GRAPH_NODE, f.n);
    }
    put_length(&f, MODEL_GRAPH, f.n);
    static const uint8_t ir_version[] = {1 << 3, 8};
    f.n += sizeof ir_version;
    memcpy(f.end - f.n, ir_version, sizeof ir_version);
    int rc = put_file(path, f.end - f.n, f.n);
    free(block);
    return rc;
}

/* ---- models changed ---- */

/* Of the first weight: a NaN in front, or zeros throughout. */
static int spoil(struct mc_model *m, bool with_nan)
{
    struct mc_value *v = m->graph->inits[0];
    struct mc_tensor *t;
    void *data;
    if (mc_tensor_new(v->tensor->dtype, &v->tensor->shape, NULL, &t, &data, &err))
        return 1;
    memset(data, 0, v->tensor->bytes);
    if (with_nan) {
        memcpy(data, v->tensor->data, v->tensor->bytes);
        ((float *)data)[0] = NAN;
    }
    int rc = mc_edit_tensor(v, t, &err);
    mc_tensor_unref(t);
    return rc;
}

static int rename_node(struct mc_model *m, const char *from, const char *to)
{
    struct mc_graph *g = m->graph;
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct mc_node *n = g->nodes[i], *made;
        if (strcmp(n->op_type, from))
            continue;
        struct mc_value *in = n->in[0], *out = n->out[0];
        char name[256];
        snprintf(name, sizeof name, "%s", n->name);
        mc_edit_remove_node(n);
        return mc_edit_opset(m, "com.acme", 1, &err) ||
               mc_edit_node(g, i, to, "com.acme", 1, name, &in, 1, &out, 1, &made, &err);
    }
    return 1;
}

/* As exporters write it that keep initializers as inputs. */
static int list_weights(const char *from, const char *path)
{
    struct mc_model *m = NULL;
    int rc = mc_onnx_read(from, &m, &err);
    for (size_t i = 0; !rc && i < m->graph->n_inits; i++)
        rc = mc_edit_input(m->graph, m->graph->inits[i], &err);
    if (!rc)
        rc = mc_onnx_write(m, path, NULL, &err);
    mc_model_free(m);
    return rc;
}

static int change(const char *from, const char *op, const char *to, const char *path)
{
    struct mc_model *m = NULL;
    int rc = mc_onnx_read(from, &m, &err);
    if (!rc)
        rc = to ? rename_node(m, op, to) : spoil(m, !strcmp(op, "nan"));
    if (!rc)
        rc = mc_onnx_write(m, path, NULL, &err);
    mc_model_free(m);
    return rc;
}

/* ---- samples ---- */

static int npy(const int *dim, const char *path)
{
    char head[128];
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\x01\x00\x76\x00", 10);
    int n = snprintf(head + 10, 100,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d, %d, %d), }",
                     dim[0], dim[1], dim[2], dim[3]);
    head[10 + n] = ' ';
    head[127] = '\n';
    size_t count = (size_t)dim[0] * (size_t)dim[1] * (size_t)dim[2] * (size_t)dim[3];
    uint8_t *block = malloc(sizeof head + count * sizeof(float));
    if (!block)
        return 1;
    memcpy(block, head, sizeof head);
    for (size_t i = 0; i < count; i++) {
        float v = (float)i / (float)count;
        memcpy(block + sizeof head + i * sizeof v, &v, sizeof v);
    }
    int rc = put_file(path, block, sizeof head + count * sizeof(float));
    free(block);
    return rc;
}

static int idx(int rank, int n, int size, int value, const char *path)
{
    size_t each = rank == 3 ? (size_t)size * (size_t)size : 1, total = (size_t)n * each;
    size_t head = 4 + 4 * (size_t)rank;
    uint8_t *block = calloc(1, head + total);
    if (!block)
        return 1;
    block[2] = 8; /* unsigned bytes */
    block[3] = (uint8_t)rank;
    int dims[3] = {n, size, size};
    for (int i = 0; i < rank; i++)
        for (int b = 0; b < 4; b++)
            block[4 + 4 * i + b] = (uint8_t)(dims[i] >> (24 - 8 * b));
    for (size_t i = 0; i < total; i++)
        block[head + i] = (uint8_t)(rank == 3 ? i * 31 + i / 7 : (size_t)value);
    int rc = put_file(path, block, head + total);
    free(block);
    return rc;
}

/* ---- sequences ---- */

enum { STEPS = 8, FEATURES = 5, LETTERS = 4, LONGEST = 3 };

/* Letter k of sample i, 0 where there is none: each is two steps of its own sound, with silence around. */
static int64_t letter(int i, int k)
{
    return k < 0 || k > i % LONGEST ? 0 : 1 + (i / LONGEST + k * (1 + i % 2)) % (LETTERS - 1);
}

static int npy_block(const char *descr, const char *shape, const void *data, size_t n,
                     const char *path)
{
    size_t head = 128;
    uint8_t *block = malloc(head + n);
    if (!block)
        return 1;
    memset(block, ' ', head);
    memcpy(block, "\x93NUMPY\x01\x00\x76\x00", 10);
    int end = snprintf((char *)block + 10, 100,
                       "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape);
    block[10 + end] = ' ';
    block[127] = '\n';
    memcpy(block + head, data, n);
    int rc = put_file(path, block, head + n);
    free(block);
    return rc;
}

/* float [n,STEPS,FEATURES]: a letter's sound is high in one feature. */
static int sounds(int n, bool silent, const char *path)
{
    char shape[64];
    size_t each = (size_t)STEPS * FEATURES, bytes = (size_t)n * each * sizeof(float);
    float *x = calloc(bytes + 1, 1);
    for (int i = 0; x && !silent && i < n; i++)
        for (int t = 1; t < STEPS; t++)
            x[(size_t)i * each + (size_t)t * FEATURES + (size_t)letter(i, (t - 1) / 2)] = 1;
    snprintf(shape, sizeof shape, "%d, %d, %d", n, STEPS, FEATURES);
    int rc = x ? npy_block("<f4", shape, x, bytes, path) : 1;
    free(x);
    return rc;
}

/* int64 [n,LONGEST]: the letters, -1 behind the last; those of sample 2 from `from` on. */
static int spelling(int n, int from, const char *path)
{
    char shape[64];
    size_t bytes = (size_t)n * LONGEST * sizeof(int64_t);
    int64_t *y = calloc(bytes + 1, 1);
    for (int i = 0; y && i < n; i++)
        for (int k = 0; k < LONGEST; k++) {
            int64_t v = letter(i, k);
            y[i * LONGEST + k] = !v ? -1 : i == 2 ? v - 1 + from : v;
        }
    snprintf(shape, sizeof shape, "%d, %d", n, LONGEST);
    int rc = y ? npy_block("<i8", shape, y, bytes, path) : 1;
    free(y);
    return rc;
}

static struct mc_value *node(struct mc_graph *g, const char *op, const char *name,
                             struct mc_value *a, struct mc_value *b)
{
    struct mc_value *in[2] = {a, b}, *out = mc_edit_fresh(g, name);
    if (!out || !a ||
        mc_edit_node(g, g->n_nodes, op, "", 0, name, in, b ? 2 : 1, &out, 1, NULL, &err))
        return NULL;
    return out;
}

static struct mc_value *matrix(struct mc_graph *g, const char *name, int rows, int columns)
{
    int64_t dims[2] = {rows, columns};
    struct mc_shape shape = mc_shape_of(2, dims);
    struct mc_tensor *t;
    void *data;
    if (mc_tensor_new(MC_DTYPE_F32, &shape, NULL, &t, &data, &err))
        return NULL;
    for (int i = 0; i < rows * columns; i++)
        ((float *)data)[i] = (float)((i * 37 + 11) % 101) / 101 - 0.5f;
    struct mc_value *v = mc_edit_constant(g, name, t);
    mc_tensor_unref(t);
    return v;
}

/* [batch,STEPS,FEATURES] -> logarithms of probabilities [batch,STEPS,LETTERS], or steps first. */
static int listener(bool steps_first, const char *path)
{
    struct mc_dim dims[3] = {{-1, "batch"}, {STEPS, NULL}, {FEATURES, NULL}};
    struct mc_model *m = NULL;
    int rc = mc_model_new(&m, &err);
    rc = rc ? rc : mc_edit_opset(m, "", 17, &err);
    struct mc_graph *g = rc ? NULL : mc_edit_graph(m, NULL, NULL, "main");
    if (m)
        m->ir_version = 8;
    struct mc_value *v = g ? mc_edit_value(g, "x") : NULL;
    if (!v || !mc_edit_type(v, MC_DTYPE_F32, 3, dims) || mc_edit_input(g, v, &err))
        rc = 1;
    if (!rc) {
        v = node(g, "MatMul", "first", v, matrix(g, "first.w", FEATURES, 16));
        v = node(g, "MatMul", "last", node(g, "Relu", "relu", v, NULL),
                 matrix(g, "last.w", 16, LETTERS));
        if (steps_first) {
            v = node(g, "Transpose", "turned", v, NULL);
            rc = !v || mc_edit_attr_ints(v->producer, "perm", (const int64_t[]){1, 0, 2}, 3, &err);
        }
        v = node(g, "LogSoftmax", "y", v, NULL);
        rc = rc || !v || mc_edit_output(g, v, &err);
    }
    rc = rc ? rc : mc_onnx_write(m, path, NULL, &err);
    mc_model_free(m);
    return rc;
}

static int packed(const char *from, const char *path)
{
    struct mc_model *m = NULL;
    int rc = mc_onnx_read(from, &m, &err);
    rc = rc ? rc : craft_own(m, &err);
    rc = rc ? rc : mc_onnx_write(m, path, NULL, &err);
    mc_model_free(m);
    return rc;
}

int main(int argc, char **argv)
{
    const char *kind = argc > 2 ? argv[1] : "", *path = argv[argc - 1];
    int rc = 1;
    if (!strcmp(kind, "nested") && argc == 4)
        rc = nested(atoi(argv[2]), path);
    else if ((!strcmp(kind, "nan") || !strcmp(kind, "zero")) && argc == 4)
        rc = change(argv[2], kind, NULL, path);
    else if (!strcmp(kind, "rename") && argc == 6)
        rc = change(argv[2], argv[3], argv[4], path);
    else if (!strcmp(kind, "inputs") && argc == 4)
        rc = list_weights(argv[2], path);
    else if (!strcmp(kind, "packed") && argc == 4)
        rc = packed(argv[2], path);
    else if (!strcmp(kind, "npy") && argc == 7)
        rc = npy((int[]){atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5])}, path);
    else if (!strcmp(kind, "idx") && argc == 5)
        rc = idx(3, atoi(argv[2]), atoi(argv[3]), 0, path);
    else if (!strcmp(kind, "listener") && argc == 4)
        rc = listener(!strcmp(argv[2], "steps"), path);
    else if ((!strcmp(kind, "sounds") || !strcmp(kind, "silence")) && argc == 4)
        rc = sounds(atoi(argv[2]), !strcmp(kind, "silence"), path);
    else if (!strcmp(kind, "spelling") && argc == 5)
        rc = spelling(atoi(argv[2]), atoi(argv[3]), path);
    else if (!strcmp(kind, "labels") && argc == 5)
        rc = idx(1, atoi(argv[2]), 0, atoi(argv[3]), path);
    if (rc)
        fprintf(stderr, "craft %s: cannot make '%s'%s%s\n", kind, path, err.msg[0] ? ": " : "",
                err.msg);
    return rc ? 1 : 0;
}
