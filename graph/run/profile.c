#include "graph/run/profile.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "graph/run/plan.h"

struct mc_profile {
    struct mc_profile_row *rows;
    size_t n, cap;
    size_t next; /* where the step after the last one is, if this run is like the one before */
};

int mc_profile_new(struct mc_profile **ret, struct mc_err *err)
{
    *ret = mc_calloc(1, sizeof **ret);
    return *ret ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

void mc_profile_free(struct mc_profile *p)
{
    if (p)
        free(p->rows);
    free(p);
}

void mc_profile_clear(struct mc_profile *p)
{
    p->n = p->next = 0;
}

size_t mc_profile_count(const struct mc_profile *p)
{
    return p->n;
}

const struct mc_profile_row *mc_profile_row(const struct mc_profile *p, size_t i)
{
    return &p->rows[i];
}

static double bytes_of(const struct mc_buf *b)
{
    size_t n = 0;
    if (b->dtype != MC_DTYPE_NONE && mc_shape_known(&b->shape))
        mc_dtype_bytes(b->dtype, mc_shape_count(&b->shape), &n);
    return (double)n;
}

/* The operator's own count, from the shapes of the step. */
static double macs_of(const struct mc_call *c, struct mc_err *err, int *ret_rc)
{
    size_t n = (size_t)(c->n_in + c->n_out);
    struct mc_vtype *type = mc_calloc(n + 1, sizeof *type);
    const struct mc_vtype **in = mc_calloc(n + 1, sizeof *in);
    struct mc_vtype **out = mc_calloc(n + 1, sizeof *out);
    double macs = 0;
    *ret_rc = type && in && out ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; !*ret_rc && i < n; i++) {
        bool is_in = i < (size_t)c->n_in;
        const struct mc_buf *b = is_in ? &c->in[i] : &c->out[i - (size_t)c->n_in];
        type[i] = (struct mc_vtype){.dtype = b->dtype, .ranked = true, .shape = b->shape};
        if (is_in)
            in[i] = b->dtype ? &type[i] : NULL;
        else
            out[i - (size_t)c->n_in] = &type[i];
    }
    if (!*ret_rc && c->op->macs) {
        struct mc_infer_ctx ctx = {c->node, c->n_in, c->n_out, in, out, NULL};
        macs = c->op->macs(&ctx);
    }
    free(type);
    free(in);
    free(out);
    return macs > 0 ? macs : 0;
}

static int new_row(struct mc_profile *p, const struct mc_step *st, struct mc_err *err)
{
    const struct mc_call *c = &st->call;
    if (!MC_GROW(p->rows, p->n, p->cap))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    struct mc_profile_row *r = &p->rows[p->n];
    *r = (struct mc_profile_row){.node = c->node, .shape.rank = -1};
    for (; r->n_joined < st->n_joined && r->n_joined < MC_PROFILE_JOINED; r->n_joined++)
        r->joined[r->n_joined] = st->joined[r->n_joined];
    int rc = 0;
    if (c->n_out && st->out[0]) {
        r->dtype = c->out[0].dtype;
        r->shape = c->out[0].shape;
        if (!st->boundary)
            r->macs = macs_of(c, err, &rc);
    }
    for (int i = 0; i < c->n_in; i++)
        r->bytes += st->in[i] ? bytes_of(&c->in[i]) : 0;
    for (int i = 0; i < c->n_out; i++)
        r->bytes += st->out[i] ? bytes_of(&c->out[i]) : 0;
    p->next = p->n;
    p->n += !rc;
    return rc;
}

int mc_profile_add(struct mc_profile *p, const struct mc_step *st, double seconds,
                   struct mc_err *err)
{
    const struct mc_node *node = st->call.node;
    if (p->next >= p->n || p->rows[p->next].node != node) {
        p->next = 0;
        while (p->next < p->n && p->rows[p->next].node != node)
            p->next++;
        int rc = p->next == p->n ? new_row(p, st, err) : 0;
        if (rc)
            return rc;
    }
    struct mc_profile_row *r = &p->rows[p->next++];
    r->runs++;
    r->seconds += seconds;
    return 0;
}
