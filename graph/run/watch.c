#include "base/mem.h"
#include "graph/run/plan.h"

int mc_watch_make(struct mc_session *s, const struct mc_session_watch *w, struct mc_err *err)
{
    if (!w)
        return 0;
    s->watch = *w;
    s->watched = mc_arena_array(&s->mem, s->g->n_values + 1, sizeof *s->watched);
    if (!s->watched)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < w->n; i++) {
        const struct mc_value *v = mc_graph_value(s->g, w->names[i]);
        if (!v)
            return mc_fail(err, MC_EUSAGE, "the model has no value '%s'", w->names[i]);
        s->watched[v->index] = i + 1;
        s->apart[v->index] = true;
    }
    return 0;
}

int mc_watch_tell(const struct mc_session *s, const struct mc_value *v, const struct mc_buf *b,
                  struct mc_err *err)
{
    if (!v || !s->watched || !s->watched[v->index])
        return 0;
    size_t i = s->watched[v->index] - 1;
    struct mc_array a = {s->watch.names[i], b->dtype, b->shape, b->data, 0};
    mc_dtype_bytes(a.dtype, mc_shape_count(&a.shape), &a.bytes);
    return s->watch.fn(s->watch.ctx, i, &a, err);
}

int mc_watch_step(const struct mc_session *s, const struct mc_plan *p, const struct mc_step *st,
                  struct mc_err *err)
{
    int rc = 0;
    for (int j = 0; s->watched && j < st->call.n_out && !rc; j++) {
        const struct mc_value *v = st->out[j];
        const struct mc_live *l = v && st->boundary ? &s->live[v->index] : NULL;
        if (!l && v) {
            struct mc_buf b = st->call.out[j];
            b.data = mc_plan_data(s, p, v);
            rc = mc_watch_tell(s, v, &b, err);
        } else if (l && mc_live_there(l) && !l->list) {
            rc = mc_watch_tell(s, v, &l->buf, err);
        }
    }
    return rc;
}
