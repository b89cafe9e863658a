#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "passes/circulant/circulant_run.h"
#include "passes/layer/layer_named.h"

/* What padding may add to a weight before blocks are said not to fit it: of 10 rows, 16 in blocks of 8 would be too many. */
static const double PADDING = 0.25;

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory");
}

/* ---- one layer ---- */

struct mc_circulant_form mc_circulant_form_of(const struct mc_layer *l, int64_t b)
{
    int64_t channels = l->kind == MC_LAYER_CONV ? l->weight->shape.dim[1] : l->n;
    return (struct mc_circulant_form){
        .m = l->m, .channels = channels, .taps = l->n / channels, .b = b};
}

uint64_t mc_circulant_bytes(const struct mc_layer *l, int64_t b)
{
    struct mc_circulant_form f = mc_circulant_form_of(l, b);
    return (uint64_t)mc_circulant_form_count(&f) * (mc_dtype_info(l->weight->dtype)->bits / 8);
}

static int64_t smaller_side(const struct mc_layer *l)
{
    struct mc_circulant_form f = mc_circulant_form_of(l, 1);
    return f.m < f.channels ? f.m : f.channels;
}

bool mc_circulant_suits(const struct mc_layer *l, int64_t b, bool asked,
                        char text[MC_CIRCULANT_REASON])
{
    struct mc_circulant_form f = mc_circulant_form_of(l, b);
    double padded = (double)mc_circulant_form_p(&f) * (double)mc_circulant_form_q(&f) * (double)b *
                    (double)b / ((double)f.m * (double)f.channels);
    const char *why;
    if (b == 1)
        snprintf(text, MC_CIRCULANT_REASON, "blocks of 1 are the weight as it is");
    else if (b > smaller_side(l))
        snprintf(text, MC_CIRCULANT_REASON, "blocks of %lld are larger than it, %lld x %lld",
                 (long long)b, (long long)f.m, (long long)f.channels);
    else if (!asked && padded > 1 + PADDING)
        snprintf(text, MC_CIRCULANT_REASON,
                 "%lld x %lld would have to be padded by %.0f %% for blocks of %lld",
                 (long long)f.m, (long long)f.channels, 100 * (padded - 1), (long long)b);
    else if (mc_circulant_bytes(l, b) >= l->weight->bytes)
        snprintf(text, MC_CIRCULANT_REASON, "blocks of %lld would not make it smaller",
                 (long long)b);
    else if ((why = mc_circulant_unplaceable(l, b)))
        snprintf(text, MC_CIRCULANT_REASON, "%s", why);
    else
        return true;
    return false;
}

/* Why the form of the layer is not one of these functions; NULL: it is. */
static const char *form_reason(const struct mc_model *m, const struct mc_layer *l)
{
    if (l->kind == MC_LAYER_TABLE)
        return "rows of a table are looked up, not multiplied";
    if (l->kind == MC_LAYER_INPUT || l->kind == MC_LAYER_RECURRENT)
        return "a recurrent cell takes its weights whole";
    if (l->kind == MC_LAYER_LEFT)
        return "the weight is on the left: its inputs are columns";
    if (l->parts > 1)
        return "a convolution in groups has few channels in each";
    if (l->reason && l->reason != mc_layer_no_rank)
        return l->reason;
    for (size_t s = 0; s < l->n_sites; s++) {
        const struct mc_node *n = l->sites[s].node;
        bool given = n->n_in > 2 && n->in[2];
        if (l->kind == MC_LAYER_GEMM &&
            mc_node_float(n, "alpha", 1) != mc_node_float(l->sites[0].node, "alpha", 1))
            return "its nodes multiply it by different numbers";
        if (n->graph != m->graph)
            return "it is in the body of a node or function";
        if (given && !l->sites[s].bias)
            return "its bias is computed, or has several rows";
        if (l->kind == MC_LAYER_CONV && l->weight->shape.rank != 4)
            return "its window has not two dimensions";
    }
    return l->weight->dtype == MC_DTYPE_F32 ? NULL : "its weight is not float32";
}

int mc_circulant_items(struct mc_circulant_run *r, struct mc_err *err)
{
    r->item = mc_calloc(r->layers.n + 1, sizeof *r->item);
    if (!r->item)
        return no_memory(err);
    for (size_t i = 0; i < r->layers.n; i++) {
        const struct mc_layer *l = &r->layers.item[i];
        r->item[i].form = mc_circulant_form_of(l, 1);
        r->item[i].reason = form_reason(r->model, l);
        r->item[i].energy = r->item[i].error = NAN;
    }
    return 0;
}

void mc_circulant_items_free(struct mc_circulant_run *r)
{
    for (size_t i = 0; r->item && i < r->layers.n; i++) {
        free(r->item[i].col);
        free(r->item[i].gather);
    }
    free(r->item);
    r->item = NULL;
}

/* ---- names ---- */

