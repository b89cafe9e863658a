#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "base/json.h"
#include "cli/batch.h"
#include "cli/console.h"
#include "cli/deliver.h"
#include "cli/gates.h"
#include "cli/machine.h"
#include "cli/options.h"
#include "formats/report.h"
#include "passes/search/search.h"

const struct mc_option_group mc_options_batch = {
    "Batch",
    (const struct mc_param[]){
        {MC_PARAM_TEXT, "out", 'o', false, "FOLDER", NULL, 0, 0, NULL,
         "folder of the results, each under the path that its model has below DIR"},
        {MC_PARAM_INT, "jobs", 'j', false, "N", "0", 0, 256, NULL,
         "models at once, each in a process of its own; 0 is one per CPU, two on a GPU; the "
         "results "
         "are the same for any number"},
        {MC_PARAM_BYTES, "mem-limit", 0, false, "SIZE", NULL, 1, 9e18, NULL,
         "memory that one model may take, such as 500M; one that takes more fails"},
        {MC_PARAM_TEXT, "time-limit", 0, false, "LIMIT", NULL, 0, 0, NULL,
         "time that one model may take, such as 90s or 10min"},
        {MC_PARAM_FLAG, "data-optional", 0, false, NULL, NULL, 0, 0, NULL,
         "a model whose --data is missing is compressed without being measured; without this "
         "option it fails. In --data and all other names of files {dir}, {stem}, {name} and {rel} "
         "stand for the model's folder, its name without and with .onnx, and its path below DIR"},
        {MC_PARAM_FLAG, "external-data", 0, false, NULL, NULL, 0, 0, NULL,
         "put the weights of every result into a file of its own, RESULT.data"},
        {MC_PARAM_FLAG, "inline", 0, false, NULL, NULL, 0, 0, NULL,
         "write weights in small forms as nodes instead of calls of functions"},
        {MC_PARAM_FLAG, "expand", 0, false, NULL, NULL, 0, 0, NULL,
         "write weights in small forms as dense layers; budgets count the small forms"},
        {MC_PARAM_FLAG, "force", 0, false, NULL, NULL, 0, 0, NULL,
         "do everything again; without this option what an earlier run finished is kept where "
         "model, recipe, options, data and result are as they were"},
        {MC_PARAM_FLAG, "fail-fast", 0, false, NULL, NULL, 0, 0, NULL,
         "begin no other model after one has failed"},
        {MC_PARAM_FLAG, "dry-run", 0, false, NULL, NULL, 0, 0, NULL,
         "say what would be done, and what is done already"},
        {MC_PARAM_CHOICE, "report-each", 0, false, NULL, NULL, 0, 0, "html|json|md|txt|xml",
         "also write a report on every model beside its result: MODEL.onnx.html"},
        {0},
    },
};

/* ---- before ---- */

static int cpus(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 0 : CPU_COUNT(&set);
    if (n <= 0)
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? n : 1;
}

/* Jobs times threads is the number of CPUs, as near as may be. On a GPU one job reads and writes while the other
 * computes; each takes its own part of the memory. */
static int divide_cpus(struct mc_batch_job *b, size_t todo, struct mc_err *err)
{
    int given = (int)mc_param_int(b->cli->values, "jobs", 0);
    int threads = (int)mc_param_int(b->cli->values, "threads", 0);
    bool gpu = false;
    int rc = todo && !b->dry_run ? mc_machine_probe(b->cli, &gpu, err) : 0;
    if (rc)
        return rc;
    b->jobs = given ? given : gpu && cpus() > 2 ? 2 : cpus();
    if ((size_t)b->jobs > todo)
        b->jobs = todo ? (int)todo : 1;
    b->threads = threads ? threads : cpus() / b->jobs;
    if (b->threads < 1)
        b->threads = 1;
    return 0;
}

/* Those of the recipe's file are gates as well. */
static int check_gates(const struct mc_batch_job *b, struct mc_err *err)
{
    struct mc_cli each = *b->cli;
    each.values = b->options;
    int rc = mc_gates_check(&each, true, true, true, err);
    if (!rc && mc_gates_given(&each) && !json_object_get(b->options, "data"))
        rc = mc_fail(err, MC_EUSAGE, "a gate needs samples to measure on: pass --data SPEC");
    return rc;
}

static int take_limits(struct mc_batch_job *b, struct mc_err *err)
{
    const char *time = mc_param_text(b->cli->values, "time-limit");
    b->limits.memory = (uint64_t)mc_param_int(b->cli->values, "mem-limit", 0);
    if (time && (mc_search_seconds(time, &b->limits.seconds, NULL) || !(b->limits.seconds > 0)))
        return mc_fail(err, MC_EUSAGE,
                       "--time-limit '%s': give a time above 0, such as 90s or 10min", time);
    return 0;
}

