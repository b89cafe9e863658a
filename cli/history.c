#include "cli/history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "cli/recipe_parts.h"
#include "graph/edit.h"
#include "train/train.h"

static const char recipe_key[] = "ai.mcompress.recipe", history_key[] = "ai.mcompress.history";

json_t *mc_history_values(const struct mc_chain_step *s)
{
    json_t *values = json_copy(s->cli.values);
    for (const struct mc_param *p = mc_train_params; values && p->type && !s->trains; p++)
        json_object_del(values, p->name);
    return values;
}

char *mc_history_step(const struct mc_chain_step *s)
{
    struct mc_recipe_kind k;
    char *text = NULL;
    size_t size = 0;
    json_t *values = mc_history_values(s);
    FILE *out = values ? open_memstream(&text, &size) : NULL;
    if (out) {
        mc_recipe_kind_of(s->cli.command, s->cli.pass, &k);
        mc_recipe_print(out, &k, values, true);
        if (fclose(out)) {
            free(text);
            text = NULL;
        }
    }
    json_decref(values);
    return text;
}

/* "3 of 4 layers changed". */
static void say_layers(FILE *out, const char *before, const json_t *layers)
{
    size_t i, changed = 0;
    const json_t *layer;
    json_array_foreach(layers, i, layer) changed +=
        strcmp(mc_json_string_or(layer, "action", "left"), "left") != 0;
    if (i)
        fprintf(out, "%s%zu of %zu layers changed", before, changed, i);
}

static void say_training(FILE *out, const char *before, const json_t *t)
{
    char n[MC_TEXT];
    const json_t *best = json_object_get(t, "best");
    double loss = mc_json_number(best, "loss", NAN), top1 = mc_json_number(best, "top1", NAN);
    fprintf(out, "%s%s updates by %s", before,
            mc_text_group((int64_t)mc_json_number(t, "updates", 0), n),
            mc_json_string_or(t, "loss", "?"));
    if (isfinite(loss))
        fprintf(out, ", held-out loss %.4g", loss);
    if (isfinite(top1))
        fprintf(out, ", held-out top-1 %.2f %%", 100 * top1);
}

static void say(FILE *out, const struct mc_chain_step *s)
{
    char a[MC_TEXT], b[MC_TEXT];
    double before = mc_json_number(s->account, "bytes_before", NAN);
    double after = mc_json_number(s->account, "bytes_after", NAN);
    const json_t *training = json_object_get(s->account, "training");
    long long seed = mc_param_int(s->cli.values, "seed", 0);
    bool sized = isfinite(before) && isfinite(after) && before != after;
    if (seed)
        fprintf(out, "seed %lld, ", seed);
    if (sized)
        fprintf(out, "%s -> %s", mc_text_bytes(before, a), mc_text_bytes(after, b));
    else if (!training)
        fputs("as large as before", out);
    say_layers(out, sized || !training ? ", " : "", json_object_get(s->account, "layers"));
    if (training)
        say_training(out, sized || json_object_get(s->account, "layers") ? ", " : "", training);
}

char *mc_history_line(const struct mc_chain_step *s)
{
    char *text = NULL, *step = mc_history_step(s);
    size_t size = 0;
    FILE *out = step ? open_memstream(&text, &size) : NULL;
    if (out) {
        fprintf(out, "%s: ", step);
        say(out, s);
        if (fclose(out)) {
            free(text);
            text = NULL;
        }
    }
    free(step);
    return text;
}

/* In large units: what a pass aims at should not hang on how a later step is spelled. */
uint64_t mc_history_room(const struct mc_chain *c)
{
    enum { KEYS = 96, FIGURES = 96, TRAINING = 128, UNIT = 256 };
    uint64_t room = KEYS; /* the keys and lengths */
    for (size_t i = 0; i < c->n; i++) {
        char *step = mc_history_step(&c->step[i]);
        room += 2 * (step ? strlen(step) : 0) + FIGURES + (c->step[i].trains ? TRAINING : 0);
        free(step);
    }
    return (room + UNIT - 1) / UNIT * UNIT;
}

/* What the model has under the key already, then one part for each step. */
static int put(const struct mc_chain *c, struct mc_model *m, const char *key, const char *between,
               char *(*part)(const struct mc_chain_step *), struct mc_err *err)
{
    char *text = NULL;
    size_t size = 0;
    const char *before = mc_model_meta(m, key);
    FILE *out = open_memstream(&text, &size);
    bool ok = out != NULL;
    if (ok && before && *before)
        fprintf(out, "%s", before);
    for (size_t i = 0; i < c->n && ok; i++) {
        char *step = part(&c->step[i]);
        if (step)
            fprintf(out, "%s%s", i || (before && *before) ? between : "", step);
        ok = step != NULL;
        free(step);
    }
    if (out && fclose(out))
        ok = false;
    int rc = ok ? mc_edit_meta(m, key, text, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    free(text);
    return rc;
}

int mc_history_put(const struct mc_chain *c, struct mc_model *m, struct mc_err *err)
{
    int rc = put(c, m, recipe_key, ",", mc_history_step, err);
    return rc ? rc : put(c, m, history_key, "\n", mc_history_line, err);
}
