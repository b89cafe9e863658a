#include <math.h>

#include "base/json.h"
#include "base/table.h"
#include "formats/report_reasons.h"
#include "formats/report_training.h"
#include "formats/report_txt.h"

static int epochs(const json_t *training, FILE *out, int columns)
{
    char cells[MC_TRAINING_CELLS][32];
    struct mc_table *t = mc_table_new("rrrrr");
    for (int i = 0; mc_training_row(training, i, cells); i++)
        for (int k = 0; k < MC_TRAINING_CELLS; k++)
            mc_table_cell(t, "%s", cells[k]);
    int rc = mc_table_print(t, out, 4, columns);
    mc_table_free(t);
    return rc;
}

static int reasons(const char *title, const json_t *list, FILE *out, int columns)
{
    struct mc_reason why = {0};
    if (!json_array_size(list))
        return 0;
    fprintf(out, "  %s\n", title);
    struct mc_table *t = mc_table_new("rlL");
    while (mc_reason_next(list, "why", &why)) {
        mc_table_cell(t, "%zu x", why.count);
        mc_table_cell(t, "%s", why.why);
        mc_table_cell(t, "%s", why.names);
    }
    int rc = mc_table_print(t, out, 4, columns);
    mc_table_free(t);
    return rc;
}

/* step: its number in a chain, 0 where it is none. */
static int one(const json_t *training, size_t step, FILE *out, int columns)
{
    char text[MC_TRAINING_TEXT];
    const char *s, *stage = mc_json_string(training, "stage");
    fputs("  ", out);
    if (step)
        fprintf(out, "step %zu: ", step);
    fprintf(out, "training%s%s\n", stage ? " of " : "", stage ? stage : "");
    for (int i = 0; (s = mc_training_sentence(training, i, text)); i++)
        if (*s)
            fprintf(out, "    %s\n", s);
    int rc = epochs(training, out, columns);
    if (!rc)
        rc = reasons("not trained", json_object_get(training, "frozen"), out, columns);
    if (!rc)
        rc = reasons("not begun afresh",
                     json_object_get(json_object_get(training, "reinit"), "kept"), out, columns);
    fputc('\n', out);
    return rc;
}

int mc_report_txt_training(const json_t *report, FILE *out, int columns)
{
    size_t i;
    const json_t *passes = json_object_get(report, "passes"), *pass;
    bool several = json_array_size(passes) > 1;
    json_array_foreach(passes, i, pass)
    {
        const json_t *stages = json_object_get(pass, "training_stages");
        const json_t *training = json_object_get(pass, "training");
        size_t k, step = several ? i + 1 : 0;
        if (json_is_object(training) && !stages && one(training, step, out, columns))
            return -1;
        json_array_foreach(stages, k, training)
        {
            if (one(training, step, out, columns))
                return -1;
        }
    }
    return 0;
}
