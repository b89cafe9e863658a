#include "passes/prune/mask.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "graph/constant.h"
#include "passes/prune/mask_choose.h"
#include "passes/prune/mask_inputs.h"

struct made { /* for a weight */
    bool *gone;
    int64_t zeros, elements;
    const char *why;
};

struct job {
    struct mc_pass_ctx *ctx;
    struct mc_model *m;
    struct mc_mask_sites s;
    double **square; /* mean squares of what they are multiplied with, or NULL */
    struct made *made;
    int keep, run; /* of a pattern; run 0: there is none */
    double sparsity;
    bool by_layer;
    struct mc_err *err;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory for masks");
}

/* ---- scores ---- */

static int64_t count_of(const struct job *j, size_t i)
{
    return mc_tensor_count(mc_constant(j->s.item[i].value));
}

/* |w|, times the root mean square of what it is multiplied with. */
static int scores(const struct job *j, size_t i, float **ret)
{
    const struct mc_mask_site *s = &j->s.item[i];
    const struct mc_shape *shape = &mc_constant(s->value)->shape;
    int64_t n, count, inner = mc_shape_span(shape, s->axis + 1, shape->rank);
    int rc = mc_constant_f32(s->value, ret, &count, j->err);
    const double *square = j->square ? j->square[i] : NULL;
    n = shape->dim[s->axis];
    int64_t filters = s->out_axis < 0 ? 1 : shape->dim[s->out_axis] / s->groups;
    int64_t filter = s->out_axis < 0 ? 1 : mc_shape_span(shape, s->out_axis + 1, shape->rank);
    for (int64_t k = 0; !rc && k < count; k++) {
        int64_t group = s->out_axis < 0 ? 0 : k / filter / filters;
        double by = square ? sqrt(square[group * n + k / inner % n]) : 1;
        float w = (float)(fabs((double)(*ret)[k]) * by);
        (*ret)[k] = isfinite(w) ? w : FLT_MAX; /* never the least */
    }
    return rc;
}

/* ---- choosing ---- */

static int choose_pattern(struct job *j, size_t i)
{
    const struct mc_mask_site *s = &j->s.item[i];
    const struct mc_shape *shape = &mc_constant(s->value)->shape;
    float *x = NULL;
    if (s->run <= j->keep) {
        j->made[i].why = "fewer elements than the pattern keeps lie along what it sums over";
        return 0;
    }
    int rc = scores(j, i, &x);
    j->made[i].gone = rc ? NULL : mc_calloc((size_t)count_of(j, i), sizeof *j->made[i].gone);
    if (!rc && !j->made[i].gone)
        rc = no_memory(j->err);
    if (!rc)
        mc_mask_pattern(x, mc_shape_span(shape, 0, s->axis), shape->dim[s->axis],
                        mc_shape_span(shape, s->axis + 1, shape->rank), s->run, j->keep, j->run,
                        j->made[i].gone);
    free(x);
    return rc;
}

static int choose_least(struct job *j, size_t i, int64_t count)
{
    float *x = NULL;
    int rc = scores(j, i, &x);
    j->made[i].gone = rc ? NULL : mc_calloc((size_t)count_of(j, i), sizeof *j->made[i].gone);
    if (!rc && !j->made[i].gone)
        rc = no_memory(j->err);
    if (!rc)
        rc = mc_mask_least(x, count_of(j, i), count, j->made[i].gone, j->err);
    free(x);
    return rc;
}

/* How many of each layer: the same share, or the least of all. */
static int shares(struct job *j, int64_t *ret)
{
    float **lists = mc_calloc(j->s.n + 1, sizeof *lists);
    int64_t *n = mc_calloc(j->s.n + 1, sizeof *n), all = 0;
    int rc = lists && n ? 0 : no_memory(j->err);
    for (size_t i = 0; i < j->s.n && !rc; i++) {
        n[i] = j->s.item[i].why ? 0 : count_of(j, i);
        all += n[i];
        ret[i] = llround(j->sparsity * (double)n[i]);
        if (j->by_layer || !n[i])
            continue;
        rc = scores(j, i, &lists[i]);
        if (!rc)
            rc = mc_mask_adapt(lists[i], n[i], j->err);
    }
    if (!rc && !j->by_layer)
        mc_mask_share((const float *const *)lists, n, (int)j->s.n,
                      llround(j->sparsity * (double)all), ret);
    for (size_t i = 0; lists && i < j->s.n; i++) {
        /* something of each layer stays */
        if (!rc && n[i] && ret[i] >= n[i])
            ret[i] = n[i] - 1;
        free(lists[i]);
    }
    free(lists);
    free(n);
    return rc;
}

