/* EmbedLayerNormalization of com.microsoft: sums of embeddings of words, positions and segments, normalised. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/index.h"
#include "graph/ops/op_gpu.h"

enum { WORDS, SEGMENTS, WORD_TABLE, POSITION_TABLE, SEGMENT_TABLE, GAMMA, BETA, MASK, POSITIONS };
enum { Y, MASK_COUNT, SUM }; /* outputs */

static int embed_infer(struct mc_infer_ctx *c, struct mc_err *err)
{
    int rc = mc_op_arity(c, 1, 9, err);
    static const int whole[] = {WORDS, SEGMENTS, MASK, POSITIONS};
    static const int tables[] = {WORD_TABLE, POSITION_TABLE, SEGMENT_TABLE, GAMMA, BETA};
    if (rc)
        return rc;
    if (c->n_in < 7 || (!c->in[WORDS] || !c->in[WORD_TABLE] || !c->in[POSITION_TABLE] ||
                        !c->in[GAMMA] || !c->in[BETA] || !c->in[SEGMENTS] != !c->in[SEGMENT_TABLE]))
        return mc_op_fail(err, MC_ESHAPE, c->node, "an input is missing");
    int64_t columns = MC_DIM_ANY, same;
    for (int i = 0; i < 4 && !rc; i++) {
        rc = mc_op_need_index(c, whole[i], err);
        rc = rc ? rc : mc_op_need_rank(c, whole[i], 2, 2, err);
        const struct mc_vtype *x = mc_op_in(c, whole[i]);
        for (int d = 0; d < 2 && !rc && x && x->ranked && c->in[WORDS]->ranked; d++)
            /* Positions may be one row for all. */
            if (whole[i] != POSITIONS || d == 1 || x->shape.dim[0] != 1)
                rc = mc_op_need_dim(c->node, "words and what goes with them", x->shape.dim[d],
                                    c->in[WORDS]->shape.dim[d], &same, err);
    }
    for (int i = 0; i < 5 && !rc; i++) {
        const struct mc_vtype *x = c->in[tables[i]];
        if (!x)
            continue;
        rc = mc_op_need_float(c, tables[i], err);
        rc = rc ? rc : mc_op_need_same(c, WORD_TABLE, tables[i], err);
        int rank = tables[i] < GAMMA ? 2 : 1;
        rc = rc ? rc : mc_op_need_rank(c, tables[i], rank, rank, err);
        if (!rc && x->ranked)
            rc = mc_op_need_dim(c->node, "columns", x->shape.dim[rank - 1], columns, &columns, err);
    }
    if (rc)
        return rc;
    const struct mc_vtype *x = c->in[WORDS];
    struct mc_shape y = {3, {MC_DIM_ANY, MC_DIM_ANY, columns}}, count = {1, {MC_DIM_ANY}};
    for (int d = 0; d < 2 && x->ranked; d++)
        y.dim[d] = x->shape.dim[d];
    count.dim[0] = y.dim[0];
    mc_op_give(c, Y, c->in[WORD_TABLE]->dtype, &y);
    mc_op_give(c, MASK_COUNT, MC_DTYPE_I32, &count);
    mc_op_give(c, SUM, c->in[WORD_TABLE]->dtype, &y);
    return 0;
}

static int64_t whole_at(const struct mc_buf *b, int64_t i)
{
    return b->dtype == MC_DTYPE_I32 ? ((const int32_t *)b->data)[i] : ((const int64_t *)b->data)[i];
}

/* to = row `at` of a table, or to + row. */
static int take(const struct mc_call *c, int table, int64_t at, bool add, void *to,
                struct mc_err *err)
{
    const struct mc_buf *t = &c->in[table];
    int64_t n = t->shape.dim[1];
    if (at < 0 || at >= t->shape.dim[0])
        return mc_op_fail(err, MC_EDATA, c->node, "index %lld is outside %lld of input %d",
                          (long long)at, (long long)t->shape.dim[0], table);
    const char *row = (const char *)t->data + at * n * c->k->elem_bytes;
    struct mc_binary sum = {.fn = MC_BINARY_ADD,
                            .rank = 1,
                            .dim = {n},
                            .stride = {{1}, {1}},
                            .x = to,
                            .y = row,
                            .z = to};
    if (add)
        c->k->elementwise.binary(&sum, c->pool);
    else if (n > 0)
        memcpy(to, row, (size_t)(n * c->k->elem_bytes));
    return 0;
}

static int embed_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *words = &c->in[WORDS], *segments = mc_op_arg(c, SEGMENTS);
    const struct mc_buf *positions = mc_op_arg(c, POSITIONS), *mask = mc_op_arg(c, MASK);
    struct mc_buf *count = mc_op_res(c, MASK_COUNT), *sum = mc_op_res(c, SUM);
    int64_t batch = words->shape.dim[0], n = words->shape.dim[1];
    int64_t columns = c->in[WORD_TABLE].shape.dim[1];
    char *out = sum ? sum->data : c->out[Y].data;
    int rc = 0;
    for (int64_t i = 0; i < batch * n && !rc; i++) {
        char *to = out + i * columns * c->k->elem_bytes;
        int64_t from = positions && mc_op_count(positions) == n ? i % n : i;
        rc = take(c, WORD_TABLE, whole_at(words, i), false, to, err);
        rc = rc ? rc
                : take(c, POSITION_TABLE, positions ? whole_at(positions, from) : i % n, true, to,
                       err);
        if (segments && !rc)
            rc = take(c, SEGMENT_TABLE, whole_at(segments, i), true, to, err);
    }
    for (int64_t b = 0; count && b < batch; b++) { /* length of the mask, 0 without one */
        int32_t ones = 0;
        for (int64_t i = 0; mask && i < n; i++)
            ones += whole_at(mask, b * n + i) == 1;
        ((int32_t *)count->data)[b] = ones;
    }
    struct mc_norm m = {.rows = batch * n,
                        .n = columns,
                        .eps = (double)mc_node_float(c->node, "epsilon", 1e-12f),
                        .x = out,
                        .scale = c->in[GAMMA].data,
                        .bias = c->in[BETA].data,
                        .y = c->out[Y].data};
    if (!rc)
        c->k->nn.norm(&m, c->pool);
    return rc;
}

