/* Weights by codebook: an index of a few bits says which number of a short list a weight is.
 *
 * Source: Han et al., Deep Compression, 2016. Indices of 1, 2, 4 and 8 bits lie in bytes, the first in the lowest bits;
 * what a byte stands for is gathered at once: a table of index tuples makes the codebook one of tuples, which is small, so the
 * codebook itself stays short and can be trained. Indices of 3, 5, 6 and 7 bits do not fill bytes: bit p of all of them is
 * row p of a matrix of bits. No operator on bits stands in the bodies: OpenVINO computes with those wrongly. */
#include <stdlib.h>
#include <string.h>

#include "graph/constant.h"
#include "graph/own/own_body.h"
#include "graph/own/own_shared.h"

enum { I, D, TABLE, POWERS };

/* W = D[tuples][byte], cut and shaped. */
static int tuples_body(struct mc_own_body *b)
{
    int table = mc_body(b, "Cast", mc_body_in(b, TABLE));
    mc_body_int(b, "to", MC_DTYPE_I32);
    int book = mc_body(b, "Gather", mc_body_in(b, D), table);
    int index = mc_body(b, "Cast", mc_body_in(b, I));
    mc_body_int(b, "to", MC_DTYPE_I32);
    int tuples = mc_body(b, "Gather", book, index);
    int flat = mc_body_const(b, (const int64_t[]){-1}, 1);
    int whole = mc_body(b, "Reshape", tuples, flat);
    int from = mc_body_const(b, (const int64_t[]){0}, 1), to = mc_body_attr(b, "count");
    int cut = mc_body(b, "Slice", whole, from, to);
    int shape = mc_body_attr(b, "shape");
    return mc_body_end(b, mc_body(b, "Reshape", cut, shape));
}

/* The same with index = sum of bit p times 2^p. */
static int planes_body(struct mc_own_body *b)
{
    int byte = mc_body(b, "Cast", mc_body_in(b, I));
    mc_body_int(b, "to", MC_DTYPE_I32);
    int table = mc_body(b, "Cast", mc_body_in(b, TABLE));
    mc_body_int(b, "to", MC_DTYPE_I32);
    int bits = mc_body(b, "Gather", table, byte);
    int rows = mc_body_const(b, (const int64_t[]){0, -1}, 2);
    int planes = mc_body(b, "Reshape", bits, rows);
    int parts = mc_body(b, "Mul", planes, mc_body_in(b, POWERS));
    int axis = mc_body_const(b, (const int64_t[]){0}, 1);
    int index = mc_body(b, "ReduceSum", parts, axis);
    mc_body_int(b, "keepdims", 0);
    int from = mc_body_const(b, (const int64_t[]){0}, 1), to = mc_body_attr(b, "count");
    int cut = mc_body(b, "Slice", index, from, to);
    int w = mc_body(b, "Gather", mc_body_in(b, D), cut);
    int shape = mc_body_attr(b, "shape");
    return mc_body_end(b, mc_body(b, "Reshape", w, shape));
}

int mc_own_index_bits(const struct mc_node *call)
{
    size_t n;
    const int64_t *bits = mc_node_ints(call, "bits", &n);
    return n == 1 && bits[0] >= 1 && bits[0] <= 8 ? (int)bits[0] : 0;
}

/* Row v holds the numbers of `bits` bits in byte v. In bytes: of a small model integers of 32 bits would be a good part. */
static void bytes_table(int bits, struct mc_own_table *ret)
{
    enum { BYTES = 256 };
    int per = 8 / bits;
    ret->dtype = MC_DTYPE_U8;
    ret->shape = mc_shape_of(2, (const int64_t[]){BYTES, per});
    for (int i = 0; i < BYTES * per; i++)
        ret->at[i] = (float)(i / per >> i % per * bits & ((1 << bits) - 1));
}

static void tuples_table(const struct mc_node *call, int i, struct mc_own_table *ret)
{
    (void)i;
    bytes_table(mc_own_index_bits(call), ret);
}

static void planes_table(const struct mc_node *call, int i, struct mc_own_table *ret)
{
    int bits = mc_own_index_bits(call);
    if (i == 0) {
        bytes_table(1, ret);
        return;
    }
    ret->dtype = MC_DTYPE_I32;
    ret->shape = mc_shape_of(2, (const int64_t[]){bits, 1});
    for (int p = 0; p < bits; p++)
        ret->at[p] = (float)(1 << p);
}

static bool is_planes(const struct mc_node *call)
{
    return !strcmp(call->op_type, "SharedPlanes");
}

