#include <float.h>
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "passes/quant/range/quant_stats_parts.h"

#define FORMAT "mcompress-statistics"
enum { VERSION = 1 };
static const json_int_t MOST_SAMPLES = INT64_C(1) << 48; /* so that sums of files stay numbers */

/* ---- writing ---- */

static json_t *channels_json(const struct mc_quant_stat *item, bool *ok)
{
    json_t *o = json_object(), *lo = json_array(), *hi = json_array(), *sum = json_array();
    for (int64_t i = 0; i < item->channels; i++) {
        mc_json_add(lo, mc_json_real((double)item->ch_min[i]), ok); /* null: nothing finite */
        mc_json_add(hi, mc_json_real((double)item->ch_max[i]), ok);
        mc_json_add(sum, mc_json_real(item->ch_sum[i]), ok);
    }
    mc_json_put(o, "axis", json_integer(item->axis), ok);
    mc_json_put(o, "count", mc_json_size(item->ch_n), ok);
    mc_json_put(o, "min", lo, ok);
    mc_json_put(o, "max", hi, ok);
    mc_json_put(o, "sum", sum, ok);
    return o;
}

static json_t *item_json(const struct mc_quant_stat *item, bool *ok)
{
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(item->name), ok);
    if (item->fixed) {
        json_t *range = json_object();
        mc_json_put(range, "scale", mc_json_real((double)item->param.scale), ok);
        mc_json_put(range, "zero", json_integer(item->param.zero), ok);
        mc_json_put(o, "range", range, ok);
    }
    mc_json_put(o, "histogram", mc_quant_hist_json(&item->hist), ok);
    if (item->channels > 0)
        mc_json_put(o, "channels", channels_json(item, ok), ok);
    return o;
}

json_t *mc_quant_stats_json(const struct mc_quant_stats *s)
{
    json_t *o = json_object(), *values = json_array();
    bool ok = true;
    for (size_t i = 0; i < s->n; i++)
        mc_json_add(values, item_json(&s->item[i], &ok), &ok);
    mc_json_put(o, "format", json_string(FORMAT), &ok);
    mc_json_put(o, "version", json_integer(VERSION), &ok);
    mc_json_put(o, "model", json_string(s->digest), &ok);
    mc_json_put(o, "samples", json_integer(s->samples), &ok);
    mc_json_put(o, "values", values, &ok);
    if (ok)
        return o;
    json_decref(o);
    return NULL;
}

/* ---- reading ---- */

static int odd_file(const char *name, const char *what, struct mc_err *err)
{
    return mc_fail(err, MC_EDATA, "value '%s': %s", name, what);
}

static int read_range(const json_t *range, struct mc_quant_stat *item, struct mc_err *err)
{
    const json_t *scale = json_object_get(range, "scale"), *zero = json_object_get(range, "zero");
    double s = json_number_value(scale);
    if (!json_is_number(scale) || !json_is_integer(zero) || !(s >= (double)FLT_MIN) ||
        s > (double)FLT_MAX || json_integer_value(zero) < INT16_MIN ||
        json_integer_value(zero) > UINT16_MAX)
        return odd_file(item->name, "'range' needs a \"scale\" above 0 and an integer \"zero\"",
                        err);
    item->fixed = true;
    item->param = (struct mc_quant_param){(float)s, (int32_t)json_integer_value(zero)};
    return 0;
}

static int read_number(const json_t *list, size_t i, double missing, double *ret)
{
    const json_t *v = json_array_get(list, i);
    *ret = json_is_null(v) ? missing : json_number_value(v);
    return json_is_null(v) || json_is_number(v) ? 0 : -1;
}

static int read_channels(const json_t *o, struct mc_quant_stats *s, struct mc_quant_stat *item,
                         struct mc_err *err)
{
    const json_t *lo = json_object_get(o, "min"), *hi = json_object_get(o, "max");
    const json_t *sum = json_object_get(o, "sum"), *axis = json_object_get(o, "axis");
    const json_t *count = json_object_get(o, "count");
    size_t n = json_array_size(lo);
    double a, b, c;
    if (!json_is_array(lo) || !json_is_array(hi) || !json_is_array(sum) || n == 0 ||
        json_array_size(hi) != n || json_array_size(sum) != n || !json_is_integer(axis) ||
        !json_is_integer(count) || json_integer_value(count) < 0 || json_integer_value(axis) < 0 ||
        json_integer_value(axis) >= MC_RANK_MAX)
        return odd_file(item->name, "'channels' is not what it should be", err);
    int rc = mc_quant_stat_channels(s, item, (int)json_integer_value(axis), (int64_t)n, err);
    item->ch_n = (uint64_t)json_integer_value(count);
    for (size_t i = 0; i < n && !rc; i++) {
        if (read_number(lo, i, INFINITY, &a) || read_number(hi, i, -INFINITY, &b) ||
            read_number(sum, i, 0, &c))
            rc = odd_file(item->name, "'channels' holds what is no number", err);
        item->ch_min[i] = (float)a;
        item->ch_max[i] = (float)b;
        item->ch_sum[i] = c;
    }
    return rc;
}

static int read_item(const json_t *o, struct mc_quant_stats *s, struct mc_quant_stat *item,
                     struct mc_err *err)
{
    const char *name = mc_json_string(o, "name");
    const json_t *range = json_object_get(o, "range"), *channels = json_object_get(o, "channels");
    struct mc_quant_hist h;
    struct mc_err why;
    if (!name)
        return mc_fail(err, MC_EDATA, "a value has no name");
    item->name = mc_arena_strdup(s->mem, name);
    if (!item->name)
        return mc_fail(err, MC_ENOMEM, "out of memory for statistics");
    for (const struct mc_quant_stat *other = s->item; other < item; other++)
        if (!strcmp(other->name, name))
            return odd_file(name, "they are there twice", err);
    int rc = mc_quant_hist_read(json_object_get(o, "histogram"), &h, &why);
    if (rc)
        return rc == MC_ENOMEM ? mc_fail(err, rc, "%s", why.msg) : odd_file(name, why.msg, err);
    mc_quant_hist_free(&item->hist);
    item->hist = h;
    rc = range ? read_range(range, item, err) : 0;
    return rc || !channels ? rc : read_channels(channels, s, item, err);
}

