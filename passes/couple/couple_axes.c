#include <assert.h>

#include "graph/constant.h"
#include "passes/couple/couple_state.h"

static void no_memory(struct mc_couple *w)
{
    if (!w->rc)
        w->rc = mc_fail(w->err, MC_ENOMEM, "out of memory");
}

/* ---- axes of values ---- */

const struct mc_value *mc_axis_owner(const struct mc_value *v)
{
    while (v->outer)
        v = v->outer;
    return v;
}

const struct mc_shape *mc_couple_shape(const struct mc_couple *w, const struct mc_value *v)
{
    const struct mc_vtype *t = v ? mc_infer_of(w->c->inf, mc_axis_owner(v)) : NULL;
    return t && t->ranked ? &t->shape : NULL;
}

struct mc_couple_axis *mc_axis_row(struct mc_couple *w, const struct mc_value *v, int axis)
{
    struct mc_couple_state *s = w->c->state;
    const struct mc_shape *shape = mc_couple_shape(w, v);
    if (!shape || w->rc || axis < 0 || axis >= shape->rank)
        return NULL;
    v = mc_axis_owner(v);
    struct mc_couple_axis **row = &s->values[v->graph->index].axes[v->index];
    if (!*row)
        *row = mc_arena_array(&w->c->mem, (size_t)shape->rank, sizeof **row);
    if (!*row) {
        no_memory(w);
        return NULL;
    }
    return &(*row)[axis];
}

bool mc_axis_is_constant(const struct mc_value *v)
{
    v = mc_axis_owner(v);
    bool here = v->producer ? mc_node_is(v->producer, "Constant") : v->tensor != NULL;
    return here && mc_constant(v);
}

/* Why a value can lose nothing, wherever it comes from; NULL: it can. */
static const char *kept_as_it_is(const struct mc_value *v)
{
    if (v->is_output)
        return "an axis of an output";
    for (size_t i = 0; i < v->n_uses; i++)
        if (v->uses[i].slot < 0 && kept_as_it_is(v->uses[i].proxy))
            return "an axis of an output";
    return NULL;
}

struct mc_couple_axis_units *mc_axis_new(struct mc_couple *w, int64_t n, int per, int32_t **ret)
{
    struct mc_couple_state *s = w->c->state;
    struct mc_couple_axis_units *a = mc_arena_alloc(&w->c->mem, sizeof *a);
    size_t count;
    int32_t *unit = mc_size_mul((size_t)n, (size_t)per, &count)
                        ? mc_arena_array(&w->c->mem, count, sizeof *unit)
                        : NULL;
    if (!a || !unit) {
        no_memory(w);
        return NULL;
    }
    a->u = (struct mc_units){n, per, unit};
    a->batch = -1;
    a->next = s->all;
    s->all = a;
    *ret = unit;
    return a;
}

/* Units of a batch, one a position. */
static const struct mc_units *own_units(struct mc_couple *w, int64_t n, const struct mc_value *v)
{
    int32_t batch = mc_unit_batch(w, n, v), *unit;
    struct mc_couple_axis_units *a = batch < 0 ? NULL : mc_axis_new(w, n, 1, &unit);
    if (!a)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        unit[i] = w->c->state->batch[batch].first + (int32_t)i;
    a->batch = batch;
    return &a->u;
}

const struct mc_units *mc_couple_axis(struct mc_couple *w, const struct mc_value *v, int axis)
{
    struct mc_couple_axis *row = v ? mc_axis_row(w, v, axis) : NULL;
    if (!row)
        return NULL;
    int64_t n = mc_couple_shape(w, v)->dim[axis];
    if (!row->known && !row->u && mc_axis_is_constant(v) && n > 1) {
        row->u = own_units(w, n, v);
        const char *why = kept_as_it_is(mc_axis_owner(v));
        if (row->u && why)
            mc_couple_hold(w, row->u, why);
    }
    row->known = true;
    return row->u;
}

