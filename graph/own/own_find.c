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

/* In pieces: a table is compared without memory of its own. */
static bool holds(const struct mc_tensor *t, const struct mc_own_table *want)
{
    enum { PIECE = 128 };
    double piece[PIECE]; /* no element is wider */
    size_t n = (size_t)mc_shape_count(&want->shape), wide = mc_dtype_info(want->dtype)->bits / 8;
    struct mc_err none;
    if (!t || !t->data || t->dtype != want->dtype || !mc_shape_equal(&t->shape, &want->shape))
        return false;
    for (size_t at = 0; at < n; at += PIECE) {
        size_t k = n - at < PIECE ? n - at : PIECE;
        if (mc_dtype_from_f32(want->dtype, want->at + at, piece, k, &none) ||
            memcmp(t->data + at * wide, piece, k * wide) != 0)
            return false;
    }
    return true;
}

static bool has_tables(const struct mc_own *own, const struct mc_node *n)
{
    for (int i = 0; i < own->n_tables; i++) {
        struct mc_own_table want = {0};
        own->table(n, i, &want);
        if (!holds(mc_own_constant(n, (size_t)(own->n_in + i)), &want))
            return false;
    }
    return true;
}

static bool has_attr(const struct mc_own *own, const char *name)
{
    for (size_t i = 0; own->attrs && own->attrs[i]; i++)
        if (!strcmp(own->attrs[i], name))
            return true;
    return false;
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
    for (size_t i = 0; i < n->n_attr; i++)
        if (!has_attr(own, n->attr[i].name))
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
