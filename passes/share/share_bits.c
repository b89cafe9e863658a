/* Codebooks for weights: what each number of bits costs, and --bits N for all. */
#include <math.h>
#include <stdlib.h>

#include "base/interrupt.h"
#include "graph/own/own_shared.h"
#include "passes/share/share_run.h"

/* What a call takes in the file beside its numbers: names, shapes, attributes. Measured on the reference models. */
enum { NODE_BYTES = 160, SCALE_BYTES = 120 };

bool mc_share_planes(int bits)
{
    return 8 % bits != 0;
}

uint64_t mc_share_dense_bytes(const struct mc_share_weight *w)
{
    return (uint64_t)w->tensor->bytes;
}

static uint64_t bytes_of(const struct mc_share_weight *w, int bits, bool scaled)
{
    uint64_t bytes =
        (uint64_t)mc_own_index_bytes(bits, mc_share_planes(bits), w->m * w->n) + 4 * (1ULL << bits);
    return bytes + (scaled ? 4 * (uint64_t)w->m : 0);
}

static uint64_t file_bytes(const struct mc_share_weight *w, int bits, bool scaled)
{
    return bytes_of(w, bits, scaled) + NODE_BYTES + (scaled ? SCALE_BYTES : 0);
}

/* A bit more for each weight makes the error a quarter; a scale for a row of n costs 32 / n bits for each. */
static bool scale_pays(const struct mc_share_weight *w, int bits, double plain, double scaled)
{
    double more = 32 / (double)w->n + 8.0 * SCALE_BYTES / ((double)w->m * (double)w->n);
    return scaled < plain * pow(4, -more) && file_bytes(w, bits, true) < mc_share_dense_bytes(w);
}

static int quick(struct mc_share_run *r, struct mc_share_weight *w, const struct mc_share_view *v,
                 int bits, struct mc_err *err)
{
    struct mc_share_code plain = {0}, scaled = {0};
    struct mc_share_point *p = &w->at[bits];
    int rc = mc_share_encode(r->norm.la, &v->x, bits, false, true, &plain, err);
    if (!rc && plain.error > 0)
        rc = mc_share_encode(r->norm.la, &v->x, bits, true, true, &scaled, err);
    if (!rc) {
        p->known = true;
        p->scaled = plain.error > 0 && scale_pays(w, bits, plain.error, scaled.error);
        p->error = v->worth * (p->scaled ? scaled.error : plain.error);
        p->bytes = bytes_of(w, bits, p->scaled);
        w->total = v->worth * plain.total;
    }
    mc_share_code_free(&plain);
    mc_share_code_free(&scaled);
    return rc;
}

int mc_share_points(struct mc_share_run *r, struct mc_share_weight *w, int from, int to,
                    struct mc_err *err)
{
    struct mc_share_view v;
    int rc = mc_share_view(r, w, &v, err);
    if (rc)
        return rc;
    for (int bits = from; !rc && bits <= to; bits++)
        if (!w->at[bits].known)
            rc = quick(r, w, &v, bits, err);
    mc_share_view_free(&v);
    return rc;
}

int mc_share_code(struct mc_share_run *r, struct mc_share_weight *w, int bits, struct mc_err *err)
{
    struct mc_share_point *p = &w->at[bits];
    struct mc_share_view v;
    if (p->code)
        return 0;
    int rc = mc_share_points(r, w, bits, bits, err);
    if (!rc)
        rc = mc_share_view(r, w, &v, err);
    if (rc)
        return rc;
    struct mc_share_code *code = mc_calloc(1, sizeof *code);
    rc = code ? mc_share_encode(r->norm.la, &v.x, bits, p->scaled, false, code, err)
              : mc_fail(err, MC_ENOMEM, "out of memory for codebooks");
    mc_share_view_free(&v);
    if (rc)
        free(code);
    else
        p->code = code;
    return rc;
}

/* A reason where so many bits would not make the weight smaller. */
const char *mc_share_too_small(const struct mc_share_weight *w, int bits)
{
    return file_bytes(w, bits, false) < mc_share_dense_bytes(w)
               ? NULL
               : "a codebook and its indices would not be smaller";
}

int mc_share_same_bits(struct mc_share_run *r, int bits, struct mc_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->n_weights; i++) {
        struct mc_share_weight *w = &r->weight[i];
        if (!w->reason)
            w->reason = mc_share_too_small(w, bits);
        if (w->reason)
            continue;
        w->bits = bits;
        mc_progress_tell(r->ctx->progress, "codebooks", (double)i, (double)r->n_weights);
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = mc_share_points(r, w, bits, bits, err);
    }
    return rc;
}