/* Why the file does not fit, as exactly as can be said. */
static int check_model(const json_t *o, const json_t *values, const struct mc_model *m,
                       struct mc_err *err)
{
    char digest[65];
    const char *of = mc_json_string(o, "model");
    for (size_t i = 0; i < json_array_size(values); i++) {
        const char *name = mc_json_string(json_array_get(values, i), "name");
        if (name && !mc_graph_value(m->graph, name))
            return mc_fail(err, MC_EUSAGE, "it is of another model: this one has no value '%s'",
                           name);
    }
    mc_quant_stats_digest(m, digest);
    if (!of || strcmp(of, digest))
        return mc_fail(err, MC_EUSAGE, "it is of another model, whose inputs or nodes differ");
    return 0;
}

int mc_quant_stats_read(const json_t *o, const struct mc_model *m, struct mc_quant_stats **ret,
                        struct mc_err *err)
{
    const json_t *values = json_object_get(o, "values"), *samples = json_object_get(o, "samples");
    const char *format = mc_json_string(o, "format");
    struct mc_quant_stats *s;
    if (!format || strcmp(format, FORMAT) || !json_is_array(values) || !json_is_integer(samples) ||
        json_integer_value(samples) < 0 || json_integer_value(samples) > MOST_SAMPLES)
        return mc_fail(err, MC_EDATA, "it is no file of --stats-out");
    if (mc_json_number(o, "version", 0) != VERSION)
        return mc_fail(err, MC_EDATA, "its version is not known here");
    int rc = check_model(o, values, m, err);
    rc = rc ? rc : mc_quant_stats_new(json_array_size(values), &s, err);
    if (rc)
        return rc;
    s->samples = (int64_t)json_integer_value(samples);
    mc_quant_stats_digest(m, s->digest);
    for (size_t i = 0; i < s->n && !rc; i++)
        rc = read_item(json_array_get(values, i), s, &s->item[i], err);
    if (rc)
        mc_quant_stats_free(s);
    else
        *ret = s;
    return rc;
}

/* ---- merging ---- */

static int merge_channels(struct mc_quant_stats *s, struct mc_quant_stat *item,
                          const struct mc_quant_stat *of, struct mc_err *err)
{
    int rc = 0;
    if (!of->channels)
        return 0;
    if (!item->channels && !item->ch_n)
        rc = mc_quant_stat_channels(s, item, of->axis, of->channels, err);
    if (rc || item->channels != of->channels || item->axis != of->axis)
        return rc;
    for (int64_t i = 0; i < of->channels; i++) {
        item->ch_min[i] = fminf(item->ch_min[i], of->ch_min[i]);
        item->ch_max[i] = fmaxf(item->ch_max[i], of->ch_max[i]);
        item->ch_sum[i] += of->ch_sum[i];
    }
    item->ch_n += of->ch_n;
    return 0;
}

static int merge_item(struct mc_quant_stats *s, struct mc_quant_stat *item,
                      const struct mc_quant_stat *of, struct mc_err *err)
{
    int rc = mc_quant_hist_merge(&item->hist, &of->hist, err);
    if (!item->fixed && of->fixed) {
        item->fixed = true;
        item->param = of->param;
    }
    return rc ? rc : merge_channels(s, item, of, err);
}

/* Items for the values that s lacks. */
static int make_room(struct mc_quant_stats *s, const struct mc_quant_stats *of, struct mc_err *err)
{
    size_t more = 0;
    for (size_t i = 0; i < of->n; i++)
        more += !mc_quant_stats_of(s, of->item[i].name);
    if (!more)
        return 0;
    struct mc_quant_stat *item = mc_arena_array(s->mem, s->n + more, sizeof *item);
    if (!item)
        return mc_fail(err, MC_ENOMEM, "out of memory for statistics");
    memcpy(item, s->item, s->n * sizeof *item);
    s->item = item;
    for (size_t i = 0; i < of->n; i++) {
        if (mc_quant_stats_of(s, of->item[i].name))
            continue;
        struct mc_quant_stat *add = &item[s->n];
        *add = (struct mc_quant_stat){.axis = -1,
                                      .name = mc_arena_strdup(s->mem, of->item[i].name),
                                      .known = mc_arena_array(s->mem, 1, sizeof *add->known)};
        if (!add->name || !add->known)
            return mc_fail(err, MC_ENOMEM, "out of memory for statistics");
        int rc = mc_quant_hist_init(&add->hist, err);
        if (rc)
            return rc;
        s->n++;
    }
    return 0;
}

int mc_quant_stats_merge(struct mc_quant_stats *s, const struct mc_quant_stats *of,
                         struct mc_err *err)
{
    if (strcmp(s->digest, of->digest))
        return mc_fail(err, MC_EUSAGE, "statistics of two models cannot be put together");
    int rc = make_room(s, of, err);
    for (size_t i = 0; i < s->n && !rc; i++) {
        const struct mc_quant_stat *other = mc_quant_stats_of(of, s->item[i].name);
        if (other)
            rc = merge_item(s, &s->item[i], other, err);
    }
    if (!rc)
        s->samples += of->samples;
    return rc;
}