static int choose(struct job *j)
{
    int64_t *share = mc_calloc(j->s.n + 1, sizeof *share);
    int rc = share ? 0 : no_memory(j->err);
    if (!rc && !j->run)
        rc = shares(j, share);
    for (size_t i = 0; i < j->s.n && !rc; i++)
        if (j->s.item[i].why)
            j->made[i].why = j->s.item[i].why;
        else
            rc = j->run ? choose_pattern(j, i) : choose_least(j, i, share[i]);
    free(share);
    return rc;
}

/* ---- applying ---- */

/* Of either sign: a float's is its highest bit. */
static bool is_zero(const uint8_t *x, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (x[i] & (i + 1 == size ? 0x7f : 0xff))
            return false;
    return true;
}

/* Zeros are bytes of 0 in every type, so that what stays keeps its bits. */
static int apply(struct job *j, size_t i)
{
    struct made *d = &j->made[i];
    struct mc_value *v = j->s.item[i].value;
    const struct mc_tensor *t = mc_constant(v);
    size_t size = mc_dtype_info(t->dtype)->bits / 8;
    d->elements = mc_tensor_count(t);
    for (int64_t k = 0; k < d->elements; k++)
        d->zeros += (d->gone && d->gone[k]) || is_zero(t->data + (size_t)k * size, size);
    if (!d->gone || j->ctx->dry_run)
        return 0;
    struct mc_tensor *made = NULL;
    void *data;
    int rc = mc_tensor_new(t->dtype, &t->shape, j->m->spill, &made, &data, j->err);
    for (int64_t k = 0; !rc && k < d->elements; k++)
        if (!d->gone[k])
            memcpy((uint8_t *)data + (size_t)k * size, t->data + (size_t)k * size, size);
    if (!rc)
        rc = mc_constant_replace(v, made, j->err);
    mc_tensor_unref(made);
    return rc;
}

/* ---- report ---- */

static json_t *row(const struct job *j, size_t i)
{
    const struct mc_mask_site *s = &j->s.item[i];
    const struct made *d = &j->made[i];
    bool ok = true;
    json_t *o = json_object();
    uint64_t bytes = mc_constant(s->value)->bytes;
    mc_json_put(o, "name", mc_json_text(mc_node_label(s->node)), &ok);
    mc_json_put(o, "op", mc_json_text(s->node->op_type), &ok);
    mc_json_put(o, "action", json_string(d->why ? "left" : "masked"), &ok);
    mc_json_put(o, "reason", mc_json_text(d->why), &ok);
    mc_json_put(o, "weight", mc_json_text(s->value->name), &ok);
    mc_json_put(o, "zeros", json_integer(d->zeros), &ok);
    mc_json_put(o, "elements", json_integer(d->elements), &ok);
    mc_json_put(o, "bytes_before", mc_json_size(bytes), &ok);
    mc_json_put(o, "bytes_after", mc_json_size(bytes), &ok);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *note(int64_t zeros, int64_t elements, bool *ok)
{
    char a[MC_TEXT], b[MC_TEXT], text[256];
    json_t *list = json_array();
    snprintf(
        text, sizeof text,
        "%s of %s weights are 0; the file stays as large and dense runtimes as slow, since zeros "
        "are stored and multiplied like other numbers: zip and kernels for sparse weights gain",
        mc_text_group(zeros, a), mc_text_group(elements, b));
    mc_json_add(list, json_string(text), ok);
    return list;
}

static int account(const struct job *j, json_t *report)
{
    bool ok = true;
    json_t *mask = json_object(), *rows = json_array();
    int64_t zeros = 0, elements = 0;
    char pattern[32];
    snprintf(pattern, sizeof pattern, "%d:%d", j->keep, j->run);
    for (size_t i = 0; i < j->s.n; i++) {
        mc_json_add(rows, row(j, i), &ok);
        zeros += j->made[i].zeros;
        elements += j->made[i].elements;
    }
    if (j->run)
        mc_json_put(mask, "pattern", json_string(pattern), &ok);
    else
        mc_json_put(mask, "sparsity", mc_json_real(j->sparsity), &ok);
    mc_json_put(mask, "score",
                json_string(j->square ? "|w| times the root mean square of its input" : "|w|"),
                &ok);
    mc_json_put(mask, "zeros", json_integer(zeros), &ok);
    mc_json_put(mask, "elements", json_integer(elements), &ok);
    mc_json_put(report, "mask", mask, &ok);
    mc_json_put(report, "notes", note(zeros, elements, &ok), &ok);
    mc_json_put(report, "layers", rows, &ok);
    return ok ? 0 : no_memory(j->err);
}

/* ---- the whole ---- */

/* Options that remove nodes, or say how many. */
static const char *other_of(const struct job *j, const json_t *options)
{
    static const char *const others[] = {"keep", "target", "auto"};
    if (json_object_get(options, "pattern") && json_object_get(options, "sparsity"))
        return "--pattern and --sparsity exclude each other";
    if (j->ctx->choices)
        return "--choices removes nodes; --pattern and --sparsity make single weights 0";
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const json_t *v = json_object_get(options, others[i]);
        if (v && !json_is_false(v) && !json_is_null(v) && (!json_is_array(v) || json_array_size(v)))
            return "--keep, --target and --auto remove nodes; --pattern and --sparsity make single "
                   "weights 0";
    }
    return NULL;
}

