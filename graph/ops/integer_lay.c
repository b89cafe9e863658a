/* Channels last or not: what steps on integers have in common. */
#include <string.h>

#include "graph/ops/helper.h"
#include "graph/ops/int8.h"
#include "graph/ops/integer_step.h"

struct planes { /* of a tensor [n, c, …]; both layouts are the same where one of them is 1 */
    int64_t n, c, inner;
};

static struct planes planes_of(const struct mc_shape *s)
{
    struct planes p = {1, 1, 1};
    if (s->rank < 3)
        return p;
    p.n = s->dim[0];
    p.c = s->dim[1];
    p.inner = mc_shape_span(s, 2, s->rank);
    return p;
}

static bool same(const struct mc_shape *s, bool a, bool b)
{
    struct planes p = planes_of(s);
    return a == b || p.c <= 1 || p.inner <= 1;
}

/* From one layout to the other, `last` being that of the result. */
static void rearrange(const struct mc_call *c, const struct mc_shape *s, bool last,
                      const uint8_t *from, uint8_t *to)
{
    struct planes p = planes_of(s);
    int64_t rows = last ? p.c : p.inner, cols = last ? p.inner : p.c;
    c->k->rows_s8.transpose(p.n, rows, cols, from, to, c->pool);
}

const uint8_t *mc_integer_in(const struct mc_call *c, int i, bool last, size_t *at)
{
    const struct mc_buf *x = &c->in[i];
    if (same(&x->shape, c->integer->x[i].last, last))
        return x->data;
    uint8_t *to = mc_op_scratch(c, at, (size_t)mc_op_count(x));
    if (to)
        rearrange(c, &x->shape, last, x->data, to);
    return to;
}

uint8_t *mc_integer_out(const struct mc_call *c, bool last, size_t *at)
{
    const struct mc_buf *y = &c->out[0];
    if (same(&y->shape, c->integer->y.last, last))
        return y->data;
    return mc_op_scratch(c, at, (size_t)mc_op_count(y));
}

void mc_integer_give(const struct mc_call *c, bool last, const uint8_t *made)
{
    const struct mc_buf *y = &c->out[0];
    if (made != y->data)
        rearrange(c, &y->shape, !last, made, y->data);
}

/* ---- the ends of a region ---- */

static struct mc_quant_row row_of(const struct mc_integer_side *side, enum mc_dtype dtype)
{
    struct mc_quant_row r = {.zero = side->zero, .scale = &side->scale};
    mc_int8_range(dtype, &r.lo, &r.hi);
    return r;
}

static int quantize_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0;
    mc_integer_out(c, false, &at);
    c->scratch_bytes = at;
    return 0;
}

static int quantize_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0;
    uint8_t *y = mc_integer_out(c, false, &at);
    struct mc_quant_row r = row_of(&c->integer->y, c->out[0].dtype);
    mc_int8_quantize(&c->k->quant, &r, mc_op_count(&c->in[0]), c->in[0].data, y, c->pool);
    mc_integer_give(c, false, y);
    return 0;
}

static int dequantize_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0;
    mc_integer_in(c, 0, false, &at);
    c->scratch_bytes = at;
    return 0;
}

static int dequantize_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t at = 0;
    const uint8_t *x = mc_integer_in(c, 0, false, &at);
    struct mc_quant_row r = row_of(&c->integer->x[0], c->in[0].dtype);
    mc_int8_dequantize(&c->k->quant, &r, mc_op_count(&c->in[0]), x, c->out[0].data, c->pool);
    return 0;
}

const struct mc_op mc_op_integer_quantize = {.name = "",
                                             .setup = quantize_setup,
                                             .run = quantize_run};
const struct mc_op mc_op_integer_dequantize = {.name = "",
                                               .setup = dequantize_setup,
                                               .run = dequantize_run};