const struct mc_op mc_ops_embedding[] = {
    {"com.microsoft", "EmbedLayerNormalization", 1, 0, embed_infer, NULL, embed_run, NULL, NULL,
     NULL},
    {0},
};

/* ---- on a GPU: rows gathered by places, then added; no length of a mask ---- */

static bool gpu_can(const struct mc_call *c)
{
    return mc_op_gpu_floats(c) && !mc_op_res(c, MASK_COUNT) && c->k->places.find &&
           c->k->move.gather && c->k->elementwise.binary && c->k->nn.norm && c->k->values.steps;
}

static size_t gpu_scratch(const struct mc_call *c, int64_t **places, int64_t **numbers, void **rows)
{
    size_t at = 0, n = (size_t)mc_op_count(&c->in[WORDS]);
    *places = mc_op_scratch(c, &at, n * sizeof(int64_t));
    *numbers = mc_op_scratch(c, &at, n * sizeof(int64_t));
    *rows = mc_op_scratch(c, &at, n * (size_t)c->in[WORD_TABLE].shape.dim[1] * sizeof(float));
    return at;
}

static int gpu_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    int64_t *places, *numbers;
    void *rows;
    c->scratch_bytes = gpu_scratch(c, &places, &numbers, &rows);
    return 0;
}

/* `to` = the rows of a table that n indices name, or that plus them; `at` NULL: rows 0, 1, … */
static int gpu_take(const struct mc_call *c, int table, const struct mc_buf *at, int64_t n,
                    bool add, void *to, struct mc_err *err)
{
    const struct mc_buf *t = &c->in[table];
    int64_t columns = t->shape.dim[1], *places, *numbers;
    void *rows;
    gpu_scratch(c, &places, &numbers, &rows);
    struct mc_buf own = {.dtype = MC_DTYPE_I64, .shape = {1, {n}}, .data = numbers};
    if (!at) {
        const struct mc_steps steps = {.type = MC_ELEM_I64, .n = n, .step = 1, .y = numbers};
        c->k->values.steps(&steps);
        at = &own;
    }
    struct mc_places p = {
        .rank = 1, .dim = {n}, .depth = 1, .size = {t->shape.dim[0]}, .step = {1}, .place = places};
    int rc = mc_index_places(c, at, &p, err);
    if (rc)
        return rc;
    const struct mc_gather g = {.outer = 1,
                                .axis = t->shape.dim[0],
                                .n = n,
                                .inner = (size_t)columns * sizeof(float),
                                .index = places,
                                .src = t->data,
                                .dst = add ? rows : to};
    c->k->move.gather(&g, c->pool);
    if (!add)
        return 0;
    int64_t all = mc_op_count(&c->in[WORDS]) / (n > 0 ? n : 1);
    struct mc_binary sum = {.fn = MC_BINARY_ADD,
                            .rank = 2,
                            .dim = {all, n * columns},
                            .stride = {{n * columns, 1}, {0, 1}},
                            .x = to,
                            .y = rows,
                            .z = to};
    c->k->elementwise.binary(&sum, c->pool);
    return 0;
}

static int gpu_run(struct mc_call *c, struct mc_err *err)
{
    const struct mc_buf *words = &c->in[WORDS], *segments = mc_op_arg(c, SEGMENTS);
    const struct mc_buf *positions = mc_op_arg(c, POSITIONS);
    struct mc_buf *sum = mc_op_res(c, SUM);
    int64_t all = mc_op_count(words), n = words->shape.dim[1];
    void *out = sum ? sum->data : c->out[Y].data;
    int rc = all > 0 ? gpu_take(c, WORD_TABLE, words, all, false, out, err) : 0;
    if (!rc && all > 0)
        rc = gpu_take(c, POSITION_TABLE, positions, positions ? mc_op_count(positions) : n, true,
                      out, err);
    if (!rc && all > 0 && segments)
        rc = gpu_take(c, SEGMENT_TABLE, segments, all, true, out, err);
    const struct mc_norm m = {.rows = all,
                              .n = c->in[WORD_TABLE].shape.dim[1],
                              .eps = (double)mc_node_float(c->node, "epsilon", 1e-12f),
                              .x = out,
                              .scale = c->in[GAMMA].data,
                              .bias = c->in[BETA].data,
                              .y = c->out[Y].data};
    if (!rc && all > 0)
        c->k->nn.norm(&m, c->pool);
    return rc;
}

const struct mc_op_gpu mc_op_gpu_embedding[] = {
    {"com.microsoft", "EmbedLayerNormalization", .can = gpu_can, .setup = gpu_setup,
     .run = gpu_run},
    {0},
};