void mc_couple_put(struct mc_couple *w, const struct mc_value *v, int axis,
                   const struct mc_units *u)
{
    struct mc_couple_axis *row = v ? mc_axis_row(w, v, axis) : NULL;
    if (!u || w->rc)
        return;
    if (!row) {
        if (v)
            mc_couple_hold(w, u, "a rank is not known");
        return;
    }
    const char *why = kept_as_it_is(mc_axis_owner(v));
    int64_t n = mc_couple_shape(w, v)->dim[axis];
    if (n != u->n)
        why = "its length is not known";
    else if (n == 1)
        why = "it is alone on an axis";
    if (why)
        mc_couple_hold(w, u, why);
    if (n != u->n || n == 1)
        return;
    if (row->u)
        mc_couple_same(w, row->u, u, "an axis is made twice");
    else
        row->u = u;
    row->known = true;
}

void mc_couple_like(struct mc_couple *w, const struct mc_value *x, const struct mc_value *y)
{
    const struct mc_shape *sx = mc_couple_shape(w, x), *sy = mc_couple_shape(w, y);
    if (!y)
        return;
    if (!sx || !sy || sx->rank != sy->rank) {
        mc_couple_hold_value(w, x, "a rank is not known");
        return;
    }
    for (int i = 0; i < sx->rank; i++)
        mc_couple_put(w, y, i, mc_couple_axis(w, x, i));
}

/* ---- saying ---- */

static bool is_untouched(const struct mc_couple_state *s, const struct mc_units *u)
{
    const struct mc_couple_axis_units *a = (const struct mc_couple_axis_units *)u;
    return a->batch >= 0 && s->batch[a->batch].untouched;
}

void mc_couple_same(struct mc_couple *w, const struct mc_units *a, const struct mc_units *b,
                    const char *why_not)
{
    struct mc_couple_state *s = w->c->state;
    if (w->rc || a == b)
        return;
    if (!a || !b || a->n != b->n) {
        mc_couple_hold(w, a, why_not);
        mc_couple_hold(w, b, why_not);
        return;
    }
    int32_t reason = mc_unit_reason(w, why_not);
    bool free_a = is_untouched(s, a), free_b = is_untouched(s, b);
    if (free_a && free_b)
        free_a = ((const struct mc_couple_axis_units *)a)->batch >
                 ((const struct mc_couple_axis_units *)b)->batch;
    if (free_a) { /* units of one that nobody else has yet become those of the other */
        const struct mc_units *t = a;
        a = b;
        b = t;
        free_b = true;
    }
    for (int64_t i = 0; i < a->n && !w->rc; i++)
        mc_unit_join(w, a->unit + i * a->per, a->per, b->unit + i * b->per, b->per, !free_b,
                     reason);
    if (free_b)
        s->batch[((const struct mc_couple_axis_units *)b)->batch].untouched = false;
}

void mc_couple_meet(struct mc_couple *w, const struct mc_value *v, int axis,
                    const struct mc_units *u, const char *why_not)
{
    struct mc_couple_axis *row = v ? mc_axis_row(w, v, axis) : NULL;
    if (!row) {
        mc_couple_hold(w, u, "a rank is not known");
        return;
    }
    if (row->known || row->u || !mc_axis_is_constant(v) || kept_as_it_is(mc_axis_owner(v))) {
        mc_couple_same(w, u, mc_couple_axis(w, v, axis), why_not);
        return;
    }
    row->known = true;
    if (u && u->n == mc_couple_shape(w, v)->dim[axis])
        row->u = u;
    else
        mc_couple_hold(w, u, why_not);
}

const struct mc_units *mc_couple_together(struct mc_couple *w, const struct mc_couple_at *at, int n,
                                          const char *why_not)
{
    const struct mc_units *u = NULL;
    bool met = false;
    for (int constants = 0; constants < 2; constants++)
        for (int i = 0; i < n; i++) {
            const struct mc_shape *shape = mc_couple_shape(w, at[i].v);
            if (!at[i].v || mc_axis_is_constant(at[i].v) != constants)
                continue;
            if (!shape || at[i].axis >= shape->rank) {
                mc_couple_hold(w, u, "a rank is not known");
                u = NULL;
                met = true;
                continue;
            }
            if (shape->dim[at[i].axis] == 1)
                continue;
            if (met)
                mc_couple_meet(w, at[i].v, at[i].axis, u, why_not);
            else
                u = mc_couple_axis(w, at[i].v, at[i].axis);
            met = true;
        }
    return u;
}

