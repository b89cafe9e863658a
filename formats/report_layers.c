#include "formats/report_layers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

static double number(const json_t *o, const char *key)
{
    return mc_json_number(o, key, NAN);
}

static void copy(const char *text, char ret[MC_REPORT_LAYER_WHAT])
{
    mc_text_short(text, 30, ret, MC_REPORT_LAYER_WHAT);
}

/* "tucker rank 12 x 20" of form "tucker" is "12 x 20": the columns have the rest. */
static const char *bare(const char *choice, const char *form)
{
    size_t n = strlen(form);
    if (n && !strncmp(choice, form, n) && choice[n] == ' ')
        choice += n + 1;
    return strncmp(choice, "rank ", 5) ? choice : choice + 5;
}

bool mc_report_layer_read(const json_t *entry, struct mc_report_layer *ret)
{
    if (!json_is_object(entry))
        return false;
    const char *choice = mc_json_string(entry, "choice");
    *ret = (struct mc_report_layer){
        .full = mc_json_string_or(entry, "name", "?"),
        .reason = mc_json_string(entry, "reason"),
        .before = number(entry, "bytes_before"),
        .after = number(entry, "bytes_after"),
        .macs_before = number(entry, "macs_before"),
        .macs_after = number(entry, "macs_after"),
        .error = number(entry, "error"),
        .predicted = number(entry, "predicted"),
    };
    mc_text_short(ret->full, MC_REPORT_LAYER_NAME, ret->name, sizeof ret->name);
    copy(mc_json_string_or(entry, "op", "?"), ret->op);
    copy(mc_json_string_or(entry, "form", mc_json_string_or(entry, "action", "")), ret->form);
    if (choice)
        copy(bare(choice, mc_json_string_or(entry, "form", "")), ret->choice);
    else if (isfinite(number(entry, "rank")))
        snprintf(ret->choice, sizeof ret->choice, "%.0f", number(entry, "rank"));
    return true;
}

const char *mc_report_layers_error(const json_t *pass)
{
    const json_t *by = json_object_get(pass, "importance"), *entry;
    bool predicted = json_is_true(json_object_get(by, "nats")); /* else scores, not errors */
    const char *name = NULL;
    size_t i;
    struct mc_report_layer l;
    json_array_foreach(json_object_get(pass, "layers"), i, entry)
    {
        if (!mc_report_layer_read(entry, &l) || l.reason)
            continue;
        if (isfinite(l.error))
            return "error";
        if (predicted && isfinite(l.predicted))
            name = "predicted";
    }
    return name;
}

void mc_report_layer_sums(const json_t *list, struct mc_report_layer_sums *ret)
{
    size_t i;
    const json_t *entry;
    struct mc_report_layer l;
    *ret = (struct mc_report_layer_sums){0};
    json_array_foreach(list, i, entry)
    {
        if (!mc_report_layer_read(entry, &l))
            continue;
        if (l.reason) {
            ret->left++;
            ret->left_bytes += isfinite(l.before) ? l.before : 0;
        } else {
            ret->changed++;
            ret->changed_before += isfinite(l.before) ? l.before : 0;
            ret->changed_after += isfinite(l.after) ? l.after : 0;
        }
    }
}
