#include <stdio.h>
#include <string.h>

#include "passes/quant/quant_run.h"

const struct mc_param mc_quant_params[] = {
    {MC_PARAM_CHOICE, "form", 0, false, NULL, "auto", 0, 0,
     "auto|weight|weight4|dynamic|static|static16|fp16|bf16",
     "how layers compute: auto measures and takes for each the fastest form that keeps the answer; "
     "weight: integers in the file, sums of floats; weight4: the same in 4 bits; dynamic: inputs "
     "get their range in every run; static: inputs have a range from --calib; static16: the same "
     "with inputs of 16 bits; fp16 and bf16: no integers, but floats of 16 bits"},
    {MC_PARAM_FLAG, "computed", 0, false, NULL, NULL, 0, 0, NULL,
     "with fp16: not only weights, activations are halves as well, for devices made for it"},
    {MC_PARAM_TEXT, "bits", 0, false, "wNaM", NULL, 0, 0, NULL,
     "bits of weights, and of what they are multiplied with: w8a8, w4a4, w8a16, or w4 for weights "
     "alone; 2 to 8, or a16"},
    {MC_PARAM_INT, "block", 0, false, "N", "32", 16, 65536, NULL,
     "weight4: so many weights in a row share a scale"},
    {MC_PARAM_CHOICE, "runtime", 0, false, NULL, "any", 0, 0, "any|ort|cpu-vnni|cpu-avx2|openvino",
     "where the result will run: any writes operators of ONNX alone and is fast in ONNX Runtime; "
     "ort may use its own operators; cpu-avx2 keeps sums of products within 16 bits"},
    {MC_PARAM_CHOICE, "method", 0, false, NULL, "auto", 0, 0, "auto|minmax|percentile|entropy|mse",
     "how the range of a layer's inputs follows from what they hold; auto takes mse, and where a "
     "search finds that to lose too much, tries the others"},
    {MC_PARAM_REAL, "percentile", 0, false, "P", "99.99", 50, 100, NULL,
     "with --method percentile: the share of values within the range, in percent"},
    {MC_PARAM_CHOICE, "weight-method", 0, false, NULL, "mse", 0, 0, "minmax|mse",
     "the same for weights"},
    {MC_PARAM_FLAG, "per-tensor", 0, false, NULL, NULL, 0, 0, NULL,
     "one scale for a weight, not one for each output channel"},
    {MC_PARAM_FLAG, "symmetric", 0, false, NULL, NULL, 0, 0, NULL,
     "inputs as int8 around 0, not as uint8 with a zero point"},
    {MC_PARAM_FLAG, "asymmetric-weights", 0, false, NULL, NULL, 0, 0, NULL,
     "weights with a zero point"},
    {MC_PARAM_FLAG, "quantise-outputs", 0, false, NULL, NULL, 0, 0, NULL,
     "the model's outputs may come from integers as well"},
    {MC_PARAM_CHOICE, "search", 0, false, NULL, "on", 0, 0, "on|off",
     "off: the same form for all layers, static where --form does not say which; none are "
     "compared"},
    {MC_PARAM_CHOICE, "minimise", 0, false, NULL, "latency", 0, 0, "latency|bytes",
     "what the search makes small: time, once weights have 8 bits, or the file"},
    {MC_PARAM_TEXT, "repair", 0, false, "LIST", "auto", 0, 0, NULL,
     "what makes up for errors: auto, none, or some of fold, equalise, smooth, outliers, gptq, "
     "round and bias, with commas; what does not help on samples held back is undone"},
    {MC_PARAM_TEXT, "only", 0, false, "REGEX", NULL, 0, 0, NULL,
     "quantise only layers whose name, or that of their weight, matches"},
    {MC_PARAM_TEXT, "skip", 0, false, "REGEX", NULL, 0, 0, NULL, "leave layers that match"},
    {MC_PARAM_TEXT, "stats", 0, true, "FILE", NULL, 0, 0, NULL,
     "what layers' inputs hold, from --stats-out of earlier runs, perhaps edited; several are "
     "added up; --calib is not needed then"},
    {MC_PARAM_TEXT, "stats-out", 0, false, "FILE", NULL, 0, 0, NULL,
     "write what layers' inputs hold on --calib to FILE as JSON"},
    {0},
};

/* ---- words ---- */

/* Position of a word in a list that ends with NULL; 0: it is not there. */
static int word(const json_t *options, const char *name, const char *const *list)
{
    const char *text = mc_param_text(options, name);
    for (int i = 0; text && list[i]; i++)
        if (!strcmp(text, list[i]))
            return i;
    return 0;
}