void mc_couple_hold(struct mc_couple *w, const struct mc_units *u, const char *why)
{
    if (w->rc || !u)
        return;
    int32_t reason = mc_unit_reason(w, why);
    for (int64_t i = 0; i < u->n * u->per; i++)
        if (u->unit[i] >= 0)
            mc_unit_hold(w, u->unit[i], reason);
}

void mc_couple_hold_value(struct mc_couple *w, const struct mc_value *v, const char *why)
{
    const struct mc_shape *shape = mc_couple_shape(w, v);
    for (int i = 0; shape && i < shape->rank; i++) {
        struct mc_couple_axis *row = mc_axis_row(w, v, i);
        if (!row)
            return;
        row->known = true; /* a constant that nobody asked gets none */
        mc_couple_hold(w, row->u, why);
    }
}

void mc_couple_hold_node(struct mc_couple *w, const char *why)
{
    for (size_t i = 0; i < w->n->n_in; i++)
        mc_couple_hold_value(w, w->n->in[i], why);
    for (size_t i = 0; i < w->n->n_out; i++)
        mc_couple_hold_value(w, w->n->out[i], why);
}

/* What is done with every unit behind an axis. */
static void each(struct mc_couple *w, const struct mc_units *u,
                 void (*act)(struct mc_couple_state *s, int32_t root, const char *text),
                 const char *text)
{
    int32_t set[MC_COUPLE_SET];
    for (int64_t i = 0; u && i < u->n && !w->rc; i++) {
        int n = mc_unit_set(w, u->unit + i * u->per, u->per, set);
        for (int k = 0; k < n; k++)
            act(w->c->state, set[k], text);
    }
}

static void set_inexact(struct mc_couple_state *s, int32_t root, const char *text)
{
    (void)text;
    s->unit[root].flags |= MC_UNIT_INEXACT;
}

void mc_couple_inexact(struct mc_couple *w, const struct mc_units *u)
{
    each(w, u, set_inexact, NULL);
}

static void set_kind(struct mc_couple_state *s, int32_t root, const char *text)
{
    struct mc_batch *b = &s->batch[s->unit[root].batch];
    if (!b->kind)
        b->kind = text;
}

void mc_couple_kind(struct mc_couple *w, const struct mc_units *u, const char *kind)
{
    each(w, u, set_kind, kind);
}

/* The constant that v is another form of, axis by axis. */
static const struct mc_value *behind(const struct mc_value *v, int *axis)
{
    static const char *const forms[] = {"DequantizeLinear", "QuantizeLinear", "Cast", "Identity"};
    for (int hop = 0; v->producer && v->producer->n_in && hop < 8; hop++) {
        const struct mc_node *n = v->producer;
        size_t count, i = 0;
        const int64_t *perm = mc_node_ints(n, "perm", &count);
        while (i < 4 && !mc_node_is(n, forms[i]))
            i++;
        if (mc_node_is(n, "Transpose") && perm && (size_t)*axis < count)
            *axis = (int)perm[*axis];
        else if (i == 4)
            return v;
        if (!n->in[0])
            return v;
        v = mc_axis_owner(n->in[0]);
    }
    return v;
}

void mc_couple_role(struct mc_couple *w, const struct mc_value *v, int axis, enum mc_role role)
{
    if (!v || w->rc)
        return;
    v = behind(mc_axis_owner(v), &axis);
    struct mc_couple_axis *row = mc_axis_is_constant(v) ? mc_axis_row(w, v, axis) : NULL;
    if (row && (row->role == MC_ROLE_NONE || row->role == MC_ROLE_ALONG))
        row->role = role;
    if (row && role == MC_ROLE_MAKES && !row->maker)
        row->maker = (int32_t)w->c->state->n_walked;
}

void mc_couple_balance(struct mc_couple *w, const struct mc_units *u, int64_t parts)
{
    if (w->rc || !u || parts < 2)
        return;
    if (u->n % parts || u->n / parts < 2) {
        mc_couple_hold(w, u, "it is cut into groups");
        return;
    }
    struct mc_couple_even *e = mc_arena_alloc(&w->c->mem, sizeof *e);
    if (!e) {
        no_memory(w);
        return;
    }
    *e = (struct mc_couple_even){u, parts, w->n, w->c->state->even};
    w->c->state->even = e;
}

