#include <math.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "cli/batch.h"
#include "cli/deliver.h"

size_t mc_batch_count(const struct mc_batch_job *b, enum mc_batch_status status)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        n += b->model[i].status == status;
    return n;
}

static const char *status_name(enum mc_batch_status status)
{
    static const char *const names[] = {"todo", "done", "gate", "failed"};
    return names[status];
}

/* Parts of the model's own report, with the paths of this run. */
static void put_result(const struct mc_batch_model *m, json_t *row, bool *ok)
{
    static const char *const parts[] = {"input",     "output", "before",   "after",         "drop",
                                        "agreement", "gates",  "warnings", "peak_rss_bytes"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        json_t *v = json_object_get(m->result, parts[i]);
        if (v)
            mc_json_put(row, parts[i], json_deep_copy(v), ok);
    }
    mc_json_put(json_object_get(row, "input"), "path", mc_json_text(m->path), ok);
    mc_json_put(json_object_get(row, "output"), "path", mc_json_text(m->out), ok);
}

static json_t *row_of(const struct mc_batch_model *m, bool *ok)
{
    json_t *row = json_object();
    mc_json_put(row, "path", mc_json_text(m->rel), ok);
    mc_json_put(row, "status", json_string(status_name(m->status)), ok);
    if (m->reason)
        mc_json_put(row, "reason", mc_json_text(m->reason), ok);
    if (m->stale)
        mc_json_put(row, "stale_output", mc_json_text(m->out), ok);
    if (m->result)
        put_result(m, row, ok);
    if (m->status != MC_BATCH_TODO)
        mc_json_put(row, "seconds", mc_json_real(m->seconds), ok);
    return row;
}

static json_t *totals(const struct mc_batch_job *b, bool *ok)
{
    double before = 0, after = 0;
    json_t *t = json_object();
    for (size_t i = 0; i < b->n; i++) {
        const json_t *r = b->model[i].result;
        before += mc_json_number(json_object_get(r, "input"), "bytes", 0);
        after += mc_json_number(json_object_get(r, "output"), "bytes", 0);
    }
    mc_json_put(t, "models", mc_json_size(b->n), ok);
    for (enum mc_batch_status s = MC_BATCH_TODO; s <= MC_BATCH_FAILED; s++)
        mc_json_put(t, status_name(s), mc_json_size(mc_batch_count(b, s)), ok);
    mc_json_put(t, "bytes_before", mc_json_size((uint64_t)before), ok);
    mc_json_put(t, "bytes_after", mc_json_size((uint64_t)after), ok);
    return t;
}

static json_t *about(const struct mc_batch_job *b, bool *ok)
{
    json_t *o = json_object();
    mc_json_put(o, "recipe", mc_json_text(b->recipe_text), ok);
    mc_json_put(o, "folder", mc_json_text(b->dir), ok);
    mc_json_put(o, "output", mc_json_text(b->out), ok);
    return o;
}

/* All that differs between runs which give the same results. */
static json_t *this_run(const struct mc_batch_job *b, bool *ok)
{
    json_t *o = json_object();
    size_t before = 0;
    for (size_t i = 0; i < b->n; i++)
        before += b->model[i].before;
    mc_json_put(o, "seconds", mc_json_real(mc_now() - b->began), ok);
    mc_json_put(o, "jobs", json_integer(b->jobs), ok);
    mc_json_put(o, "threads", json_integer(b->threads), ok);
    mc_json_put(o, "done_before", mc_json_size(before), ok);
    return o;
}

int mc_batch_report(const struct mc_batch_job *b, json_t **ret, struct mc_err *err)
{
    bool ok = true;
    json_t *r = json_object(), *models = json_array(), *arguments = json_array();
    mc_json_put(r, "mcompress", json_string(MC_VERSION), &ok);
    mc_json_put(r, "command", json_string("batch"), &ok);
    for (int i = 1; i < b->cli->argc; i++)
        mc_json_add(arguments, mc_json_text(b->cli->argv[i]), &ok);
    mc_json_put(r, "arguments", arguments, &ok);
    if (b->dry_run)
        mc_json_put(r, "dry_run", json_true(), &ok);
    mc_json_put(r, "batch", about(b, &ok), &ok);
    for (size_t i = 0; i < b->n; i++)
        mc_json_add(models, row_of(&b->model[i], &ok), &ok);
    mc_json_put(r, "models", models, &ok);
    mc_json_put(r, "totals", totals(b, &ok), &ok);
    mc_json_put(r, "run", this_run(b, &ok), &ok);
    if (ok) {
        *ret = r;
        return 0;
    }
    json_decref(r);
    return mc_fail(err, MC_ENOMEM, "out of memory");
}
