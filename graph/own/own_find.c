/* Which function a node calls. */
#include <string.h>

#include "graph/constant.h"
#include "graph/own/own_body.h"
#include "graph/own/own_registry.h"

const struct mc_own *mc_own_at(size_t i)
{
    for (const struct mc_own *const *f = mc_own_families; *f; f++)
        for (const struct mc_own *own = *f; own->name; own++)
            if (i-- == 0)
                return own;
    return NULL;
}

const struct mc_own *mc_own_lookup(const char *name)
{
    for (const struct mc_own *const *f = mc_own_families; *f; f++)
        for (const struct mc_own *own = *f; own->name; own++)
            if (strcmp(own->name, name) == 0)
                return own;
    return NULL;
}

static bool has_tables(const struct mc_own *own, const struct mc_node *n)
{
    bool same = true;
    for (int i = 0; same && i < own->n_tables; i++) {
        const struct mc_tensor *t = mc_own_constant(n, (size_t)(own->n_in + i));
        struct mc_tensor *want = NULL;
        struct mc_err none;
        same = t && t->data && !own->table(n, i, &want, &none);
        same = same && t->dtype == want->dtype && mc_shape_equal(&t->shape, &want->shape) &&
               t->bytes == want->bytes && !memcmp(t->data, want->data, t->bytes);
        mc_tensor_unref(want);
    }
    return same;
}

const struct mc_own *mc_own_find(const struct mc_node *n)
{
    struct mc_err none;
    if (strcmp(n->domain, MC_OWN_DOMAIN) != 0 || *n->overload)
        return NULL;
    const struct mc_own *own = mc_own_lookup(n->op_type);
    const struct mc_function *f =
        own ? mc_model_function(n->graph->model, MC_OWN_DOMAIN, own->name, "") : NULL;
    if (!f || n->n_in != (size_t)(own->n_in + own->n_tables) || n->n_out != 1 ||
        !mc_own_body_is(own, f))
        return NULL;
    /* Tables of a call that does not fit cannot be made: who runs it will say what is wrong. */
    return own->check(n, &none) || has_tables(own, n) ? own : NULL;
}

int mc_own_check(const struct mc_node *n, struct mc_err *err)
{
    const struct mc_own *own = mc_own_find(n);
    if (own)
        return own->check(n, err);
    return mc_own_fail(err, MC_EFORMAT, n, "is not a function that mcompress writes");
}