static int read_options(struct job *j, const json_t *options)
{
    const char *pattern = mc_json_string(options, "pattern"), *other = other_of(j, options);
    int end = 0;
    j->sparsity = mc_json_number(options, "sparsity", 0);
    j->by_layer = !strcmp(mc_json_string_or(options, "scope", "global"), "layer");
    if (other)
        return mc_fail(j->err, MC_EUSAGE, "%s; give one of them", other);
    if (!pattern && !(j->sparsity > 0 && j->sparsity < 1))
        return mc_fail(j->err, MC_EUSAGE, "--sparsity takes a share above 0 and below 1, not %g",
                       j->sparsity);
    enum { LONGEST = 64 };
    if (pattern && (sscanf(pattern, "%9d:%9d%n", &j->keep, &j->run, &end) != 2 || pattern[end] ||
                    j->keep < 1 || j->run <= j->keep || j->run > LONGEST))
        return mc_fail(j->err, MC_EUSAGE,
                       "--pattern takes N:M, of which N of every M stay, as 2:4; M to %d, not '%s'",
                       LONGEST, pattern);
    return 0;
}

static int run(struct job *j, const json_t *options, json_t *report)
{
    int rc = mc_mask_sites_find(j->m->graph, &j->s, j->err);
    if (!rc)
        rc = mc_mask_sites_select(&j->s, "only", mc_json_string(options, "only"), true, j->err);
    if (!rc)
        rc = mc_mask_sites_select(&j->s, "skip", mc_json_string(options, "skip"), false, j->err);
    j->made = rc ? NULL : mc_calloc(j->s.n + 1, sizeof *j->made);
    if (!rc && !j->made)
        rc = no_memory(j->err);
    if (!rc && j->ctx->calib && !j->ctx->dry_run) {
        j->square = mc_calloc(j->s.n + 1, sizeof *j->square);
        rc = j->square ? mc_mask_inputs(j->ctx, j->m->graph, &j->s, j->square, j->err)
                       : no_memory(j->err);
    }
    rc = rc ? rc : choose(j);
    bool any = false;
    for (size_t i = 0; i < j->s.n && !rc; i++)
        any = any || !j->made[i].why;
    if (!rc && !any)
        rc = mc_fail(j->err, MC_EUNSUP, "no weight can be masked: %s",
                     j->s.n ? j->made[0].why : "the model has no products with float weights");
    for (size_t i = 0; i < j->s.n && !rc; i++)
        rc = apply(j, i);
    return rc ? rc : account(j, report);
}

int mc_mask_apply(struct mc_pass_ctx *ctx, const json_t *options, struct mc_model *m,
                  json_t *report, struct mc_err *err)
{
    struct job j = {.ctx = ctx, .m = m, .err = err};
    int rc = read_options(&j, options);
    rc = rc ? rc : run(&j, options, report);
    for (size_t i = 0; i < j.s.n; i++) {
        free(j.made ? j.made[i].gone : NULL);
        free(j.square ? j.square[i] : NULL);
    }
    free(j.made);
    free(j.square);
    mc_mask_sites_free(&j.s);
    return rc;
}
