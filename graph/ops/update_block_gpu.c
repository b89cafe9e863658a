/* What a step graph does with its blocks (update_block.c), on a GPU: numbers of the step stay in its memory, and kernels
 * read them there. So a step is the same work whatever they are, and can be recorded. */
#include "graph/grad/rule.h"
#include "graph/ops/helper.h"
#include "graph/ops/op_gpu.h"
#include "graph/ops/update_block.h"

enum { LR, STEP, NORM, APPLY }; /* scalars behind the blocks */

static void *data_of(const struct mc_buf *b)
{
    return b ? b->data : NULL;
}

/* ---- parts ---- */

static void add_part(const struct mc_call *c, struct mc_parts *p, void *dst, const void *src,
                     int64_t n)
{
    if (dst == src || n < 1)
        return;
    p->size[p->n] = n;
    p->src[p->n] = src;
    p->dst[p->n++] = dst;
    if (p->n == MC_PARTS) {
        c->k->optim.parts(p, c->pool);
        p->n = 0;
    }
}

static void end_parts(const struct mc_call *c, const struct mc_parts *p)
{
    if (p->n)
        c->k->optim.parts(p, c->pool);
}

static int unpack_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t n;
    const int64_t *offset = mc_node_ints(c->node, "offsets", &n);
    struct mc_parts p = {0};
    for (int i = 0; i < c->n_out; i++) {
        struct mc_buf *y = mc_op_res(c, i);
        if (y)
            add_part(c, &p, y->data, (float *)c->in[0].data + offset[i], mc_op_count(y));
    }
    end_parts(c, &p);
    return 0;
}

static int pack_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    size_t n;
    const int64_t *offset = mc_node_ints(c->node, "offsets", &n);
    float *block = c->out[0].data;
    struct mc_parts p = {0};
    int64_t end = 0;
    for (int i = 0; i <= c->n_in; i++) {
        int64_t from = i < c->n_in ? offset[i] : mc_op_count(&c->out[0]);
        add_part(c, &p, block + end, NULL, from - end);
        if (i == c->n_in)
            break;
        add_part(c, &p, block + from, c->in[i].data, mc_op_count(&c->in[i]));
        end = from + mc_op_count(&c->in[i]);
    }
    end_parts(c, &p);
    return 0;
}

/* ---- norm ---- */

static int norm_setup(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    int64_t chunks = mc_op_count(&c->in[0]) / MC_SQUARES_CHUNK + 1;
    c->scratch_bytes = (size_t)chunks * sizeof(double);
    return 0;
}

static int norm_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_squares s = {mc_op_count(&c->in[0]), c->in[0].data, c->scratch};
    c->k->optim.root(&s, c->out[0].data, c->pool);
    return 0;
}

/* ---- steps ---- */

/* Inputs as of Ema and Keep: -1 where there is none. */
static struct mc_step_at at_of(const struct mc_call *c, int lr, int step, int norm, int apply)
{
    const struct mc_buf *s = step < 0 ? NULL : mc_op_arg(c, step);
    const struct mc_buf *a = apply < 0 ? NULL : mc_op_arg(c, apply);
    return (struct mc_step_at){.lr = lr < 0 ? NULL : c->in[lr].data,
                               .norm = norm < 0 ? NULL : c->in[norm].data,
                               .step = data_of(s),
                               .apply = data_of(a),
                               .step_bytes = s ? mc_op_elem_bytes(s->dtype) : 0,
                               .apply_bytes = a ? mc_op_elem_bytes(a->dtype) : 0,
                               .clip = mc_update_number(c->node, "clip")};
}

static int sgd_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_node *n = c->node;
    const struct mc_sgd s = {.n = mc_op_count(&c->in[0]),
                             .decays = mc_node_int(n, "decays", 0),
                             .scale = 1,
                             .momentum = mc_update_number(n, "momentum"),
                             .decay = mc_update_number(n, "decay"),
                             .nesterov = mc_node_int(n, "nesterov", 0) != 0,
                             .grad = c->in[2].data,
                             .w = c->in[0].data,
                             .m = data_of(mc_op_arg(c, 1)),
                             .w_new = c->out[0].data,
                             .m_new = data_of(mc_op_res(c, 1)),
                             .at = at_of(c, 3 + LR, -1, 3 + NORM, 3 + APPLY)};
    c->k->optim.sgd(&s, c->pool);
    return 0;
}

static int adam_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_node *n = c->node;
    const struct mc_adam a = {.n = mc_op_count(&c->in[0]),
                              .decays = mc_node_int(n, "decays", 0),
                              .scale = 1,
                              .beta1 = mc_update_number(n, "beta1"),
                              .beta2 = mc_update_number(n, "beta2"),
                              .epsilon = mc_update_number(n, "epsilon"),
                              .decay = mc_update_number(n, "decay"),
                              .decoupled = mc_node_int(n, "decoupled", 0) != 0,
                              .grad = c->in[3].data,
                              .w = c->in[0].data,
                              .m = c->in[1].data,
                              .v = c->in[2].data,
                              .w_new = c->out[0].data,
                              .m_new = c->out[1].data,
                              .v_new = c->out[2].data,
                              .at = at_of(c, 4 + LR, 4 + STEP, 4 + NORM, 4 + APPLY)};
    c->k->optim.adam(&a, c->pool);
    return 0;
}

static int ema_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_blend b = {.n = mc_op_count(&c->in[0]),
                               .a = mc_update_number(c->node, "decay"),
                               .x = c->in[0].data,
                               .y = c->in[1].data,
                               .z = c->out[0].data,
                               .at = at_of(c, -1, 2, 3, 4)};
    c->k->optim.blend(&b, c->pool);
    return 0;
}

static int accumulate_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_blend b = {.n = mc_op_count(&c->in[0]),
                               .a = 1,
                               .x = c->in[0].data,
                               .y = c->in[1].data,
                               .z = c->out[0].data,
                               .b_at = c->in[2].data};
    c->k->optim.blend(&b, c->pool);
    return 0;
}

static int clear_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_choose choose = {.n = mc_op_count(&c->in[0]),
                                     .y = c->in[0].data,
                                     .z = c->out[0].data,
                                     .at = at_of(c, -1, -1, -1, 1)};
    c->k->optim.choose(&choose, c->pool);
    return 0;
}

static int keep_run(struct mc_call *c, struct mc_err *err)
{
    (void)err;
    const struct mc_choose choose = {.n = mc_op_count(&c->in[0]),
                                     .x = c->in[1].data,
                                     .y = c->in[0].data,
                                     .z = c->out[0].data,
                                     .at = at_of(c, -1, -1, 2, -1)};
    c->k->optim.choose(&choose, c->pool);
    return 0;
}

static bool can(const struct mc_call *c)
{
    const struct mc_optim_kernels *o = &c->k->optim;
    return mc_op_gpu_floats(c) && o->sgd && o->adam && o->blend && o->root && o->choose && o->parts;
}

#define GPU(name, ...)                                                                             \
    {                                                                                              \
        MC_GRAD_DOMAIN, name, .can = can, __VA_ARGS__                                              \
    }
const struct mc_op_gpu mc_op_gpu_update_block[] = {
    GPU("Unpack", .run = unpack_run),
    GPU("Pack", .run = pack_run),
    GPU("BlockNorm", .setup = norm_setup, .run = norm_run),
    GPU("Sgd", .run = sgd_run),
    GPU("Adam", .run = adam_run),
    GPU("Ema", .run = ema_run),
    GPU("Accumulate", .run = accumulate_run),
    GPU("Clear", .run = clear_run),
    GPU("Keep", .run = keep_run),
    {0},
};
