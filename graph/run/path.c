#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/run/plan.h"

/* ---- keys: what was known before a plan was made ---- */

static int put(struct mc_session *s, const void *data, size_t bytes, struct mc_err *err)
{
    if (s->key_cap - s->key_bytes < bytes) {
        size_t cap = 2 * (s->key_bytes + bytes) + 64;
        void *key = mc_realloc(s->key, cap, 1);
        if (!key)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        s->key = key;
        s->key_cap = cap;
    }
    if (bytes)
        memcpy((char *)s->key + s->key_bytes, data, bytes);
    s->key_bytes += bytes;
    return 0;
}

static int put_shape(struct mc_session *s, enum mc_dtype type, const struct mc_shape *shape,
                     struct mc_err *err)
{
    const int32_t head[2] = {(int32_t)type, shape->rank};
    size_t rank = shape->rank > 0 ? (size_t)shape->rank : 0;
    int rc = put(s, head, sizeof head, err);
    return rc ? rc : put(s, shape->dim, rank * sizeof *shape->dim, err);
}

/* Plans do not depend on what is in a list. */
static int put_live(struct mc_session *s, const struct mc_live *l, struct mc_err *err)
{
    static const struct mc_shape list = {.rank = -2};
    return put_shape(s, l->type, l->list ? &list : &l->buf.shape, err);
}

static int key_of_inputs(struct mc_session *s, struct mc_err *err)
{
    int rc = 0;
    s->key_bytes = 0;
    for (int i = 0; i < s->n_inputs && !rc; i++) {
        const struct mc_live *l = &s->live[s->inputs[i].value->index];
        rc = s->inner || mc_live_there(l) ? put_live(s, l, err)
                                          : put_shape(s, MC_DTYPE_NONE, &s->signature[i], err);
    }
    return rc;
}

/* Types and shapes of what the boundary of a plan made, and the contents it asks for. */
static int key_behind(struct mc_session *s, const struct mc_plan *p, struct mc_err *err)
{
    int rc = 0;
    s->key_bytes = 0;
    for (int i = 0; i < p->n_steps; i++) {
        const struct mc_step *st = &p->steps[i];
        for (int j = 0; j < st->call.n_out && st->boundary && !rc; j++) {
            const struct mc_live *l = st->out[j] ? &s->live[st->out[j]->index] : NULL;
            if (l)
                rc = put_live(s, l, err);
        }
    }
    for (size_t i = 0; i < p->n_learn && !rc; i++) {
        const struct mc_tensor *t = s->live[p->learn[i]->index].content;
        rc = put(s, t->data, t->bytes, err);
    }
    return rc;
}

/* ---- the tree of plans ---- */

static struct mc_plan *find(const struct mc_session *s, struct mc_plan *p)
{
    while (p && (p->key_bytes != s->key_bytes || memcmp(p->key, s->key, s->key_bytes) != 0))
        p = p->next;
    return p;
}

static void unlink_plan(struct mc_session *s, struct mc_plan *p)
{
    struct mc_plan **at = p->parent ? &p->parent->children : &s->roots;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    mc_plan_free(s, p);
}

/* The plan without plans behind it that was not used for longest, and not in this run. */
static void oldest_leaf(const struct mc_session *s, struct mc_plan *list, struct mc_plan **best)
{
    for (struct mc_plan *p = list; p; p = p->next) {
        oldest_leaf(s, p->children, best);
        if (!p->children && p->parent && p->used != s->clock && (!*best || p->used < (*best)->used))
            *best = p;
    }
}

static void make_room(struct mc_session *s, const struct mc_plan *parent)
{
    struct mc_plan *oldest = NULL;
    size_t roots = 0;
    for (struct mc_plan *p = s->roots; p && !parent; p = p->next, roots++)
        if (!oldest || p->used < oldest->used)
            oldest = p;
    if (roots >= MC_PLAN_CACHE)
        unlink_plan(s, oldest);
    oldest = NULL;
    if (s->n_plans >= MC_PLAN_TOTAL)
        oldest_leaf(s, s->roots, &oldest);
    if (oldest)
        unlink_plan(s, oldest);
}

/* The plan for s->key behind parent (NULL: a root), made if need be. */
static int plan_for(struct mc_session *s, struct mc_plan *parent, struct mc_plan **ret,
                    struct mc_err *err)
{
    struct mc_plan **list = parent ? &parent->children : &s->roots;
    *ret = find(s, *list);
    if (*ret)
        return 0;
    struct mc_plan *p;
    int rc = mc_plan_new(s, parent, &p, err);
    if (rc)
        return rc;
    p->key = mc_realloc(NULL, s->key_bytes + 1, 1);
    if (!p->key) {
        mc_plan_free(s, p);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    if (s->key_bytes)
        memcpy(p->key, s->key, s->key_bytes);
    p->key_bytes = s->key_bytes;
    make_room(s, parent);
    p->next = *list;
    *ret = *list = p;
    return 0;
}

int mc_path_root(struct mc_session *s, struct mc_plan **ret, struct mc_err *err)
{
    int rc = key_of_inputs(s, err);
    return rc ? rc : plan_for(s, NULL, ret, err);
}

int mc_path_run(struct mc_session *s, struct mc_err *err)
{
    struct mc_plan *p;
    s->last = NULL;
    s->clock++;
    int rc = mc_path_root(s, &p, err);
    while (!rc) {
        p->used = s->clock;
        rc = mc_plan_exec(s, p, err);
        if (rc || p->final)
            break;
        rc = key_behind(s, p, err);
        for (size_t i = 0; i < p->n_drop; i++)
            mc_live_drop(s, p->drop[i]);
        rc = rc ? rc : plan_for(s, p, &p, err);
    }
    if (!rc)
        s->last = p;
    return rc;
}

void mc_path_free(struct mc_session *s)
{
    while (s->roots)
        unlink_plan(s, s->roots);
}
