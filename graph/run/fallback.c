/* What a session with a GPU says of it. */
#include <string.h>

#include "graph/ops/pack.h"
#include "graph/run/device.h"
#include "graph/run/plan.h"

/* Constants of a plan and of all behind it. */
static size_t uploaded(const struct mc_plan *list)
{
    size_t sum = 0;
    for (const struct mc_plan *p = list; p; p = p->next)
        sum += (p->device ? p->device->uploads.bytes : 0) + uploaded(p->children);
    return sum;
}

size_t mc_device_bytes(const struct mc_session *s)
{
    return s->gpu.gpu ? s->gpu.state_bytes + s->gpu.uploads.bytes + uploaded(s->roots) +
                            mc_pack_bytes(s->gpu.packs)
                      : 0;
}

static void count(const struct mc_plan *p, struct mc_session_stats *ret)
{
    const struct mc_device_plan *d = p->device;
    for (int i = 0; i < p->n_steps; i++)
        ret->fallback_nodes += !p->steps[i].gpu && !p->steps[i].skip;
    for (int i = 0; i < d->n_actions; i++)
        ret->copies += d->actions[i].kind == MC_ACTION_UP || d->actions[i].kind == MC_ACTION_DOWN;
    ret->parts += (size_t)d->n_actions;
    for (int k = 0; k < d->n_recorded; k++)
        ret->parts -= d->recorded[k].recording ? (size_t)d->recorded[k].n - 1 : 0;
    for (int k = 0; k < d->n_recorded; k++)
        for (int i = 0; i < d->recorded[k].n && d->recorded[k].recording; i++)
            ret->recorded_nodes += d->actions[d->recorded[k].first + i].kind == MC_ACTION_STEP;
}

void mc_device_stats(const struct mc_session *s, struct mc_session_stats *ret)
{
    if (!s->gpu.gpu)
        return;
    ret->gpu_arena_bytes = s->gpu.block_bytes;
    ret->gpu_state_bytes = s->gpu.state_bytes;
    ret->gpu_packed_bytes = mc_pack_bytes(s->gpu.packs);
    ret->gpu_bytes = s->gpu.block_bytes + mc_device_bytes(s);
    ret->gpu_constant_bytes = mc_device_bytes(s) - s->gpu.state_bytes - ret->gpu_packed_bytes;
    for (const struct mc_plan *p = s->last; p; p = p->parent)
        count(p, ret);
}

static bool is_fallback(const struct mc_step *st)
{
    return !st->gpu && !st->skip && st->why;
}

/* The first plan of the path that ran, and the next one on it. */
static const struct mc_plan *on_path(const struct mc_session *s, const struct mc_plan *after)
{
    const struct mc_plan *p = s->last;
    while (p && p->parent != after)
        p = p->parent;
    return p;
}

static const char *name_of(const struct mc_step *st)
{
    return *st->call.op->name ? st->call.op->name : st->call.node->op_type;
}

static bool same(const struct mc_step *a, const struct mc_step *b)
{
    return !strcmp(name_of(a), name_of(b)) && !strcmp(a->why, b->why);
}

/* The first step like st on the path; counts all of them. */
static const struct mc_step *first_like(const struct mc_session *s, const struct mc_step *st,
                                        size_t *ret_nodes)
{
    const struct mc_step *first = NULL;
    *ret_nodes = 0;
    for (const struct mc_plan *p = on_path(s, NULL); p; p = p == s->last ? NULL : on_path(s, p))
        for (int i = 0; i < p->n_steps; i++)
            if (is_fallback(&p->steps[i]) && same(&p->steps[i], st)) {
                first = first ? first : &p->steps[i];
                ++*ret_nodes;
            }
    return first;
}

bool mc_session_fallback(const struct mc_session *s, int i, struct mc_session_fallback *ret)
{
    if (!s->gpu.gpu)
        return false;
    for (const struct mc_plan *p = on_path(s, NULL); p; p = p == s->last ? NULL : on_path(s, p))
        for (int k = 0; k < p->n_steps; k++) {
            const struct mc_step *st = &p->steps[k];
            size_t nodes;
            if (!is_fallback(st) || first_like(s, st, &nodes) != st || i-- > 0)
                continue;
            *ret = (struct mc_session_fallback){name_of(st), st->why, nodes};
            return true;
        }
    return false;
}

void mc_session_note(const struct mc_session *s)
{
    struct mc_session_fallback f;
    for (int i = 0; mc_session_fallback(s, i, &f); i++)
        mc_device_note(f.op_type, f.why, f.nodes);
}

void mc_device_tell(struct mc_session *s, bool over)
{
    size_t now = over ? 0 : s->gpu.block_bytes + mc_device_bytes(s);
    if (now != s->gpu.told)
        mc_device_plan(s->gpu.told, now);
    s->gpu.told = now;
}
