#include "graph/opset.h"

#include <string.h>

#include "graph/edit.h"
#include "graph/opset_parts.h"

/* ---- what is needed ---- */

/* The oldest opset in which a node has the meaning it has in its own version. An operator that is not known
 * stays where it is. */
static int oldest(const struct mc_node *n)
{
    int since = mc_opset_since(n->op_type, n->version);
    return since ? since : n->version;
}

/* Recursion by nesting depth only. */
static int needs(const struct mc_graph *g)
{
    int most = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        if (!n->domain[0] && oldest(n) > most)
            most = oldest(n);
        for (size_t k = 0; k < n->n_attr; k++)
            for (size_t b = 0; n->attr[k].graphs && b < n->attr[k].n; b++) {
                int below = needs(n->attr[k].graphs[b]);
                most = below > most ? below : most;
            }
    }
    return most;
}

/* ---- lifting ---- */

static const struct mc_opset_form *next_form(const struct mc_node *n)
{
    for (const struct mc_opset_form *f = mc_opset_forms; f->op_type; f++)
        if (f->version > n->version && !strcmp(f->op_type, n->op_type))
            return f;
    return NULL;
}

static int lift_node(const struct mc_opset_lifter *l, struct mc_node *n, struct mc_err *err)
{
    if (!mc_opset_since(n->op_type, n->version) && n->version != l->version)
        return mc_opset_refuse(l, n, err, "the operator is not known");
    /* One form after the other: an operator may get another name on the way. */
    for (const struct mc_opset_form *f; (f = next_form(n)) && f->version <= l->version;) {
        int rc = f->convert(l, n, err);
        if (rc)
            return rc;
        n->version = f->version;
    }
    n->version = l->version;
    return 0;
}

static int lift_graph(const struct mc_opset_lifter *l, struct mc_graph *g, struct mc_err *err)
{
    int rc = 0;
    /* A conversion puts nodes of the version aimed at beside the node: they are met and left. */
    for (size_t i = 0; !rc && i < g->n_nodes; i++) {
        struct mc_node *n = g->nodes[i];
        if (!n->domain[0] && n->version != l->version)
            rc = lift_node(l, n, err);
        for (size_t k = 0; !rc && k < n->n_attr; k++)
            for (size_t b = 0; !rc && n->attr[k].graphs && b < n->attr[k].n; b++)
                rc = lift_graph(l, n->attr[k].graphs[b], err);
    }
    return rc;
}

static bool is_mixed(const struct mc_graph *g, int version)
{
    bool mixed = false;
    for (size_t i = 0; !mixed && i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        mixed = !n->domain[0] && n->version != version;
        for (size_t k = 0; !mixed && k < n->n_attr; k++)
            for (size_t b = 0; !mixed && n->attr[k].graphs && b < n->attr[k].n; b++)
                mixed = is_mixed(n->attr[k].graphs[b], version);
    }
    return mixed;
}

static struct mc_opset *import_of(const struct mc_function *f)
{
    for (size_t i = 0; i < f->n_opsets; i++)
        if (!f->opsets[i].domain[0])
            return &f->opsets[i];
    return NULL;
}

static int lift_main(struct mc_model *m, int version, struct mc_err *err)
{
    struct mc_infer *inf = NULL;
    if (!is_mixed(m->graph, version))
        return 0;
    /* Declared types of inner values may be wrong. */
    int rc = mc_infer_run(m->graph, &(struct mc_infer_opts){.undeclared = true}, &inf, err);
    if (rc == MC_ENOMEM)
        return rc;
    struct mc_opset_lifter l = {version, inf};
    rc = lift_graph(&l, m->graph, err);
    mc_infer_free(inf);
    return rc;
}

/* ---- IR ---- */

/* The IR version that brought an element type. */
static int ir_of(enum mc_dtype d)
{
    switch (d) {
    case MC_DTYPE_BF16: return 4;
    case MC_DTYPE_F8E4M3FN:
    case MC_DTYPE_F8E4M3FNUZ:
    case MC_DTYPE_F8E5M2:
    case MC_DTYPE_F8E5M2FNUZ: return 9;
    case MC_DTYPE_U4:
    case MC_DTYPE_I4: return 10;
    case MC_DTYPE_F4E2M1: return 11;
    case MC_DTYPE_F8E8M0: return 12;
    case MC_DTYPE_U2:
    case MC_DTYPE_I2: return 13;
    default: return 0;
    }
}

static int ir_needed(const struct mc_graph *g)
{
    int most = 0;
    for (size_t i = 0; i < g->n_values; i++) {
        const struct mc_value *v = g->values[i];
        enum mc_dtype d = !v ? MC_DTYPE_NONE : v->tensor ? v->tensor->dtype : v->type.dtype;
        most = ir_of(d) > most ? ir_of(d) : most;
    }
    for (size_t i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < g->nodes[i]->n_attr; k++) {
            const struct mc_attr *a = &g->nodes[i]->attr[k];
            for (size_t t = 0; a->tensors && t < a->n; t++)
                most = ir_of(a->tensors[t]->dtype) > most ? ir_of(a->tensors[t]->dtype) : most;
            for (size_t b = 0; a->graphs && b < a->n; b++) {
                int below = ir_needed(a->graphs[b]);
                most = below > most ? below : most;
            }
        }
    return most;
}

static bool has_plain_initializer(const struct mc_graph *g)
{
    for (size_t i = 0; i < g->n_inits; i++)
        if (!g->inits[i]->is_input)
            return true;
    return false;
}

static void lift_ir(struct mc_model *m)
{
    int64_t need = ir_needed(m->graph);
    for (size_t i = 0; i < m->n_functions; i++) {
        int body = ir_needed(m->functions[i]->body);
        need = body > need ? body : need;
    }
    if (m->n_functions && need < 8)
        need = 8;
    if (m->ir_version < 4 && need < 4 && has_plain_initializer(m->graph))
        need = 4;
    if (m->ir_version >= need)
        return;
    if (m->ir_version < 4 && need >= 4)
        mc_edit_free_inputs(m->graph);
    m->ir_version = need;
}

/* ---- a model ---- */

int mc_opset_lift(struct mc_model *m, int least, struct mc_err *err)
{
    int before = (int)mc_model_opset(m, ""), version = before > least ? before : least;
    int need = needs(m->graph);
    version = need > version ? need : version;
    for (size_t i = 0; i < m->n_functions; i++) {
        const struct mc_opset *o = import_of(m->functions[i]);
        need = needs(m->functions[i]->body);
        if (o && o->version == before && need > version)
            version = need;
    }
    if (version > MC_OPSET_NEWEST && version > before)
        return mc_fail(err, MC_EUNSUP, "opset %d is newer than %d, the newest known", version,
                       MC_OPSET_NEWEST);
    int rc = version != before ? mc_edit_opset(m, "", version, err) : 0;
    if (!rc)
        rc = lift_main(m, version, err);
    for (size_t i = 0; !rc && i < m->n_functions; i++) {
        struct mc_function *f = m->functions[i];
        struct mc_opset *o = import_of(f);
        need = needs(f->body);
        struct mc_opset_lifter l = {0};
        l.version = o && o->version == before ? version
                    : o && o->version > need  ? (int)o->version
                                              : need;
        if (!l.version)
            continue;
        if (o)
            o->version = l.version; /* first: new constants are of the version that is imported */
        else
            rc = mc_edit_function_opset(f, "", l.version, err);
        if (!rc)
            rc = lift_graph(&l, f->body, err);
    }
    if (!rc)
        lift_ir(m);
    return rc;
}
