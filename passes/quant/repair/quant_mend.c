#include "passes/quant/repair/quant_mend.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "graph/constant.h"
#include "graph/edit.h"
#include "passes/search/search_slice.h"

/* Both models on the same samples: half as many told the same of the reference models, and each repair runs three times. */
enum { JUDGED = 64, SAMPLES_MIN = 8 };
/* Multiply-accumulates: some four seconds of one thread. */
static const double WORK = 2e11;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for repairing");
}

static int measure(struct mc_quant_mend *m, double *ret, struct mc_err *err)
{
    struct mc_judgement j;
    bool late;
    int rc = mc_judge_model(m->judge, m->r->b->m, false, &j, &late, err);
    if (rc)
        return rc;
    *ret = j.divergence;
    mc_judgement_free(&j);
    return 0;
}

int64_t mc_quant_mend_samples(const struct mc_quant_repair *r, int64_t most, double runs)
{
    double work = 0;
    for (size_t i = 0; i < r->sites->n; i++)
        work += isfinite(r->sites->item[i].macs) ? r->sites->item[i].macs : 0;
    double fit = work > 0 ? WORK / (work * runs) : (double)most;
    fit = fmax(fit, SAMPLES_MIN);
    return fit < (double)most ? (int64_t)fit : most;
}

int mc_quant_mend_begin(struct mc_quant_mend *m, struct mc_quant_repair *r, const char *name,
                        struct mc_quant_repair_result *result, struct mc_err *err)
{
    *m = (struct mc_quant_mend){.r = r, .result = result, .ctx = *r->ctx};
    *result = (struct mc_quant_repair_result){.name = name, .before = NAN, .after = NAN};
    if (!r->held || r->held_count < 1)
        return 0;
    int64_t count = mc_quant_mend_samples(r, r->held_count < JUDGED ? r->held_count : JUDGED, 3);
    int rc = mc_slice_range(r->held, r->held_first, count, &m->held, err);
    m->ctx.calib = m->held;
    m->ctx.calib_count = 0;
    m->ctx.train = NULL;
    m->ctx.deadline = 0;
    if (!rc)
        rc = mc_judge_new(&m->ctx, r->before, count, &m->judge, err);
    return rc ? rc : measure(m, &result->before, err);
}

static struct mc_quant_changed *remember(struct mc_quant_mend *m)
{
    if (!MC_GROW(m->changed, m->n, m->cap))
        return NULL;
    m->changed[m->n] = (struct mc_quant_changed){0};
    return &m->changed[m->n++];
}

int mc_quant_mend_put(struct mc_quant_mend *m, struct mc_value *v, struct mc_tensor *t,
                      struct mc_err *err)
{
    struct mc_quant_changed *c = remember(m);
    if (!c)
        return no_memory(err);
    c->value = v;
    c->was = mc_tensor_ref(mc_constant(v));
    return mc_constant_replace(v, t, err);
}

int mc_quant_mend_input(struct mc_quant_mend *m, struct mc_node *n, size_t slot, struct mc_value *v,
                        struct mc_err *err)
{
    struct mc_quant_changed *c = remember(m);
    if (!c)
        return no_memory(err);
    c->node = n;
    c->slot = slot;
    c->value = slot < n->n_in ? n->in[slot] : NULL;
    return mc_edit_set_input(n, slot, v, err);
}

static int undo(struct mc_quant_mend *m, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = m->n; !rc && i-- > 0;)
        rc = m->changed[i].node ? mc_edit_set_input(m->changed[i].node, m->changed[i].slot,
                                                    m->changed[i].value, err)
                                : mc_constant_replace(m->changed[i].value, m->changed[i].was, err);
    if (!rc && m->n)
        mc_edit_sweep(m->r->b->m->graph);
    return rc;
}

int mc_quant_mend_end(struct mc_quant_mend *m, int rc, struct mc_err *err)
{
    struct mc_quant_repair_result *r = m->result;
    r->after = r->before;
    if (!rc && m->judge && m->n)
        rc = measure(m, &r->after, err);
    bool fatal = rc == MC_ENOMEM || rc == MC_EINTR;
    r->kept = !rc && m->n && !(r->after >= r->before);
    if (!r->kept) {
        struct mc_err other;
        if (rc && !fatal && err)
            r->why = mc_arena_strdup(&m->r->b->m->arena, err->msg);
        else if (!rc)
            r->why = m->n ? "it does not help on samples that it did not see" : "nothing to change";
        int back = undo(m, &other);
        rc = fatal ? rc : back ? mc_fail(err, back, "%s", other.msg) : 0;
    }
    for (size_t i = 0; i < m->n; i++)
        mc_tensor_unref(m->changed[i].was);
    free(m->changed);
    mc_judge_free(m->judge);
    mc_dataset_free(m->held);
    return rc;
}
