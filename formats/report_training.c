#include "formats/report_training.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

static double number(const json_t *o, const char *key)
{
    return mc_json_number(o, key, NAN);
}

static const char *how_much(const json_t *t, char *ret)
{
    char samples[MC_TEXT], held[MC_TEXT], updates[MC_TEXT];
    double n = number(t, "samples"), h = number(t, "held_out"), u = number(t, "updates");
    if (!isfinite(n) || !isfinite(u))
        return "";
    if (number(t, "planned") > 0)
        u = number(t, "planned");
    snprintf(ret, MC_TRAINING_TEXT, "%s update%s of %.0f samples each, from %s samples",
             mc_text_group((int64_t)u, updates), u == 1 ? "" : "s", mc_json_number(t, "batch", 0),
             mc_text_group((int64_t)n, samples));
    const char *spec = mc_json_string(t, "train");
    if (spec)
        mc_text_add(ret, MC_TRAINING_TEXT, " of %.200s", spec);
    const char *parts = mc_json_string(t, "batch_why");
    if (parts)
        mc_text_add(ret, MC_TRAINING_TEXT, "; %.160s", parts);
    if (h > 0)
        mc_text_add(ret, MC_TRAINING_TEXT, "; %s more were held out to pick the best weights",
                    mc_text_group((int64_t)h, held));
    return ret;
}

static const char *what_for(const json_t *t, char *ret)
{
    const char *loss = mc_json_string(t, "loss"), *why = mc_json_string(t, "loss_why");
    const char *optimizer = mc_json_string(t, "optimizer"), *teacher = mc_json_string(t, "teacher");
    double lr = number(t, "lr");
    if (!loss)
        return "";
    snprintf(ret, MC_TRAINING_TEXT, "loss: %.60s", loss);
    if (why)
        mc_text_add(ret, MC_TRAINING_TEXT, " (%.120s)", why);
    if (teacher)
        mc_text_add(ret, MC_TRAINING_TEXT, ", teacher %.150s", teacher);
    if (optimizer)
        mc_text_add(ret, MC_TRAINING_TEXT, "; %.20s", optimizer);
    if (isfinite(lr))
        mc_text_add(ret, MC_TRAINING_TEXT, ", learning rate %.3g%s", lr,
                    json_is_object(json_object_get(t, "lr_found")) ? " from a range test" : "");
    return ret;
}

static const char *best(const json_t *t, char *ret)
{
    const json_t *b = json_object_get(t, "best");
    double epoch = number(b, "epoch"), top1 = number(b, "top1"), loss = number(b, "loss");
    if (!isfinite(epoch))
        return "";
    if (epoch > 0)
        snprintf(ret, MC_TRAINING_TEXT, "kept: the weights of epoch %.3g", epoch);
    else
        snprintf(ret, MC_TRAINING_TEXT, "kept: the weights as they were, which nothing later beat");
    if (isfinite(loss))
        mc_text_add(ret, MC_TRAINING_TEXT, ", held-out loss %.4f", loss);
    if (isfinite(top1))
        mc_text_add(ret, MC_TRAINING_TEXT, ", held-out top-1 %.2f %%", 100 * top1);
    return ret;
}

static const char *memory(const json_t *t, char *ret)
{
    char b[MC_TEXT];
    double peak = number(t, "peak_bytes"), again = mc_json_number(t, "recomputed", 0);
    double rate = number(t, "samples_per_second");
    const char *device = mc_json_string_or(t, "device", "cpu");
    if (!isfinite(peak))
        return "";
    snprintf(ret, MC_TRAINING_TEXT, "memory of a step: %s", mc_text_bytes(peak, b));
    if (again > 0)
        mc_text_add(ret, MC_TRAINING_TEXT, ", with %.0f operators run a second time to fit", again);
    if (isfinite(rate) && strcmp(device, "cpu"))
        mc_text_add(ret, MC_TRAINING_TEXT, "; %s samples per second on %.40s",
                    mc_text_group((int64_t)rate, b), device);
    return ret;
}

static const char *recovery(const json_t *t, size_t i, char *ret)
{
    const json_t *r = json_array_get(json_object_get(t, "recoveries"), i);
    if (!r)
        return NULL;
    snprintf(ret, MC_TRAINING_TEXT,
             "step %.0f: %.200s; went back to the last good weights, with a learning rate of %.3g",
             mc_json_number(r, "step", 0), mc_json_string_or(r, "why", "diverged"),
             mc_json_number(r, "lr", NAN));
    return ret;
}

const char *mc_training_sentence(const json_t *training, int i, char ret[MC_TRAINING_TEXT])
{
    switch (i) {
    case 0: return how_much(training, ret);
    case 1: return what_for(training, ret);
    case 2: return best(training, ret);
    case 3: return memory(training, ret);
    default: return recovery(training, (size_t)i - 4, ret);
    }
}

/* Learning rate when an epoch ended: that of the last point of the curve in it. */
static double rate_at(const json_t *curve, double epoch)
{
    double lr = NAN;
    size_t i;
    const json_t *p;
    json_array_foreach(curve, i, p) if (number(p, "epoch") <= epoch) lr = number(p, "lr");
    return lr;
}

static void cell(char *ret, const char *fmt, double v)
{
    if (isfinite(v))
        snprintf(ret, 32, fmt, v);
    else
        *ret = 0;
}

/* Does an entry of the log say anything? Without held-out samples the one before training does not. */
static bool speaks(const json_t *e)
{
    return isfinite(number(e, "loss")) || isfinite(number(e, "held_loss")) ||
           isfinite(number(e, "held_top1"));
}

/* Entry number k of those that say something, or NULL. */
static const json_t *entry(const json_t *log, int k)
{
    size_t i;
    const json_t *e;
    json_array_foreach(log, i, e) if (speaks(e) && k-- == 0) return e;
    return NULL;
}

bool mc_training_row(const json_t *training, int i, char ret[MC_TRAINING_CELLS][32])
{
    static const char *const head[] = {"epoch", "loss", "held-out loss", "held-out top-1",
                                       "learning rate"};
    const json_t *log = json_object_get(training, "epochs_log");
    int n = 0;
    while (entry(log, n))
        n++;
    int rows = n < MC_TRAINING_ROWS ? n : MC_TRAINING_ROWS;
    if (i > rows || !n)
        return false;
    for (int k = 0; i == 0 && k < MC_TRAINING_CELLS; k++)
        snprintf(ret[k], sizeof ret[k], "%s", head[k]);
    if (i == 0)
        return true;
    const json_t *e = entry(log, i * n / rows - 1);
    double epoch = number(e, "epoch"), top1 = number(e, "held_top1");
    cell(ret[0], "%.3g", epoch);
    cell(ret[1], "%.4f", number(e, "loss"));
    cell(ret[2], "%.4f", number(e, "held_loss"));
    cell(ret[3], "%.2f %%", 100 * top1);
    cell(ret[4], "%.3g", rate_at(json_object_get(training, "curve"), epoch));
    return true;
}
