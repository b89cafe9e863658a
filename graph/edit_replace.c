/* Putting one value in the place of another. */
#include "graph/edit.h"

#include <assert.h>

#include "graph/edit_list.h"
#include "graph/names.h"

/* May all proxies of v take this name? What already has it must be a proxy of `same`. */
static bool can_rename(const struct mc_value *v, const char *name, const struct mc_value *same)
{
    for (size_t i = 0; i < v->n_uses; i++) {
        const struct mc_value *p = v->uses[i].proxy;
        const struct mc_value *q = p ? mc_graph_value(p->graph, name) : NULL;
        if (q && (!same || q->outer != same))
            return false;
        if (p && !can_rename(p, name, q))
            return false;
    }
    return true;
}

/* Give v and all its proxies another name (of the same arena). */
static bool rename_value(struct mc_value *v, const char *name)
{
    for (size_t i = 0; i < v->n_uses; i++)
        if (v->uses[i].proxy && !rename_value(v->uses[i].proxy, name))
            return false;
    mc_names_drop(v);
    v->name = name;
    return mc_names_put(v);
}

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while changing a graph");
}

static int replace(struct mc_value *from, struct mc_value *to, struct mc_err *err);

/* A body captures `from` as p: let it capture `to`. */
static int move_capture(struct mc_value *from, struct mc_value *to, struct mc_value *p,
                        struct mc_err *err)
{
    struct mc_value *q = mc_graph_value(p->graph, to->name);
    if (q) {
        int rc = replace(p, q, err);
        if (!rc)
            mc_edit_remove_value(p);
        return rc;
    }
    struct mc_node *owner = p->graph->owner;
    int rc = mc_edit_use(to, owner, -1, p, err);
    if (rc)
        return rc;
    mc_edit_unuse(from, owner, -1, p);
    p->outer = to;
    return rename_value(p, to->name) ? 0 : no_memory(err);
}

/* Let `to` take from's place among the outputs, and its name and type. */
static int take_output(struct mc_value *from, struct mc_value *to, struct mc_err *err)
{
    struct mc_graph *g = from->graph;
    if (to->is_input || to->is_output || to->outer) {
        struct mc_value *copy = mc_edit_fresh(g, from->name);
        if (!copy)
            return no_memory(err);
        int rc = mc_edit_node(g, g->n_nodes, "Identity", "", 0, "", &to, 1, &copy, 1, NULL, err);
        if (rc)
            return rc;
        to = copy;
    }
    const char *name = from->name, *other = to->name;
    /* A captured value keeps its name: a value of the body's own under it would hide the one outside. */
    if (!from->outer) {
        mc_names_drop(from);
        if (!rename_value(to, name))
            return no_memory(err);
        from->name = other;
        if (!mc_names_put(from))
            return no_memory(err);
    }

    struct mc_type type = from->type;
    struct mc_bytes info = from->info;
    from->type = to->type;
    from->info = to->info;
    to->type = type;
    to->info = info;
    mc_edit_list_remove(g->infos, &g->n_infos, to);
    for (size_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == from)
            g->outputs[i] = to;
    from->is_output = false;
    to->is_output = true;
    return 0;
}

static int replace(struct mc_value *from, struct mc_value *to, struct mc_err *err)
{
    while (from->n_uses) {
        struct mc_use u = from->uses[from->n_uses - 1];
        int rc;
        if (u.proxy)
            rc = move_capture(from, to, u.proxy, err);
        else
            rc = mc_edit_set_input(u.node, (size_t)u.slot, to, err);
        if (rc)
            return rc;
    }
    if (from->is_output)
        return take_output(from, to, err);
    if (to->type.kind == MC_TYPE_NONE && !to->info.size) {
        to->type = from->type;
        to->info = from->info;
    }
    return 0;
}

int mc_edit_replace_uses(struct mc_value *from, struct mc_value *to, struct mc_err *err)
{
    assert(from->graph == to->graph);
    if (from == to)
        return 0;
    if (!can_rename(from, to->name, to) || (from->is_output && !can_rename(to, from->name, from)))
        return mc_fail(err, MC_EFAIL,
                       "graph '%s': '%s' cannot take the place of '%s': a body has that name",
                       from->graph->name, to->name, from->name);
    return replace(from, to, err);
}