/* hit [layers.n]: those that may be changed and are called so. */
static int find(const struct mc_circulant_run *r, const struct mc_pattern *w, bool *hit,
                struct mc_err *err)
{
    struct mc_nearest near = {.word = w->text};
    const char *why = NULL;
    bool any = false;
    for (size_t i = 0; i < r->layers.n; i++) {
        const struct mc_layer *l = &r->layers.item[i];
        bool called = mc_layer_is_called(l, w);
        hit[i] = called && !r->item[i].reason;
        any = any || hit[i];
        why = called && !hit[i] ? r->item[i].reason : why;
        mc_layer_offer(l, &near);
    }
    for (size_t i = 0; i < r->layers.n_others; i++)
        if (mc_layer_is_called(&r->layers.others[i], w))
            why = r->layers.others[i].reason;
    if (any)
        return 0;
    if (why)
        return mc_fail(err, MC_EUSAGE, "--%s: '%s' cannot be made circulant: %s", w->option,
                       w->text, why);
    return mc_pattern_missed(w, &near, err);
}

static int apply_pattern(struct mc_circulant_run *r, const json_t *options, const char *option,
                         bool keeps, const char *why, bool *hit, struct mc_err *err)
{
    const char *text = mc_param_text(options, option);
    struct mc_pattern pattern;
    if (!text)
        return 0;
    int rc = mc_pattern_open(option, text, &pattern, err);
    if (rc)
        return rc;
    rc = find(r, &pattern, hit, err);
    for (size_t i = 0; !rc && i < r->layers.n; i++)
        if (!r->item[i].reason && hit[i] != keeps)
            r->item[i].reason = why;
    mc_pattern_close(&pattern);
    return rc;
}

/* ---- --block ---- */

/* A whole number of at least 1, 0 for anything else. */
static int64_t number(const char *text)
{
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && v > 0 ? v : 0;
}

static int block_of(struct mc_circulant_run *r, const char *text, const char *equals, bool *hit,
                    struct mc_err *err)
{
    int64_t b = number(equals + 1);
    char *name = mc_calloc((size_t)(equals - text) + 1, 1);
    if (!name)
        return no_memory(err);
    memcpy(name, text, (size_t)(equals - text));
    struct mc_pattern called = mc_pattern_name("block", name);
    int rc = b < 1
                 ? mc_fail(err, MC_EUSAGE,
                           "--block takes a whole number from 1 on, or NAME=NUMBER, not '%s'", text)
                 : find(r, &called, hit, err);
    for (size_t i = 0; !rc && i < r->layers.n; i++) {
        const struct mc_layer *l = &r->layers.item[i];
        if (!hit[i])
            continue;
        r->item[i].given = b;
        if (b > smaller_side(l))
            rc =
                mc_fail(err, MC_EUSAGE, "--block: blocks of %lld are larger than '%s', %lld x %lld",
                        (long long)b, name, (long long)l->m, (long long)r->item[i].form.channels);
    }
    free(name);
    return rc;
}

/* The block for all that no name is given a block for. */
static int check_block(const struct mc_circulant_run *r, struct mc_err *err)
{
    size_t largest = SIZE_MAX;
    for (size_t i = 0; i < r->layers.n; i++)
        if (!r->item[i].reason &&
            (largest == SIZE_MAX ||
             smaller_side(&r->layers.item[i]) > smaller_side(&r->layers.item[largest])))
            largest = i;
    if (largest == SIZE_MAX || r->block <= smaller_side(&r->layers.item[largest]))
        return 0;
    const struct mc_layer *l = &r->layers.item[largest];
    if (r->n_calls)
        return mc_fail(err, MC_EUNSUP,
                       "nothing is left to make circulant: %zu layer%s of the model %s so already, "
                       "and blocks of %lld are larger than every other layer",
                       r->n_calls, r->n_calls > 1 ? "s" : "", r->n_calls > 1 ? "are" : "is",
                       (long long)r->block);
    return mc_fail(
        err, MC_EUSAGE,
        "--block: blocks of %lld are larger than every layer; the largest, '%s', is %lld "
        "x %lld",
        (long long)r->block, mc_node_label(l->sites[0].node), (long long)l->m,
        (long long)r->item[largest].form.channels);
}

int mc_circulant_select(struct mc_circulant_run *r, const json_t *options, struct mc_err *err)
{
    bool *hit = mc_calloc(r->layers.n + 1, sizeof *hit);
    int rc = hit ? 0 : no_memory(err);
    size_t k;
    const json_t *v;
    if (!rc)
        rc = apply_pattern(r, options, "only", true, "--only does not name it", hit, err);
    if (!rc)
        rc = apply_pattern(r, options, "skip", false, "--skip names it", hit, err);
    json_array_foreach(json_object_get(options, "block"), k, v)
    {
        const char *text = json_string_value(v), *equals = strrchr(text, '=');
        r->blocks_given = true;
        if (!rc && equals)
            rc = block_of(r, text, equals, hit, err);
        else if (!rc && !(r->block = number(text)))
            rc = mc_fail(err, MC_EUSAGE,
                         "--block takes a whole number from 1 on, or NAME=NUMBER, not '%s'", text);
    }
    free(hit);
    return rc || !r->block ? rc : check_block(r, err);
}
