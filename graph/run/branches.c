/* If whose condition is known before anything runs: the branch's nodes take its place. */
#include "base/mem.h"
#include "graph/infer.h"
#include "graph/run/fold.h"
#include "graph/splice.h"

/* The branch that n takes in every run, or NULL. */
static const struct mc_graph *taken(const struct mc_infer *inf, const struct mc_node *n)
{
    int64_t yes;
    if (!mc_node_is(n, "If") || n->n_in != 1 || !n->in[0])
        return NULL;
    const struct mc_tensor *t = mc_infer_of(inf, n->in[0])->known;
    if (!t || mc_tensor_count(t) != 1 || mc_dtype_to_i64(t->dtype, t->data, &yes, 1, NULL))
        return NULL;
    const struct mc_attr *a = mc_node_attr(n, yes ? "then_branch" : "else_branch");
    return a && a->graphs && a->n == 1 ? a->graphs[0] : NULL;
}

/* How many Ifs of g and of bodies in it take a known branch. Recursion by nesting depth only. */
static size_t count(const struct mc_infer *inf, const struct mc_graph *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *node = g->nodes[i];
        n += taken(inf, node) != NULL;
        for (size_t k = 0; k < node->n_attr; k++)
            for (size_t b = 0; node->attr[k].graphs && b < node->attr[k].n; b++)
                n += count(inf, node->attr[k].graphs[b]);
    }
    return n;
}

static int fold(const struct mc_infer *inf, struct mc_graph *g, size_t *n, struct mc_err *err)
{
    struct mc_splice s;
    int rc = mc_splice_begin(&s, g, err);
    if (rc)
        return rc;
    for (size_t i = 0; !rc && i < s.n_old; i++) {
        const struct mc_graph *branch = taken(inf, g->nodes[i]);
        if (!branch)
            continue;
        rc = mc_splice_node(&s, g->nodes[i], branch, NULL, 0, false, err);
        ++*n;
    }
    rc = mc_splice_end(&s, rc, err);
    for (size_t i = 0; !rc && i < g->n_nodes; i++) {
        const struct mc_node *node = g->nodes[i];
        for (size_t k = 0; !rc && k < node->n_attr; k++)
            for (size_t b = 0; !rc && node->attr[k].graphs && b < node->attr[k].n; b++)
                rc = fold(inf, node->attr[k].graphs[b], n, err);
    }
    return rc;
}

static bool has_if(const struct mc_graph *g)
{
    bool any = false;
    for (size_t i = 0; !any && i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        any = mc_node_is(n, "If");
        for (size_t k = 0; !any && k < n->n_attr; k++)
            for (size_t b = 0; !any && n->attr[k].graphs && b < n->attr[k].n; b++)
                any = has_if(n->attr[k].graphs[b]);
    }
    return any;
}

/* Declared types of inner values may be wrong: what is baked in must follow from the inputs. */
static int infer(const struct mc_graph *g, struct mc_infer **ret, struct mc_err *err)
{
    struct mc_infer_opts o = {.eval = mc_fold_eval, .undeclared = true};
    *ret = NULL;
    int rc = mc_infer_run(g, &o, ret, err);
    return rc == MC_ENOMEM || rc == MC_EIO ? rc : 0;
}

int mc_branches_known(const struct mc_graph *g, bool *ret, struct mc_err *err)
{
    struct mc_infer *inf;
    *ret = false;
    int rc = has_if(g) ? infer(g, &inf, err) : 0;
    if (rc || !has_if(g))
        return rc;
    *ret = inf && count(inf, g) > 0;
    mc_infer_free(inf);
    return 0;
}

int mc_branches_fold(struct mc_graph *g, size_t *ret_folded, struct mc_err *err)
{
    struct mc_infer *inf;
    int rc = 0;
    *ret_folded = 0;
    /* An If in a branch that takes the place of its If is met in the next round. */
    for (size_t before = SIZE_MAX; !rc && before != *ret_folded && has_if(g);) {
        before = *ret_folded;
        rc = infer(g, &inf, err);
        if (!rc && inf && count(inf, g))
            rc = fold(inf, g, ret_folded, err);
        mc_infer_free(inf);
    }
    return rc;
}