/* ---- new axes ---- */

/* Positions that no data stands for (a Tile, an Expand, padding) can be any number: those of long axes are counted. */
static bool is_too_long(struct mc_couple *w, int64_t n, int per)
{
    enum { LONG = 1 << 16, ALL = 1 << 24 };
    struct mc_couple_state *s = w->c->state;
    if (n <= LONG || w->rc)
        return false;
    if (n > ALL || s->n_long + n * per > ALL)
        return true;
    s->n_long += n * per;
    return false;
}

const struct mc_units *mc_couple_fresh(struct mc_couple *w, int64_t n, const char *kind)
{
    if (w->rc || n < 2 || is_too_long(w, n, 1))
        return NULL;
    const struct mc_units *u = own_units(w, n, NULL);
    if (u)
        w->c->state->batch[((const struct mc_couple_axis_units *)u)->batch].kind = kind;
    return u;
}

const struct mc_units *mc_couple_take(struct mc_couple *w, const struct mc_units *u,
                                      const int64_t *index, int64_t n)
{
    int32_t *unit;
    if (w->rc || !u || n < 1)
        return NULL;
    struct mc_couple_axis_units *a = mc_axis_new(w, n, u->per, &unit);
    for (int64_t i = 0; a && i < n; i++) {
        assert(index[i] >= -1 && index[i] < u->n);
        for (int k = 0; k < u->per; k++)
            unit[i * u->per + k] = index[i] < 0 ? -1 : u->unit[index[i] * u->per + k];
    }
    return a ? &a->u : NULL;
}

const struct mc_units *mc_couple_concat(struct mc_couple *w, const struct mc_couple_part *part,
                                        int n_parts)
{
    int64_t n = 0;
    int per = 0;
    for (int i = 0; i < n_parts; i++) {
        if (part[i].n < 0 || n + part[i].n > INT32_MAX) {
            for (int k = 0; k < n_parts; k++)
                mc_couple_hold(w, part[k].u, "its length is not known");
            return NULL;
        }
        n += part[i].n;
        per = part[i].u && part[i].u->per > per ? part[i].u->per : per;
    }
    int32_t *unit;
    bool fits = !per || !is_too_long(w, n, per);
    for (int i = 0; i < n_parts && !fits; i++)
        mc_couple_hold(w, part[i].u, "an axis is too long");
    struct mc_couple_axis_units *a = per && fits && !w->rc ? mc_axis_new(w, n, per, &unit) : NULL;
    if (!a)
        return NULL;
    for (int i = 0; i < n_parts; i++)
        for (int64_t k = 0; k < part[i].n; k++, unit += per)
            for (int j = 0; j < per; j++)
                unit[j] =
                    part[i].u && j < part[i].u->per ? part[i].u->unit[k * part[i].u->per + j] : -1;
    return &a->u;
}

const struct mc_units *mc_couple_merge(struct mc_couple *w, const struct mc_couple_part *part,
                                       int n_parts)
{
    int64_t n = 1;
    int per = 0;
    bool known = true;
    for (int i = 0; i < n_parts; i++) {
        known = known && part[i].n >= 0 && n <= INT32_MAX / (part[i].n ? part[i].n : 1);
        n = known ? n * part[i].n : n;
        per += part[i].u ? part[i].u->per : 0;
    }
    bool fits = !known || !per || !is_too_long(w, n, per);
    if (!known || per > MC_UNITS_PER || !fits) {
        for (int i = 0; i < n_parts; i++)
            mc_couple_hold(w, part[i].u,
                           !fits   ? "an axis is too long"
                           : known ? "too much meets in one position"
                                   : "its length is not known");
        return NULL;
    }
    int32_t *unit;
    struct mc_couple_axis_units *a = per && !w->rc ? mc_axis_new(w, n, per, &unit) : NULL;
    for (int64_t i = 0; a && i < n; i++) {
        int64_t inner = n, rest = i;
        for (int p = 0; p < n_parts; p++) {
            inner /= part[p].n;
            const struct mc_units *u = part[p].u;
            for (int k = 0; u && k < u->per; k++)
                *unit++ = u->unit[rest / inner * u->per + k];
            rest %= inner;
        }
    }
    return a ? &a->u : NULL;
}
