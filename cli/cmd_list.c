#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/table.h"
#include "cli/command.h"
#include "base/text.h"
#include "cli/console.h"
#include "cli/machine.h"
#include "formats/report_format.h"
#include "formats/samples.h"
#include "graph/grad/rule.h"
#include "graph/ops/op.h"
#include "graph/ops/op_gpu.h"
#include "graph/run/device.h"

/* Each list is an array of objects that begin with the same text keys: one tree for --json and for the terminal, which
 * shows these. */

static void row(json_t *list, const char *const (*pairs)[2], size_t n, bool *ok)
{
    json_t *o = json_object();
    for (size_t i = 0; i < n; i++)
        mc_json_put(o, pairs[i][0], mc_json_text(pairs[i][1]), ok);
    mc_json_add(list, o, ok);
}
#define ROW(list, ok, ...)                                                                         \
    row((list), (const char *const[][2]){__VA_ARGS__},                                             \
        sizeof((const char *const[][2]){__VA_ARGS__}) / sizeof(const char *const[2]), (ok))

static void list_passes(json_t *list, bool *ok)
{
    const struct mc_pass *p;
    for (size_t i = 0; (p = mc_pass_at(i)); i++)
        ROW(list, ok, {"name", p->name}, {"summary", p->summary}, {"example", p->example});
}

static const char *domain_of(const struct mc_op *op)
{
    return *op->domain ? op->domain : "ai.onnx";
}

static int by_name(const void *a, const void *b)
{
    const struct mc_op *x = *(const struct mc_op *const *)a, *y = *(const struct mc_op *const *)b;
    int d = strcmp(domain_of(x), domain_of(y));
    if (!d)
        d = strcmp(x->name, y->name);
    return d ? d : x->since - y->since;
}

/* Whether training gets through an operator, in the newest form that is known. */
static const char *gradient_of(const struct mc_op *op)
{
    const struct mc_rule *r = mc_rule_lookup(op->domain, op->name, INT_MAX);
    return !r ? "no" : r->emit == mc_rule_zero ? "zero" : "yes";
}

/* Has any form of it a kernel there? Not for every type, shape and attribute. */
static const char *gpu_of(const struct mc_op *op)
{
    unsigned moves = MC_OP_VIEW | MC_OP_PARTS | MC_OP_PACKS;
    return mc_op_gpu_find(op) || op->flags & moves ? "yes" : "no";
}

static void list_operators(json_t *list, bool *ok)
{
    size_t n = 0;
    while (mc_op_at(n))
        n++;
    const struct mc_op **ops = calloc(n + 1, sizeof *ops);
    if (!ops) {
        *ok = false;
        return;
    }
    for (size_t i = 0; i < n; i++)
        ops[i] = mc_op_at(i);
    qsort(ops, n, sizeof *ops, by_name);
    /* Rows of one operator differ in meaning since a version: the oldest one is where support begins. */
    for (size_t i = 0; i < n; i++) {
        if (i && !strcmp(ops[i]->name, ops[i - 1]->name) &&
            !strcmp(ops[i]->domain, ops[i - 1]->domain))
            continue;
        char since[16];
        snprintf(since, sizeof since, "%d", ops[i]->since);
        ROW(list, ok, {"name", ops[i]->name}, {"since", since}, {"domain", domain_of(ops[i])},
            {"gradient", gradient_of(ops[i])}, {"gpu", gpu_of(ops[i])});
    }
    free(ops);
}

static void list_formats(json_t *list, bool *ok)
{
    const char *help, *kind;
    const struct mc_report_format *r;
    ROW(list, ok, {"name", ".onnx"}, {"use", "model"},
        {"help", "ONNX, with or without external data; - is standard input or output"});
    for (size_t i = 0; (kind = mc_samples_kind(i, &help)); i++)
        ROW(list, ok, {"name", kind}, {"use", "samples"}, {"help", help});
    for (size_t i = 0; (r = mc_report_format_at(i)); i++)
        ROW(list, ok, {"name", r->ext}, {"use", "report"}, {"help", r->help});
}