static int check(const struct mc_node *call, struct mc_err *err)
{
    const int64_t *count = NULL, *shape = NULL, *bits = NULL;
    size_t rank = 0;
    int rc = mc_own_need_ints(call, "bits", 1, &bits, NULL, err);
    rc = rc ? rc : mc_own_need_ints(call, "count", 1, &count, NULL, err);
    rc = rc ? rc : mc_own_need_ints(call, "shape", -1, &shape, &rank, err);
    if (rc)
        return rc;
    struct mc_shape whole = mc_shape_of((int)rank, shape);
    if (mc_shape_count(&whole) != count[0])
        return mc_own_fail(err, MC_ESHAPE, call, "shape %s does not hold %lld weights",
                           mc_shape_text(&whole, (char[MC_SHAPE_TEXT]){0}), (long long)count[0]);
    bool planes = is_planes(call);
    if (bits[0] > 8 || (planes ? bits[0] == 8 : 8 % bits[0] != 0))
        return mc_own_fail(err, MC_ESHAPE, call, "no indices of %lld bits", (long long)bits[0]);
    int64_t per = planes ? 8 : 8 / bits[0], bytes = count[0] / per + (count[0] % per != 0);
    rc = planes ? mc_own_need(call, I, MC_DTYPE_U8, 2, (const int64_t[]){bits[0], bytes}, err)
                : mc_own_need(call, I, MC_DTYPE_U8, 1, (const int64_t[]){bytes}, err);
    return rc ? rc
              : mc_own_need(call, D, MC_DTYPE_NONE, 1, (const int64_t[]){(int64_t)1 << bits[0]},
                            err);
}

static void size(const struct mc_node *call, int64_t *ret_weights, uint64_t *ret_bytes)
{
    struct mc_shape shape = mc_own_shape(call);
    *ret_weights = mc_shape_count(&shape);
    *ret_bytes = mc_own_bytes(call, I) + mc_own_bytes(call, D);
}

int64_t mc_own_index_bytes(int bits, bool planes, int64_t count)
{
    int64_t per = planes ? 8 : 8 / bits;
    return (planes ? bits : 1) * (count / per + (count % per != 0));
}

void mc_own_index_pack(const uint8_t *index, int bits, bool planes, int64_t count, uint8_t *data)
{
    int64_t bytes = (count + 7) / 8;
    int per = planes ? 8 : 8 / bits;
    memset(data, 0, (size_t)mc_own_index_bytes(bits, planes, count));
    for (int64_t i = 0; i < count && !planes; i++)
        data[i / per] |= (uint8_t)(index[i] << i % per * bits);
    for (int p = 0; p < bits && planes; p++)
        for (int64_t i = 0; i < count; i++)
            data[p * bytes + i / 8] |= (uint8_t)((index[i] >> p & 1) << i % 8);
}

/* Index i of `count`, packed as SharedWeight has them or (planes) as SharedPlanes has. */
static int index_at(const uint8_t *data, int bits, bool planes, int64_t count, int64_t i)
{
    if (!planes) {
        int per = 8 / bits;
        return data[i / per] >> i % per * bits & ((1 << bits) - 1);
    }
    int64_t bytes = (count + 7) / 8;
    int index = 0;
    for (int p = 0; p < bits; p++)
        index |= (data[p * bytes + i / 8] >> i % 8 & 1) << p;
    return index;
}

static int dense(const struct mc_node *call, struct mc_tensor **ret, struct mc_err *err)
{
    const struct mc_tensor *index = mc_own_constant(call, I);
    struct mc_shape shape = mc_own_shape(call);
    int64_t count = mc_shape_count(&shape), n;
    struct mc_tensor *t = NULL;
    float *book = NULL;
    void *w = NULL;
    if (!index)
        return mc_own_fail(err, MC_EUNSUP, call, "its indices are no constant");
    int rc = mc_constant_f32(call->in[D], &book, &n, err);
    if (!rc)
        rc = mc_tensor_new(MC_DTYPE_F32, &shape, call->graph->model->spill, &t, &w, err);
    for (int64_t i = 0; !rc && i < count; i++)
        ((float *)w)[i] =
            book[index_at(index->data, mc_own_index_bits(call), is_planes(call), count, i)];
    if (!rc)
        *ret = t;
    free(book);
    return rc;
}

static const char *const attrs[] = {"shape", "count", "bits", NULL};

const struct mc_own mc_own_shared[] = {
    {.name = "SharedWeight",
     .n_in = 2,
     .n_tables = 1,
     .inputs = (const char *const[]){"I", "D", "TUPLES"},
     .attrs = attrs,
     .roles = ".s",
     .body = tuples_body,
     .table = tuples_table,
     .check = check,
     .size = size,
     .dense = dense},
    {.name = "SharedPlanes",
     .n_in = 2,
     .n_tables = 2,
     .inputs = (const char *const[]){"I", "D", "BITS", "POWERS"},
     .attrs = attrs,
     .roles = ".s",
     .body = planes_body,
     .table = planes_table,
     .check = check,
     .size = size,
     .dense = dense},
    {0},
};
