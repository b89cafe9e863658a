/* Dimensions whose value is not known: named by the model, or inference's own. */
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "graph/infer_table.h"

static bool append(struct mc_infer *inf, const char *name, uint64_t hash, int64_t *ret_dim)
{
    if (!MC_GROW(inf->symbols, inf->n_symbols, inf->cap_symbols))
        return false;
    inf->symbols[inf->n_symbols] = (struct mc_infer_symbol){name, hash, -1, false};
    *ret_dim = -2 - (int64_t)inf->n_symbols++;
    return true;
}

bool mc_infer_fresh(struct mc_infer *inf, int64_t *ret_dim)
{
    return append(inf, NULL, 0, ret_dim);
}

static size_t *probe(const struct mc_infer *inf, const char *name, uint64_t hash)
{
    size_t i = hash & (inf->n_slots - 1);
    for (; inf->slots[i]; i = (i + 1) & (inf->n_slots - 1)) {
        const struct mc_infer_symbol *s = &inf->symbols[inf->slots[i] - 1];
        if (s->hash == hash && strcmp(s->name, name) == 0)
            break;
    }
    return &inf->slots[i];
}

static bool grow(struct mc_infer *inf)
{
    size_t n = inf->n_slots ? 2 * inf->n_slots : 16, old_n = inf->n_slots;
    size_t *old = inf->slots, *slots = mc_calloc(n, sizeof *slots);
    if (!slots)
        return false;
    inf->slots = slots;
    inf->n_slots = n;
    for (size_t i = 0; i < old_n; i++) {
        if (old[i]) {
            const struct mc_infer_symbol *s = &inf->symbols[old[i] - 1];
            *probe(inf, s->name, s->hash) = old[i];
        }
    }
    free(old);
    return true;
}

/* The symbol of a name, made if need be; NULL when out of memory. */
static struct mc_infer_symbol *intern(struct mc_infer *inf, const char *name, int64_t *ret_dim)
{
    if (2 * (inf->n_named + 1) > inf->n_slots && !grow(inf))
        return NULL;
    uint64_t hash = XXH3_64bits_withSeed(name, strlen(name), (uintptr_t)inf);
    size_t *slot = probe(inf, name, hash);
    if (!*slot) {
        const char *copy = mc_arena_strdup(&inf->arena, name);
        if (!copy || !append(inf, copy, hash, ret_dim))
            return NULL;
        *slot = inf->n_symbols;
        inf->n_named++;
    }
    *ret_dim = -1 - (int64_t)*slot;
    return &inf->symbols[*slot - 1];
}

bool mc_infer_named(struct mc_infer *inf, const char *name, int64_t *ret_dim)
{
    struct mc_infer_symbol *s = intern(inf, name, ret_dim);
    if (!s)
        return false;
    if (s->torn)
        return mc_infer_fresh(inf, ret_dim);
    if (s->bound >= 0)
        *ret_dim = s->bound;
    return true;
}

bool mc_infer_bind(struct mc_infer *inf, const char *name, int64_t value)
{
    int64_t dim;
    struct mc_infer_symbol *s = intern(inf, name, &dim);
    if (!s)
        return false;
    s->torn |= s->bound >= 0 && s->bound != value;
    s->bound = value;
    return true;
}

bool mc_infer_declared(struct mc_infer *inf, const struct mc_type *type, struct mc_vtype *ret)
{
    *ret = (struct mc_vtype){0};
    if (type->kind != MC_TYPE_TENSOR)
        return true;
    ret->dtype = type->dtype;
    if (!type->ranked || type->rank > MC_RANK_MAX)
        return true;
    ret->ranked = true;
    ret->shape.rank = type->rank;
    for (int i = 0; i < type->rank; i++) {
        const struct mc_dim *d = &type->dim[i];
        ret->shape.dim[i] = d->value;
        if (d->value >= 0)
            continue;
        bool ok = d->param && d->param[0] ? mc_infer_named(inf, d->param, &ret->shape.dim[i])
                                          : mc_infer_fresh(inf, &ret->shape.dim[i]);
        if (!ok)
            return false;
    }
    return true;
}

const char *mc_infer_symbol(const struct mc_infer *inf, int64_t dim)
{
    if (dim > -2 || (uint64_t)(-2 - dim) >= inf->n_symbols)
        return NULL;
    return inf->symbols[-2 - dim].name;
}
