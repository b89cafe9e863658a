#include <stdlib.h>

#include "graph/constant.h"
#include "graph/grad/update.h"

void mc_update_free(struct mc_update *u)
{
    for (size_t i = 0; u && i < u->n_states; i++)
        free(u->states[i].initial);
    if (u) {
        mc_arena_free(&u->mem);
        *u = (struct mc_update){0};
    }
}

static int store(struct mc_model *m, const struct mc_state *s, const struct mc_state_part *p,
                 const void *block, struct mc_err *err)
{
    struct mc_value *v = mc_graph_value(m->graph, p->name);
    const struct mc_tensor *old = v ? mc_constant(v) : NULL;
    struct mc_tensor *t;
    void *data;
    size_t n = (size_t)p->count;
    if (!old || !mc_shape_equal(&old->shape, &p->shape))
        return mc_fail(err, MC_EUSAGE, "the model has no constant '%s' of this shape", p->name);
    int rc = mc_tensor_new(old->dtype, &old->shape, m->spill, &t, &data, err);
    if (rc)
        return rc;
    if (s->dtype == MC_DTYPE_F64)
        rc = mc_dtype_from_f64(t->dtype, (const double *)block + p->offset, data, n, err);
    else
        rc = mc_dtype_from_f32(t->dtype, (const float *)block + p->offset, data, n, err);
    rc = rc ? rc : mc_constant_replace(v, t, err);
    mc_tensor_unref(t);
    return rc;
}

int mc_update_store(struct mc_model *m, const struct mc_state *s, const void *block,
                    struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < s->n_parts && !rc; i++)
        rc = store(m, s, &s->parts[i], block, err);
    return rc;
}
