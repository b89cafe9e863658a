#include "passes/search/search_choices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/nearest.h"

/* ---- out ---- */

static json_t *option_row(const struct mc_search_option *o, bool *ok)
{
    json_t *r = json_object();
    mc_json_put(r, "option", mc_json_text(o->label), ok);
    mc_json_put(r, "bytes", mc_json_real(o->bytes), ok);
    mc_json_put(r, "macs", mc_json_real(o->macs), ok);
    mc_json_put(r, "params", mc_json_real(o->params), ok);
    if (o->share > 0)
        mc_json_put(r, "share", mc_json_real(o->share), ok);
    mc_json_put(r, "error", mc_json_real(o->measured), ok);
    mc_json_put(r, "predicted", mc_json_real(o->predicted), ok);
    if (!isnan(o->seconds))
        mc_json_put(r, "seconds", mc_json_real(o->seconds), ok);
    return r;
}

/* Of very many options those that were measured, the one that is taken, and some between. */
static bool listed(const struct mc_search_item *it, size_t k)
{
    enum { SOME = 8 };
    return k == 0 || k + 1 == it->n || k == it->choice || !isnan(it->option[k].measured) ||
           k % (it->n / SOME + 1) == 0;
}

static json_t *item_row(const struct mc_search_item *it, bool *ok)
{
    json_t *r = json_object(), *options = json_array();
    mc_json_put(r, "name", mc_json_text(it->name), ok);
    mc_json_put(r, "op", mc_json_text(it->op), ok);
    mc_json_put(r, "choice", mc_json_text(it->option[it->choice].label), ok);
    for (size_t k = 0; k < it->n; k++)
        if (listed(it, k))
            mc_json_add(options, option_row(&it->option[k], ok), ok);
    mc_json_put(r, "options", options, ok);
    return r;
}

json_t *mc_search_report(const struct mc_search *s, const struct mc_search_result *r)
{
    bool ok = true, given = s->ctx->choices != NULL;
    json_t *o = json_object(), *layers = json_array();
    mc_json_put(o, "goal", json_string(given ? "choices" : mc_search_goal_names[s->goal]), &ok);
    mc_json_put(o, "limit", mc_json_real(given ? NAN : r->limit), &ok);
    mc_json_put(o, "reached", given ? json_null() : json_boolean(r->reached), &ok);
    mc_json_put(o, "before", mc_json_real(r->before), &ok);
    mc_json_put(o, "after", mc_json_real(r->cost), &ok);
    mc_json_put(o, "samples", json_integer(r->samples), &ok);
    mc_json_put(o, "metric", mc_json_text(r->metric), &ok);
    mc_json_put(o, "divergence", mc_json_real(r->divergence), &ok);
    mc_json_put(o, "drop", mc_json_real(r->drop), &ok);
    mc_json_put(o, "measurements", mc_json_size(r->measurements), &ok);
    mc_json_put(o, "ended", mc_json_text(r->ended), &ok);
    for (size_t i = 0; i < s->n; i++)
        mc_json_add(layers, item_row(&s->item[i], &ok), &ok);
    mc_json_put(o, "layers", layers, &ok);
    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

/* ---- in ---- */

static int unknown(const char *what, const char *word, const char *where,
                   const struct mc_nearest *near, struct mc_err *err)
{
    return mc_fail(err, MC_EUSAGE, "choices: %s has no %s '%s'%s%s%s", where ? where : "the model",
                   what, word, near->name ? "; did you mean '" : "", near->name ? near->name : "",
                   near->name ? "'?" : "");
}

static int find_item(const struct mc_search *s, const char *name, size_t *ret, struct mc_err *err)
{
    struct mc_nearest near = {.word = name};
    for (size_t i = 0; i < s->n; i++) {
        if (!strcmp(s->item[i].name, name)) {
            *ret = i;
            return 0;
        }
        mc_nearest_offer(&near, s->item[i].name);
    }
    return unknown("layer that can be changed called", name, NULL, &near, err);
}

static int take(struct mc_search *s, size_t i, const char *label, struct mc_err *err)
{
    struct mc_nearest near = {.word = label};
    size_t at = 0;
    for (size_t k = 0; k < s->item[i].n; k++) {
        if (!strcmp(s->item[i].option[k].label, label)) {
            s->item[i].choice = k;
            return 0;
        }
        mc_nearest_offer(&near, s->item[i].option[k].label);
    }
    int rc = s->find ? s->find(s->self, s, i, label, &at, err) : 0;
    if (rc)
        return rc;
    if (!at)
        return unknown("choice", label, s->item[i].name, &near, err);
    s->item[i].choice = at;
    return 0;
}

/* seen [n]: the items of earlier rows. */
static int read_row(struct mc_search *s, size_t at, const json_t *row, bool *seen,
                    struct mc_err *err)
{
    const json_t *choice = json_object_get(row, "choice");
    const char *name = mc_json_string(row, "name");
    size_t i = 0;
    if (!name)
        return mc_fail(err, MC_EUSAGE, "choices: layer %zu of the list has no \"name\"", at + 1);
    if (!json_is_string(choice) && !json_is_null(choice))
        return mc_fail(err, MC_EUSAGE,
                       "choices: layer '%s' has no \"choice\": give one of its options as text",
                       name);
    int rc = find_item(s, name, &i, err);
    if (!rc && seen[i])
        rc = mc_fail(err, MC_EUSAGE, "choices: layer '%s' is in the list twice", name);
    if (rc)
        return rc;
    seen[i] = true;
    return json_is_null(choice) ? 0 : take(s, i, json_string_value(choice), err);
}

int mc_search_take_choices(struct mc_search *s, struct mc_err *err)
{
    const json_t *layers = json_object_get(s->ctx->choices, "layers"), *row;
    size_t at;
    if (!json_is_array(layers))
        return mc_fail(err, MC_EUSAGE, "choices: there is no list \"layers\" in it");
    bool *seen = mc_calloc(s->n, sizeof *seen);
    int rc = seen ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    json_array_foreach(layers, at, row)
    {
        if (!rc)
            rc = read_row(s, at, row, seen, err);
    }
    free(seen);
    return rc;
}
