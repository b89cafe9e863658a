/* States: an input and an output that are one memory, from run to run. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/run/plan.h"
#include "kernels/gpu.h"

static int make(struct mc_session *s, const struct mc_session_state *want, struct mc_bound *b,
                struct mc_err *err)
{
    struct mc_value *in = want->in ? mc_graph_value(s->g, want->in) : NULL;
    struct mc_value *out = want->out ? mc_graph_value(s->g, want->out) : NULL;
    if (!in || !in->is_input || mc_constant(in))
        return mc_fail(err, MC_EUSAGE, "the state '%s' is no input without content",
                       want->in ? want->in : "");
    if (!out || !out->is_output)
        return mc_fail(err, MC_EUSAGE, "the state '%s' has no output '%s'", want->in,
                       want->out ? want->out : "");
    const struct mc_type *t = &in->type;
    struct mc_shape shape = {.rank = t->rank};
    bool fixed = t->kind == MC_TYPE_TENSOR && t->ranked && t->rank <= MC_RANK_MAX;
    for (int i = 0; fixed && i < t->rank; i++) {
        fixed = t->dim[i].value >= 0;
        shape.dim[i] = t->dim[i].value;
    }
    struct mc_buf buf = {mc_run_dtype(s->precision, t->dtype), false, shape, NULL};
    if (!fixed || !mc_dtype_bytes(buf.dtype, mc_shape_count(&shape), &b->bytes))
        return mc_fail(err, MC_EUSAGE, "the state '%s' has no fixed shape and type", in->name);
    for (const struct mc_bound *other = s->states; other < b; other++)
        if (other->in == in || other->out == out)
            return mc_fail(err, MC_EUSAGE, "the state '%s' with output '%s' is in two pairs",
                           in->name, out->name);
    buf.data = mc_alloc_aligned(b->bytes);
    if (!buf.data)
        return mc_fail(err, MC_ENOMEM, "out of memory: %zu bytes for the state '%s'", b->bytes,
                       in->name);
    if (!s->gpu.gpu)
        memset(buf.data, 0, b->bytes);
    b->in = in;
    b->out = out;
    b->buf = buf;
    s->pinned[out->index] = true;
    return 0;
}

/* Their memory on the GPU, in one piece. */
static int make_device(struct mc_session *s, struct mc_err *err)
{
    enum { ALIGN = 256 };
    size_t total = 0, at = 0;
    for (size_t i = 0; i < s->n_states; i++)
        if (!mc_size_add(total, s->states[i].bytes + ALIGN - 1, &total))
            return mc_fail(err, MC_ENOMEM, "out of memory: the states have too many bytes");
    int rc = mc_gpu_alloc(s->gpu.gpu, total, &s->gpu.states, err);
    if (rc)
        return rc;
    s->gpu.state_bytes = total;
    for (size_t i = 0; i < s->n_states; i++) {
        s->states[i].device = (char *)s->gpu.states + at;
        at += (s->states[i].bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    }
    return mc_gpu_zero(s->gpu.gpu, s->gpu.states, total, err);
}

int mc_states_make(struct mc_session *s, const struct mc_session_opts *o, struct mc_err *err)
{
    s->states = mc_arena_array(&s->mem, o->n_state + 1, sizeof *s->states);
    if (!s->states)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < o->n_state; i++) {
        int rc = make(s, &o->state[i], &s->states[i], err);
        if (rc)
            return rc;
        s->n_states++;
    }
    return s->gpu.gpu && s->n_states ? make_device(s, err) : 0;
}

void mc_states_free(struct mc_session *s)
{
    for (size_t i = 0; i < s->n_states; i++)
        free(s->states[i].buf.data);
}

int mc_states_check(const struct mc_session *s, const struct mc_plan *p, struct mc_err *err)
{
    char want[MC_SHAPE_TEXT], got[MC_SHAPE_TEXT];
    for (size_t i = 0; i < s->n_states; i++) {
        const struct mc_bound *b = &s->states[i];
        const struct mc_buf *out = &p->values[b->out->index].buf;
        if (out->dtype != b->buf.dtype || !mc_shape_equal(&out->shape, &b->buf.shape))
            return mc_fail(err, MC_ESHAPE, "the state '%s' is %s %s, but its output '%s' %s %s",
                           b->in->name, mc_dtype_name(b->buf.dtype),
                           mc_shape_text(&b->buf.shape, want), b->out->name,
                           mc_dtype_name(out->dtype), mc_shape_text(&out->shape, got));
    }
    return 0;
}

static const struct mc_bound *find(const struct mc_session *s, const char *name, size_t bytes,
                                   struct mc_err *err)
{
    for (size_t i = 0; i < s->n_states; i++) {
        const struct mc_bound *b = &s->states[i];
        if (strcmp(b->in->name, name))
            continue;
        if (b->bytes == bytes)
            return b;
        mc_fail(err, MC_EUSAGE, "the state '%s' has %zu bytes, not %zu", name, b->bytes, bytes);
        return NULL;
    }
    mc_fail(err, MC_EUSAGE, "the session has no state '%s'", name);
    return NULL;
}

int mc_session_store(struct mc_session *s, const char *state, const void *data, size_t bytes,
                     struct mc_err *err)
{
    const struct mc_bound *b = find(s, state, bytes, err);
    if (!b)
        return MC_EUSAGE;
    if (s->gpu.gpu) {
        struct mc_gpu *before = mc_device_enter(s);
        int rc = mc_gpu_put(s->gpu.gpu, b->device, data, bytes, err);
        mc_device_leave(s, before);
        return rc;
    }
    if (bytes)
        memcpy(b->buf.data, data, bytes);
    return 0;
}

int mc_session_fetch(const struct mc_session *s, const char *state, void *data, size_t bytes,
                     struct mc_err *err)
{
    const struct mc_bound *b = find(s, state, bytes, err);
    if (!b)
        return MC_EUSAGE;
    if (s->gpu.gpu) {
        struct mc_gpu *before = mc_device_enter(s);
        int rc = mc_gpu_get(s->gpu.gpu, data, b->device, bytes, err);
        mc_device_leave(s, before);
        return rc;
    }
    if (bytes)
        memcpy(data, b->buf.data, bytes);
    return 0;
}
