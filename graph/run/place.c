/* Which steps of a plan a GPU does. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/ops/helper.h"
#include "graph/ops/pack.h"
#include "graph/own/own.h"
#include "graph/run/plan.h"
#include "kernels/gpu.h"
#include "kernels/kernels.h"

int mc_device_open(struct mc_session *s, const struct mc_session_opts *o, struct mc_err *err)
{
    struct mc_gpu *gpu = mc_pool_gpu(o->pool);
    if (!gpu || o->kernels || s->precision != MC_PRECISION_MODEL)
        return 0;
    s->gpu.gpu = gpu;
    s->gpu.kernels = mc_gpu_kernels(gpu);
    s->gpu.leave = getenv("MCOMPRESS_CPU_OPERATORS");
    return mc_pack_cache_new_gpu(gpu, &s->gpu.packs, err);
}

void mc_device_close(struct mc_session *s)
{
    if (!s->gpu.gpu)
        return;
    mc_pack_cache_free(s->gpu.packs);
    s->gpu.packs = NULL;
    mc_uploads_free(s, &s->gpu.uploads);
    mc_gpu_free(s->gpu.gpu, s->gpu.block);
    mc_gpu_free(s->gpu.gpu, s->gpu.states);
}

struct mc_gpu *mc_device_enter(const struct mc_session *s)
{
    return s->gpu.gpu ? mc_gpu_enter(s->gpu.gpu) : NULL;
}

void mc_device_leave(const struct mc_session *s, struct mc_gpu *before)
{
    if (s->gpu.gpu)
        mc_gpu_enter(before);
}

/* ---- what needs no kernel: bytes that move as they are ---- */

/* Reshape and the like, where the result has memory of its own. */
static int copy_run(struct mc_call *c, struct mc_err *err)
{
    size_t bytes = (size_t)mc_op_count(&c->in[0]) * (size_t)mc_op_elem_bytes(c->in[0].dtype);
    return mc_gpu_copy(mc_pool_gpu(c->pool), c->out[0].data, c->in[0].data, bytes, err);
}

/* MC_OP_PARTS: what is not in its place. */
static int parts_run(struct mc_call *c, struct mc_err *err)
{
    size_t n, elem = (size_t)mc_op_elem_bytes(c->in[0].dtype);
    const int64_t *offset = mc_node_ints(c->node, "offsets", &n);
    int rc = 0;
    for (int i = 0; i < c->n_out && !rc; i++) {
        const struct mc_buf *y = mc_op_res(c, i);
        const char *part = (const char *)c->in[0].data + (size_t)offset[i] * elem;
        if (y && y->data != part)
            rc = mc_gpu_copy(mc_pool_gpu(c->pool), y->data, part, (size_t)mc_op_count(y) * elem,
                             err);
    }
    return rc;
}

/* MC_OP_PACKS: the same, and zeros between. */
static int packs_run(struct mc_call *c, struct mc_err *err)
{
    size_t n, elem = (size_t)mc_op_elem_bytes(c->out[0].dtype);
    const int64_t *offset = mc_node_ints(c->node, "offsets", &n);
    char *block = c->out[0].data;
    int64_t end = 0;
    int rc = 0;
    for (int i = 0; i <= c->n_in && !rc; i++) {
        int64_t from = i < c->n_in ? offset[i] : mc_op_count(&c->out[0]);
        if (from > end)
            rc = mc_gpu_zero(mc_pool_gpu(c->pool), block + (size_t)end * elem,
                             (size_t)(from - end) * elem, err);
        if (rc || i == c->n_in)
            break;
        char *part = block + (size_t)from * elem;
        end = from + mc_op_count(&c->in[i]);
        if (c->in[i].data != part)
            rc = mc_gpu_copy(mc_pool_gpu(c->pool), part, c->in[i].data, (size_t)(end - from) * elem,
                             err);
    }
    return rc;
}

static const struct mc_op_gpu copies = {.run = copy_run}, parts = {.run = parts_run},
                              packs = {.run = packs_run};

/* ---- choosing ---- */

/* Is `name` a word of the list? */
static bool listed(const char *list, const char *name)
{
    static const char between[] = " ,";
    size_t n = strlen(name);
    for (const char *at = n ? list : NULL; at && *at; at += strcspn(at, between)) {
        at += strspn(at, between);
        if (!strncmp(at, name, n) && (!at[n] || strchr(between, at[n])))
            return true;
    }
    return false;
}

/* The row by which the GPU does a step, or NULL and why it does not. */
static const struct mc_op_gpu *row_of(const struct mc_session *s, const struct mc_step *st,
                                      const char **why)
{
    const struct mc_op *op = st->call.op;
    *why = NULL;
    if (st->lists || op->flags & MC_OP_LIST)
        *why = "works on sequences or optionals";
    else if (op->flags & MC_OP_BODY)
        *why = "runs a graph of its own";
    else if (st->boundary)
        *why = "the sizes of its results depend on data";
    else if (op->flags & MC_OP_HOST)
        *why = "works on shapes alone";
    else if (st->round != MC_DTYPE_NONE && !s->gpu.kernels->values.round)
        *why = "rounds to a half type";
    else if (listed(s->gpu.leave, op->name))
        *why = "left to the CPU by MCOMPRESS_CPU_OPERATORS";
    if (*why)
        return NULL;
    if (op->flags & MC_OP_VIEW)
        return &copies;
    const struct mc_op_gpu *row = mc_op_gpu_find(op);
    if (!row && op->flags & (MC_OP_PARTS | MC_OP_PACKS))
        return op->flags & MC_OP_PARTS ? &parts : &packs;
    if (!row)
        *why = "has no kernel for a GPU";
    else if (!(row->can ? row->can : mc_op_gpu_floats)(&st->call))
        *why = "has no kernel for a GPU for these types, shapes or attributes";
    return *why ? NULL : row;
}