static int read_bits(struct mc_quant_run *r, const char *text, bool formed, struct mc_err *err)
{
    int w = 0, a = 0, n = 0;
    struct mc_quant_rules *q = &r->rules;
    bool both = sscanf(text, "w%da%d%n", &w, &a, &n) == 2 && !text[n];
    bool alone = !both && sscanf(text, "w%d%n", &w, &n) == 1 && !text[n];
    if ((!both && !alone) || w < 2 || w > 8 || (both && a != 16 && (a < 2 || a > 8)))
        return mc_fail(
            err, MC_EUSAGE,
            "--bits %s: give wNaM as in w8a8, or wN for weights alone; N and M from 2 to "
            "8, M also 16",
            text);
    enum mc_quant_form wish = alone     ? (w < 8 ? MC_QUANT_BLOCK : MC_QUANT_WEIGHT)
                              : a == 16 ? MC_QUANT_STATIC16
                                        : MC_QUANT_STATIC;
    if (wish == MC_QUANT_BLOCK || formed)
        q->block_bits = w;
    if (wish != MC_QUANT_BLOCK || formed)
        q->weight_bits = w;
    if (both && a < 16)
        q->act_bits = a;
    if (formed) /* --form says how */
        return 0;
    r->wish = wish;
    r->automatic = r->automatic && both && w == 8 && a == 8;
    return 0;
}

static int read_repairs(struct mc_quant_run *r, const char *text, struct mc_err *err)
{
    static const char *const names[] = {"fold", "equalise", "smooth", "outliers",
                                        "gptq", "round",    "bias"};
    if (!text || !strcmp(text, "auto")) {
        r->any_repair = true;
        r->repairs = MC_QUANT_FOLD | MC_QUANT_BIAS;
        r->repairs |= r->automatic ? MC_QUANT_ROUND : 0;
        r->repairs |= r->wish == MC_QUANT_BLOCK || r->by_bytes ? MC_QUANT_GPTQ : 0;
        return 0;
    }
    for (const char *at = strcmp(text, "none") ? text : ""; *at;) {
        size_t n = strcspn(at, ","), k = 0;
        while (k < MC_QUANT_REPAIRS && (strlen(names[k]) != n || strncmp(names[k], at, n)))
            k++;
        if (k == MC_QUANT_REPAIRS)
            return mc_fail(err, MC_EUSAGE,
                           "--repair: '%.*s' is none of fold, equalise, smooth, outliers, gptq, "
                           "round, bias (or auto, or none)",
                           (int)n, at);
        r->repairs |= 1U << k;
        at += n + (at[n] == ',');
    }
    return 0;
}

static void read_rules(struct mc_quant_rules *q, const json_t *options)
{
    static const char *const runtimes[] = {"any", "ort", "cpu-vnni", "cpu-avx2", "openvino", NULL};
    static const char *const methods[] = {"minmax", "percentile", "entropy", "mse", NULL};
    const char *method = mc_param_text(options, "method");
    *q = (struct mc_quant_rules){
        .runtime = (enum mc_quant_runtime)word(options, "runtime", runtimes),
        .weight_bits = 8,
        .block_bits = 4,
        .block = (int)mc_param_int(options, "block", 32),
        .act_bits = 8,
        .act_symmetric = mc_param_flag(options, "symmetric"),
        .per_tensor = mc_param_flag(options, "per-tensor"),
        .weight_asymmetric = mc_param_flag(options, "asymmetric-weights"),
        .method = !method || !strcmp(method, "auto")
                      ? MC_QUANT_MSE
                      : (enum mc_quant_range_method)word(options, "method", methods),
        .weight_method = (enum mc_quant_range_method)word(options, "weight-method", methods),
        .percentile = mc_param_real(options, "percentile", 99.99),
        .outputs = mc_param_flag(options, "quantise-outputs"),
    };
    q->contrib = q->runtime == MC_QUANT_ORT;
    q->reduce_range = q->runtime == MC_QUANT_AVX2;
}

int mc_quant_options(struct mc_quant_run *r, const json_t *options, struct mc_err *err)
{
    /* as in enum mc_quant_form */
    static const char *const forms[] = {"auto",    "",       "weight",   "weight4",
                                        "dynamic", "static", "static16", NULL};
    const char *search = mc_param_text(options, "search"), *bits = mc_param_text(options, "bits");
    const char *minimise = mc_param_text(options, "minimise");
    const char *method = mc_param_text(options, "method");
    int form = word(options, "form", forms), rc = 0;
    if (mc_param_flag(options, "computed"))
        return mc_fail(err, MC_EUSAGE, "--computed goes with --form fp16");
    read_rules(&r->rules, options);
    r->any_method = !method || !strcmp(method, "auto");
    r->by_bytes = minimise && !strcmp(minimise, "bytes");
    r->automatic = !form && !(search && !strcmp(search, "off"));
    r->wish = form ? (enum mc_quant_form)form : MC_QUANT_STATIC;
    r->max_drop = r->ctx->has_max_drop ? r->ctx->max_drop : 0.001;
    if (bits)
        rc = read_bits(r, bits, form > 0, err);
    return rc ? rc : read_repairs(r, mc_param_text(options, "repair"), err);
}
