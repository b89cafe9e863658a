#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/nearest.h"
#include "passes/pattern.h"
#include "passes/quant/quant_run.h"

/* What a layer falls back to, from the form asked for to weights alone. */
enum mc_quant_form mc_quant_nearest(const struct mc_quant_run *r, size_t i, enum mc_quant_form wish)
{
    static const enum mc_quant_form next[] = {
        [MC_QUANT_FLOAT] = MC_QUANT_FLOAT,     [MC_QUANT_HALF] = MC_QUANT_FLOAT,
        [MC_QUANT_WEIGHT] = MC_QUANT_FLOAT,    [MC_QUANT_BLOCK] = MC_QUANT_WEIGHT,
        [MC_QUANT_DYNAMIC] = MC_QUANT_WEIGHT,  [MC_QUANT_STATIC] = MC_QUANT_WEIGHT,
        [MC_QUANT_STATIC16] = MC_QUANT_WEIGHT,
    };
    const struct mc_quant_site *s = &r->sites.item[i];
    if (s->reason || r->left[i])
        return MC_QUANT_FLOAT;
    while (wish != MC_QUANT_FLOAT && s->why[wish])
        wish = next[wish];
    return wish;
}

/* ---- choices ---- */

static int form_called(const char *text, enum mc_quant_form *ret, struct mc_err *err)
{
    struct mc_nearest near = {.word = text};
    for (int f = 0; f < MC_QUANT_FORMS; f++) {
        if (!strcmp(text, mc_quant_form_names[f])) {
            *ret = (enum mc_quant_form)f;
            return 0;
        }
        mc_nearest_offer(&near, mc_quant_form_names[f]);
    }
    return mc_fail(err, MC_EUSAGE, "--choices: '%s' is no form; the nearest is '%s'", text,
                   near.name ? near.name : "weight");
}

static int site_called(const struct mc_quant_run *r, const char *name, size_t *ret,
                       struct mc_err *err)
{
    struct mc_nearest near = {.word = name};
    for (size_t i = 0; i < r->sites.n; i++) {
        const char *label = mc_node_label(r->sites.item[i].node);
        *ret = i;
        if (!strcmp(name, label))
            return 0;
        mc_nearest_offer(&near, label);
    }
    return mc_fail(err, MC_EUSAGE, "--choices: the model has no layer '%s'%s%s%s", name,
                   near.name ? "; the nearest is '" : "", near.name ? near.name : "",
                   near.name ? "'" : "");
}

/* seen [sites]: the layers of earlier entries. */
static int take_choice(struct mc_quant_run *r, size_t k, const json_t *entry, bool *seen,
                       struct mc_err *err)
{
    const json_t *choice = json_object_get(entry, "choice");
    const char *name = mc_json_string(entry, "name");
    enum mc_quant_form form = MC_QUANT_FLOAT;
    size_t i = 0;
    if (!name)
        return mc_fail(err, MC_EUSAGE, "--choices: layer %zu of the list has no \"name\"", k + 1);
    if (!json_is_string(choice) && !json_is_null(choice))
        return mc_fail(err, MC_EUSAGE,
                       "--choices: layer '%s' has no \"choice\": give a form as text", name);
    int rc = site_called(r, name, &i, err);
    if (!rc && seen[i])
        rc = mc_fail(err, MC_EUSAGE, "--choices: layer '%s' is in the list twice", name);
    if (!rc && json_is_string(choice))
        rc = form_called(json_string_value(choice), &form, err);
    if (rc)
        return rc;
    const char *why =
        r->sites.item[i].reason ? r->sites.item[i].reason : r->sites.item[i].why[form];
    if (form != MC_QUANT_FLOAT && why)
        return mc_fail(err, MC_EUSAGE, "--choices: '%s' cannot be %s: %s", name,
                       mc_quant_form_names[form], why);
    seen[i] = true;
    r->form[i] = form;
    return 0;
}

static int take_choices(struct mc_quant_run *r, struct mc_err *err)
{
    size_t k;
    const json_t *layers = json_object_get(r->ctx->choices, "layers"), *entry;
    if (!json_is_array(layers))
        return mc_fail(err, MC_EUSAGE, "--choices: there is no list \"layers\" in it");
    bool *seen = mc_calloc(r->sites.n, sizeof *seen);
    int rc = seen ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < r->sites.n; i++)
        r->form[i] = MC_QUANT_FLOAT;
    json_array_foreach(layers, k, entry)
    {
        if (!rc)
            rc = take_choice(r, k, entry, seen, err);
    }
    free(seen);
    return rc;
}

int mc_quant_decide(struct mc_quant_run *r, const struct mc_search_ask *ask, struct mc_err *err)
{
    if (r->ctx->choices)
        return take_choices(r, err);
    if (ask->given && ask->goal != MC_SEARCH_DROP)
        return mc_quant_target(r, ask, err);
    if (r->automatic)
        return mc_quant_search(r, r->form, err);
    for (size_t i = 0; i < r->sites.n; i++)
        r->form[i] = mc_quant_nearest(r, i, r->wish);
    return 0;
}

int mc_quant_make(struct mc_quant_run *r, const enum mc_quant_form *form, bool sizes_only,
                  struct mc_quant_built *ret, struct mc_err *err)
{
    return mc_quant_build(r->ctx, r->before, &r->sites, &r->rules, r->stats, form, r->cache,
                          sizes_only, ret, err);
}

/* ---- --only and --skip ---- */

static int match(struct mc_quant_run *r, const char *option, const char *text, bool keeps,
                 struct mc_err *err)
{
    struct mc_pattern pattern;
    bool any = false;
    int rc = mc_pattern_open(option, text, &pattern, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < r->sites.n; i++) {
        const struct mc_quant_site *s = &r->sites.item[i];
        bool hit = mc_pattern_fits(&pattern, mc_node_label(s->node));
        for (int k = 0; k < s->n_weights; k++)
            hit = hit || (s->weight[k] && mc_pattern_fits(&pattern, s->weight[k]->name));
        any = any || hit;
        r->left[i] = r->left[i] || hit != keeps;
    }
    mc_pattern_close(&pattern);
    return any ? 0
               : mc_fail(err, MC_EUSAGE,
                         "--%s '%s' matches no layer; 'mcompress quant MODEL "
                         "--form weight --dry-run' lists them",
                         option, text);
}

int mc_quant_select(struct mc_quant_run *r, const json_t *options, struct mc_err *err)
{
    const char *only = mc_json_string(options, "only"), *skip = mc_json_string(options, "skip");
    int rc = only ? match(r, "only", only, true, err) : 0;
    return rc || !skip ? rc : match(r, "skip", skip, false, err);
}