static void choose(const struct mc_session *s, struct mc_step *st)
{
    const struct mc_kernels *k = st->call.k;
    st->call.k = s->gpu.kernels;
    st->call.packs = s->gpu.packs;
    st->gpu = row_of(s, st, &st->why);
    st->cpu_kernels = k;
    if (!st->gpu)
        mc_place_leave(s, st, st->why);
}

void mc_place_leave(const struct mc_session *s, struct mc_step *st, const char *why)
{
    st->gpu = NULL;
    st->why = why;
    st->call.k = st->cpu_kernels;
    st->call.packs = s->packs;
}

/* Its row in place of the operator's own functions. */
static int use_row(struct mc_plan *p, struct mc_step *st, struct mc_err *err)
{
    if (!st->gpu || !st->gpu->run)
        return 0;
    struct mc_op *op = mc_arena_memdup(&p->mem, st->call.op, sizeof *op);
    if (!op)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    op->setup = st->gpu->setup;
    op->run = st->gpu->run;
    op->teardown = st->gpu->teardown;
    st->call.op = op;
    return 0;
}

int mc_place_steps(struct mc_session *s, struct mc_plan *p, struct mc_err *err)
{
    if (!s->gpu.gpu)
        return 0;
    p->device = mc_arena_alloc(&p->mem, sizeof *p->device);
    if (!p->device)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (int i = 0; i < p->n_steps; i++)
        if (!p->steps[i].skip)
            choose(s, &p->steps[i]);
    int rc = s->gpu.leave ? 0 : mc_islands_drop(s, p, err);
    for (int i = 0; i < p->n_steps && !rc; i++)
        rc = use_row(p, &p->steps[i], err);
    return rc;
}

/* ---- constants ---- */

bool mc_place_host_in(const struct mc_step *st, int i)
{
    return !st->gpu || st->gpu->host_in >> (i < 63 ? i : 63) & 1;
}

static int constant(struct mc_session *s, struct mc_plan *p, const struct mc_value *v,
                    const struct mc_buf *b, void **ret, struct mc_err *err)
{
    size_t bytes = 0;
    mc_dtype_bytes(b->dtype, mc_shape_count(&b->shape), &bytes);
    const void *host = p->values[v->index].buf.data;
    bool all = s->consts[v->index].buf.data == host;
    return all ? mc_upload(s, &s->gpu.uploads, NULL, host, bytes, ret, err)
               : mc_upload(s, &p->device->uploads, NULL, host, bytes, ret, err);
}

static bool is_constant(const struct mc_plan *p, const struct mc_value *v)
{
    return v && p->values[v->index].buf.dtype != MC_DTYPE_NONE &&
           p->values[v->index].slot == MC_SLOT_NONE && p->values[v->index].buf.data;
}

/* Columns of a product, channels of a convolution: elements of what its epilogue holds for each. */
static size_t per_channel_bytes(const struct mc_step *st)
{
    const struct mc_node *n = st->call.node;
    const struct mc_shape *y = &st->call.out[0].shape;
    bool conv = strstr(n->op_type, "Conv") != NULL;
    return y->rank < 1 ? 0
                       : (size_t)y->dim[conv && y->rank > 1 ? 1 : y->rank - 1] *
                             (size_t)mc_op_elem_bytes(st->call.out[0].dtype);
}

static int epilogue(struct mc_session *s, struct mc_plan *p, struct mc_step *st, struct mc_err *err)
{
    const void **added[] = {&st->epilogue.scale, &st->epilogue.bias};
    int rc = 0;
    for (int i = 0; i < 2 && !rc; i++) {
        void *device;
        if (!*added[i])
            continue;
        rc =
            mc_upload(s, &p->device->uploads, NULL, *added[i], per_channel_bytes(st), &device, err);
        if (!rc)
            *added[i] = device;
    }
    if (!rc && is_constant(p, st->residual)) {
        void *device;
        rc = constant(s, p, st->residual, &st->call.out[0], &device, err);
        if (!rc)
            st->epilogue.residual = device;
    }
    return rc;
}

int mc_place_constants(struct mc_session *s, struct mc_plan *p, struct mc_step *st,
                       struct mc_err *err)
{
    int rc = 0;
    for (int i = 0; i < st->call.n_in && !rc; i++)
        if (is_constant(p, st->in[i]) && !mc_place_host_in(st, i))
            rc = constant(s, p, st->in[i], &st->call.in[i], &st->call.in[i].data, err);
    return rc || !st->call.epilogue ? rc : epilogue(s, p, st, err);
}