static int open_batch(struct mc_cli *cli, struct mc_batch_job *b, struct mc_err *err)
{
    const json_t *v = cli->values;
    *b = (struct mc_batch_job){
        .cli = cli,
        .recipe = mc_cli_operand(cli, 0),
        .dir = mc_cli_operand(cli, 1),
        .out = mc_param_text(v, "out"),
        .force = mc_param_flag(v, "force"),
        .fail_fast = mc_param_flag(v, "fail-fast"),
        .dry_run = mc_param_flag(v, "dry-run"),
        .data_optional = mc_param_flag(v, "data-optional"),
        .lock = -1,
        .began = cli->start,
    };
    if (!b->out || !*b->out || !strcmp(b->out, "-"))
        return mc_fail(err, MC_EUSAGE, "needs -o FOLDER for the results");
    const char *const files[] = {b->recipe, b->dir};
    int rc = take_limits(b, err);
    if (!rc)
        rc = mc_cli_check_reports(cli, files, 2, err);
    if (!rc)
        rc = mc_batch_recipe(b, err);
    if (!rc)
        rc = mc_recipe_check(cli, b->steps, err);
    if (!rc)
        rc = mc_batch_options(b, err);
    if (!rc)
        rc = check_gates(b, err);
    if (!rc)
        rc = mc_batch_walk(b, err);
    if (!rc && !b->dry_run)
        rc = mc_batch_lock(b, err);
    for (size_t i = 0; i < b->n && !rc; i++) {
        rc = mc_batch_places(b, &b->model[i], err);
        if (!rc)
            rc = mc_batch_key(b, &b->model[i], err);
    }
    return rc;
}

static void close_batch(struct mc_batch_job *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct mc_batch_model *m = &b->model[i];
        free(m->rel);
        free(m->path);
        free(m->out);
        free(m->state);
        free(m->partial);
        free(m->reason);
        json_decref(m->result);
    }
    free(b->model);
    mc_recipe_free(b->steps);
    free(b->recipe_text);
    json_decref(b->options);
    json_decref(b->prints);
    if (b->lock >= 0)
        close(b->lock);
}

/* ---- what is done already ---- */

static void recall(void *ctx, int64_t i, int worker)
{
    struct mc_batch_job *b = ctx;
    (void)worker;
    if (!mc_interrupt_check(NULL))
        mc_batch_recall(b, &b->model[i]);
}

/* ---- after ---- */

static int report_each(const struct mc_batch_job *b, struct mc_err *err)
{
    const char *ext = mc_param_text(b->cli->values, "report-each");
    int rc = 0;
    for (size_t i = 0; i < b->n && !rc && ext; i++) {
        char *path = NULL;
        if (!b->model[i].result)
            continue;
        if (asprintf(&path, "%s.%s", b->model[i].out, ext) < 0)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        rc = mc_report_write(b->model[i].result, path, err);
        free(path);
    }
    return rc;
}

static int deliver(const struct mc_batch_job *b, struct mc_err *err)
{
    json_t *report;
    int rc = report_each(b, err);
    if (!rc)
        rc = mc_batch_report(b, &report, err);
    if (!rc) {
        rc = mc_cli_deliver(b->cli, report, false, err);
        json_decref(report);
    }
    return rc;
}

static int verdict(const struct mc_batch_job *b, struct mc_err *err)
{
    enum mc_batch_status worst =
        mc_batch_count(b, MC_BATCH_FAILED) ? MC_BATCH_FAILED : MC_BATCH_GATE;
    size_t n = mc_batch_count(b, worst), i = 0;
    if (!n)
        return 0;
    while (b->model[i].status != worst)
        i++;
    bool failed = worst == MC_BATCH_FAILED;
    return mc_fail(err, failed ? MC_EFAIL : MC_EGATE,
                   "%zu of %zu model%s %s; the first is '%s': %s", n, b->n, b->n == 1 ? "" : "s",
                   failed ? "failed" : "missed a gate", b->model[i].rel,
                   b->model[i].reason ? b->model[i].reason : "?");
}

int mc_cmd_batch(struct mc_cli *cli, struct mc_err *err)
{
    struct mc_batch_job b;
    int rc = open_batch(cli, &b, err);
    if (!rc) {
        if (b.links)
            mc_console_line(cli,
                            b.links > 1 ? "%zu links to folders are not followed"
                                        : "%zu link to a folder is not followed",
                            b.links);
        mc_progress_tell(cli->progress, "looking for what is done", 0, 0);
        mc_pool_run(cli->pool, (int64_t)b.n, recall, &b);
        rc = mc_interrupt_check(err);
        if (!rc)
            rc = divide_cpus(&b, mc_batch_count(&b, MC_BATCH_TODO), err);
    }
    if (!rc && !b.dry_run)
        rc = mc_batch_run(&b, err);
    if (!rc)
        rc = deliver(&b, err);
    if (!rc && !b.dry_run)
        rc = verdict(&b, err);
    close_batch(&b);
    return rc;
}
