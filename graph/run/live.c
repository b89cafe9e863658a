#include "graph/run/live.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/run/plan.h"

/* ---- blocks ---- */

/* The smallest free block of at least `bytes` that does not waste as much again; a page more or less does
 * not matter. */
static struct mc_block *find_free(const struct mc_blocks *b, size_t bytes)
{
    struct mc_block *best = NULL;
    for (struct mc_block *k = b->first; k; k = k->next)
        if (!k->refs && k->bytes >= bytes && k->bytes / 2 <= bytes + 4096 &&
            (!best || k->bytes < best->bytes))
            best = k;
    return best;
}

static void remove_block(struct mc_blocks *b, struct mc_block *k)
{
    struct mc_block **at = &b->first;
    while (*at != k)
        at = &(*at)->next;
    *at = k->next;
    free(k->data);
    free(k);
}

/* Free blocks go, the largest first, until they have made up for `bytes`. */
static void make_room(struct mc_blocks *b, size_t bytes)
{
    for (size_t freed = 0; freed < bytes;) {
        struct mc_block *largest = NULL;
        for (struct mc_block *k = b->first; k; k = k->next)
            if (!k->refs && (!largest || k->bytes > largest->bytes))
                largest = k;
        if (!largest)
            return;
        freed += largest->bytes;
        remove_block(b, largest);
    }
}

int mc_block_get(struct mc_blocks *b, size_t bytes, struct mc_block **ret, struct mc_err *err)
{
    struct mc_block *k = find_free(b, bytes);
    if (!k) {
        make_room(b, bytes);
        k = mc_calloc(1, sizeof *k);
        if (!k || !(k->data = mc_alloc_aligned(bytes))) {
            free(k);
            return mc_fail(err, MC_ENOMEM,
                           "out of memory: %zu bytes for a value; use smaller batches", bytes);
        }
        k->bytes = bytes;
        k->next = b->first;
        b->first = k;
    }
    k->refs = 1;
    k->stale = false;
    b->used += k->bytes;
    b->peak = b->used > b->peak ? b->used : b->peak;
    *ret = k;
    return 0;
}

struct mc_block *mc_block_ref(struct mc_block *k)
{
    if (k)
        k->refs++;
    return k;
}

void mc_block_drop(struct mc_blocks *b, struct mc_block *k)
{
    if (k && --k->refs == 0)
        b->used -= k->bytes;
}

void mc_blocks_age(struct mc_blocks *b)
{
    for (struct mc_block *k = b->first, *next; k; k = next) {
        next = k->next;
        if (k->refs)
            continue;
        if (k->stale)
            remove_block(b, k);
        else
            k->stale = true;
    }
    b->peak = b->used;
}

void mc_blocks_free(struct mc_blocks *b)
{
    if (!b)
        return;
    while (b->first)
        remove_block(b, b->first);
    free(b);
}

/* ---- values ---- */

int mc_list_new(size_t n, struct mc_list **ret, struct mc_err *err)
{
    size_t bytes;
    struct mc_list *l = NULL;
    if (mc_size_mul(n, sizeof l->item[0], &bytes) && mc_size_add(bytes, sizeof *l, &bytes))
        l = mc_calloc(1, bytes);
    if (!l)
        return mc_fail(err, MC_ENOMEM, "out of memory: a sequence of %zu", n);
    l->refs = 1;
    l->n = n;
    *ret = l;
    return 0;
}

void mc_list_drop(struct mc_blocks *b, struct mc_list *l)
{
    if (!l || --l->refs > 0)
        return;
    for (size_t i = 0; i < l->n; i++)
        mc_live_release(b, &l->item[i]);
    free(l);
}

void mc_live_release(struct mc_blocks *b, struct mc_live *l)
{
    mc_block_drop(b, l->block);
    mc_tensor_unref(l->content);
    mc_list_drop(b, l->list);
    *l = (struct mc_live){0};
}

int mc_live_keep(struct mc_blocks *b, const struct mc_live *l, struct mc_live *ret,
                 struct mc_err *err)
{
    struct mc_live kept = {.buf = l->buf, .type = l->type, .block = l->block, .list = l->list};
    kept.buf.constant = false;
    if (l->list) {
        l->list->refs++;
    } else if (l->block) {
        mc_block_ref(l->block);
    } else {
        size_t bytes = 0;
        mc_dtype_bytes(l->buf.dtype, mc_shape_count(&l->buf.shape), &bytes);
        int rc = mc_block_get(b, bytes, &kept.block, err);
        if (rc)
            return rc;
        if (bytes)
            memcpy(kept.block->data, l->buf.data, bytes);
        kept.buf.data = kept.block->data;
    }
    *ret = kept;
    return 0;
}

void mc_live_set(struct mc_session *s, const struct mc_value *v, const struct mc_live *l)
{
    struct mc_live *to = &s->live[v->index];
    assert(!mc_live_there(to));
    *to = *l;
    to->buf.constant = false;
    s->alive[s->n_alive++] = s->g->values[v->index];
}

void mc_live_drop(struct mc_session *s, const struct mc_value *v)
{
    mc_live_release(s->blocks, &s->live[v->index]);
}

void mc_live_clear(struct mc_session *s)
{
    while (s->n_alive > 0)
        mc_live_drop(s, s->alive[--s->n_alive]);
}

int mc_live_new(struct mc_session *s, const struct mc_value *v, const struct mc_shape *shape,
                enum mc_dtype dtype, enum mc_dtype type, struct mc_buf *ret, struct mc_err *err)
{
    struct mc_block *k;
    size_t bytes;
    char text[MC_SHAPE_TEXT];
    if (!mc_dtype_bytes(dtype, mc_shape_count(shape), &bytes))
        return mc_fail(err, MC_EUNSUP, "'%s' of type %s and shape %s cannot be computed", v->name,
                       mc_dtype_name(type), mc_shape_text(shape, text));
    int rc = mc_block_get(s->blocks, bytes, &k, err);
    if (rc)
        return rc;
    *ret = (struct mc_buf){dtype, false, *shape, k->data};
    mc_live_set(s, v, &(struct mc_live){.buf = *ret, .type = type, .block = k});
    return 0;
}

int mc_live_learn(struct mc_session *s, const struct mc_value *v, struct mc_err *err)
{
    struct mc_live *l = &s->live[v->index];
    struct mc_tensor *t;
    void *data;
    if (l->content)
        return 0;
    size_t n = (size_t)mc_shape_count(&l->buf.shape);
    int rc = mc_tensor_new(l->type, &l->buf.shape, NULL, &t, &data, err);
    if (rc)
        return rc;
    if (l->type == l->buf.dtype)
        memcpy(data, l->buf.data, t->bytes);
    else if (l->buf.dtype == MC_DTYPE_F64)
        rc = mc_dtype_from_f64(l->type, l->buf.data, data, n, err);
    else
        rc = mc_dtype_from_f32(l->type, l->buf.data, data, n, err);
    if (rc)
        mc_tensor_unref(t);
    else
        l->content = t;
    return rc;
}