/* The GPUs; `chosen` is what --device says by itself. */
static void list_gpus(json_t *list, const char *chosen, bool *ok)
{
    struct mc_device_gpu g;
    struct mc_err none = {0};
    char device[32], capability[16], bytes[MC_TEXT], about[256];
    int i = 0;
    bool taken = false;
    for (; mc_device_gpu(i, &g, &none); i++) {
        snprintf(device, sizeof device, "cuda:%d", g.number);
        snprintf(capability, sizeof capability, "%d.%d", g.major, g.minor);
        snprintf(about, sizeof about, "%s, compute capability %s, %s", g.name, capability,
                 mc_text_bytes((double)g.bytes, bytes));
        bool any = !strcmp(chosen, "auto") || !strcmp(chosen, "cuda");
        bool mine = !*g.why && !taken && (any || !strcmp(chosen, device));
        taken = taken || mine;
        ROW(list, ok, {"device", device}, {"kernels", "cuda"},
            {"state", mine     ? "in use by default"
                      : *g.why ? "not usable"
                               : "available"},
            {"about", *g.why ? g.why : about}, {"name", g.name}, {"capability", capability});
        mc_json_put(json_array_get(list, json_array_size(list) - 1), "bytes", mc_json_size(g.bytes),
                    ok);
    }
    if (!i)
        ROW(list, ok, {"device", "cuda"}, {"kernels", "cuda"}, {"state", "not there"},
            {"about", none.msg});
}

static void list_devices(json_t *list, bool *ok)
{
    const char *level, *chosen = mc_device_kernels();
    bool usable;
    for (size_t i = 0; (level = mc_device_level(i, &usable)); i++)
        ROW(list, ok, {"device", "cpu"}, {"kernels", level},
            {"state", !usable                            ? "not on this CPU"
                      : chosen && !strcmp(chosen, level) ? "in use"
                                                         : "available"},
            {"about", ""});
    list_gpus(list, mc_machine_default(), ok);
    struct mc_device_library l;
    char about[512];
    for (int i = 0; mc_device_library(i, &l); i++) {
        snprintf(about, sizeof about, "%s; it is for %s", l.why, l.use);
        ROW(list, ok, {"device", "library"}, {"kernels", l.name},
            {"state", *l.found ? "found" : "not found"}, {"about", *l.found ? l.found : about},
            {"use", l.use});
    }
}

static const struct {
    const char *name;
    void (*fill)(json_t *list, bool *ok);
    const char *columns; /* of the table */
} lists[] = {
    {"passes", list_passes, "lll"},
    {"operators", list_operators, "lrlll"},
    {"formats", list_formats, "lll"},
    {"devices", list_devices, "llll"},
};
enum { N_LISTS = sizeof lists / sizeof *lists };

static int print_table(const json_t *list, const char *columns, struct mc_err *err)
{
    struct mc_table *t = mc_table_new(columns);
    char *text = NULL;
    size_t size = 0, i;
    const json_t *o;
    const char *key;
    const json_t *v;
    if (json_array_size(list))
        json_object_foreach(json_array_get(list, 0), key, v) mc_table_cell(t, "%s", key);
    json_array_foreach(list, i, o) json_object_foreach(json_array_get(list, 0), key, v)
        mc_table_cell(t, "%s", mc_json_string_or(o, key, ""));
    FILE *out = open_memstream(&text, &size);
    int rc = out ? mc_table_print(t, out, 0, INT_MAX) : -1;
    if (out && fclose(out))
        rc = -1;
    if (!rc)
        mc_console_print(text, false);
    free(text);
    mc_table_free(t);
    return rc ? mc_fail(err, MC_ENOMEM, "out of memory") : 0;
}

int mc_cmd_list(struct mc_cli *cli, struct mc_err *err)
{
    const char *what = mc_cli_operand(cli, 0);
    size_t i = 0;
    while (i < N_LISTS && strcmp(lists[i].name, what))
        i++;
    if (i == N_LISTS)
        return mc_fail(err, MC_EUSAGE, "cannot list '%s'; it takes %s", what,
                       cli->command->operands);
    bool ok = true;
    json_t *list = json_array();
    lists[i].fill(list, &ok);
    int rc = ok && list ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    if (!rc && cli->json) {
        char *text = mc_report_json(list);
        if (text)
            mc_console_print(text, false);
        else
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
        free(text);
    } else if (!rc) {
        rc = print_table(list, lists[i].columns, err);
    }
    json_decref(list);
    return rc;
}
