/* Sequences and optionals that come into a session, and that it hands out. */
#include <string.h>

#include "base/mem.h"
#include "graph/run/plan.h"

bool mc_handed_kind(enum mc_type_kind kind)
{
    return kind == MC_TYPE_SEQUENCE || kind == MC_TYPE_OPTIONAL;
}

/* ---- in ---- */

static int take(struct mc_session *s, const struct mc_value *v, const struct mc_array *a,
                struct mc_live *ret, struct mc_err *err);

static int take_tensor(struct mc_session *s, const struct mc_value *v, const struct mc_array *a,
                       struct mc_live *ret, struct mc_err *err)
{
    enum mc_dtype want = v->type.dtype;
    struct mc_live l = {.buf = {mc_run_dtype(s->precision, a->dtype), false, a->shape, NULL},
                        .type = a->dtype};
    size_t bytes;
    int rc = mc_input_check(v->name, a, err);
    if (!rc && want != MC_DTYPE_NONE && want != a->dtype)
        rc = mc_fail(err, MC_EDTYPE,
                     "input '%s' has elements of type %s in the model, but the "
                     "data has %s",
                     v->name, mc_dtype_name(want), mc_dtype_name(a->dtype));
    if (!rc && !mc_dtype_bytes(l.buf.dtype, mc_shape_count(&a->shape), &bytes))
        rc = mc_fail(err, MC_EDATA, "input '%s': the data is too large", v->name);
    rc = rc ? rc : mc_block_get(s->blocks, bytes, &l.block, err);
    if (rc)
        return rc;
    l.buf.data = l.block->data;
    rc = mc_input_convert(v->name, a->dtype, &l.buf, a->dtype, a->data, l.buf.data, err);
    if (rc)
        mc_live_release(s->blocks, &l);
    else
        *ret = l;
    return rc;
}

/* Items are all tensors of one type, or all lists; where they are optionals, some may be empty. */
static int check_items(const struct mc_value *v, const struct mc_array *a, struct mc_err *err)
{
    const struct mc_array *item = a->data, *first = NULL;
    for (size_t i = 0; i < mc_array_n_items(a); i++) {
        char one[MC_ARRAY_TEXT], other[MC_ARRAY_TEXT];
        if (mc_array_is_list(&item[i]) && item[i].shape.rank < 0)
            continue;
        first = first ? first : &item[i];
        if (item[i].dtype != first->dtype)
            return mc_fail(err, MC_EDTYPE, "input '%s': item %zu is %s, and the first is %s",
                           v->name, i, mc_array_text(&item[i], one), mc_array_text(first, other));
    }
    return 0;
}

static int take_list(struct mc_session *s, const struct mc_value *v, const struct mc_array *a,
                     struct mc_live *ret, struct mc_err *err)
{
    struct mc_list *l;
    const struct mc_array *item = a->data;
    int rc = check_items(v, a, err);
    rc = rc ? rc : mc_list_new(mc_array_n_items(a), &l, err);
    if (rc)
        return rc;
    l->none = a->shape.rank < 0;
    for (size_t i = 0; i < l->n && !rc; i++)
        rc = take(s, v, &item[i], &l->item[i], err);
    if (rc)
        mc_list_drop(s->blocks, l);
    else
        *ret = (struct mc_live){.list = l};
    return rc;
}

static int take(struct mc_session *s, const struct mc_value *v, const struct mc_array *a,
                struct mc_live *ret, struct mc_err *err)
{
    return mc_array_is_list(a) ? take_list(s, v, a, ret, err) : take_tensor(s, v, a, ret, err);
}

int mc_handed_in(struct mc_session *s, const struct mc_value *v, const struct mc_array *a,
                 struct mc_err *err)
{
    struct mc_live l;
    char text[MC_ARRAY_TEXT];
    if (mc_live_there(&s->live[v->index]))
        return mc_fail(err, MC_EDATA, "input '%s' is given twice", v->name);
    if (v->type.kind == MC_TYPE_SEQUENCE && (!mc_array_is_list(a) || a->shape.rank < 0))
        return mc_fail(err, MC_EDTYPE, "input '%s' is a sequence in the model, but the data is %s",
                       v->name, mc_array_text(a, text));
    int rc = take(s, v, a, &l, err);
    if (rc)
        return rc;
    mc_live_set(s, v, &l);
    return 0;
}

/* ---- out ---- */

static int give(struct mc_session *s, const char *name, const struct mc_live *l,
                struct mc_array *ret, struct mc_err *err)
{
    if (!l->list) {
        *ret = (struct mc_array){name, l->buf.dtype, l->buf.shape, l->buf.data, 0};
        int64_t n = mc_shape_count(&ret->shape);
        mc_dtype_bytes(ret->dtype, n, &ret->bytes);
        bool half = l->type == MC_DTYPE_F16 || l->type == MC_DTYPE_BF16;
        return half && ret->dtype == MC_DTYPE_F32 ? mc_input_round(l->type, ret->data, n, err) : 0;
    }
    *ret = (struct mc_array){name, MC_DTYPE_NONE, {.rank = -1}, NULL, 0};
    if (l->list->none)
        return 0;
    struct mc_array *item = mc_arena_array(&s->handed, l->list->n + 1, sizeof *item);
    int rc = item ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < l->list->n && !rc; i++)
        rc = give(s, name, &l->list->item[i], &item[i], err);
    ret->shape = mc_shape_of(1, (const int64_t[]){(int64_t)l->list->n});
    ret->data = item;
    ret->bytes = l->list->n * sizeof *item;
    return rc;
}

int mc_handed_out(struct mc_session *s, struct mc_err *err)
{
    int rc = 0;
    mc_arena_free(&s->handed);
    for (size_t i = 0; i < s->g->n_values && s->flags & MC_SESSION_LISTS && !rc; i++)
        if (s->pinned[i] && s->live[i].list)
            rc = give(s, s->g->values[i]->name, &s->live[i], &s->last->arrays[i], err);
    return rc;
}
