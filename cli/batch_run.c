#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "base/io.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/batch.h"
#include "cli/console.h"
#include "cli/exits.h"
#include "cli/recipe_parts.h"

/* Seconds that a process has to write its checkpoint when the batch is interrupted. */
static const double GRACE = 10;

/* ---- what an end means ---- */

static void fail(struct mc_batch_model *m, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct mc_batch_model *m, const char *fmt, ...)
{
    struct mc_err text; /* mc_fail takes care of control characters in names */
    char raw[MC_ERR_MSG];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    mc_fail(&text, MC_EFAIL, "%s", raw);
    m->status = MC_BATCH_FAILED;
    m->stale = !access(m->out, F_OK);
    free(m->reason);
    m->reason = strdup(text.msg);
}

/* The message alone, without "mcompress run: ". */
static const char *message(const struct mc_process_end *end)
{
    static const char name[] = "mcompress";
    const char *colon = strstr(end->line, ": ");
    return !strncmp(end->line, name, strlen(name)) && colon ? colon + 2 : end->line;
}

static void crashed(struct mc_batch_model *m, int number)
{
    char name[64];
    const char *text = sigdescr_np(number);
    snprintf(name, sizeof name, "%s", text ? text : "an unknown signal");
    if (name[0] >= 'A' && name[0] <= 'Z')
        name[0] = (char)(name[0] - 'A' + 'a');
    if (number == SIGKILL)
        fail(m,
             "killed from outside; the machine may have run out of memory (give --mem-limit, or a "
             "smaller -j)");
    else
        fail(m, "crashed: %s", name);
}

static void failed(const struct mc_batch_job *b, struct mc_batch_model *m,
                   const struct mc_process_end *end)
{
    char text[MC_TEXT];
    const char *said = message(end);
    bool refused =
        b->limits.memory && end->status == MC_EXIT_FAILED && strstr(said, "out of memory");
    if (end->over_memory || refused)
        fail(m, "needed more than %s of memory (--mem-limit)",
             mc_text_bytes((double)b->limits.memory, text));
    else if (end->over_time)
        fail(m, "took longer than %s (--time-limit)", mc_text_seconds(b->limits.seconds, text));
    else if (end->signal)
        crashed(m, end->signal);
    else if (*said)
        fail(m, "%s", said);
    else
        fail(m, "ended with status %d and said nothing", end->status);
}

/* Its command without what only the batch wanted of it. */
static void own_command(json_t *report)
{
    static const char *const mine[] = {"--quiet", "--report="};
    json_t *words = json_object_get(report, "arguments");
    for (size_t i = json_array_size(words); i-- > 0;) {
        const char *word = json_string_value(json_array_get(words, i));
        for (size_t k = 0; word && k < sizeof mine / sizeof *mine; k++)
            if (!strncmp(word, mine[k], strlen(mine[k]))) {
                json_array_remove(words, i);
                break;
            }
    }
}

bool mc_batch_judge(const struct mc_batch_job *b, struct mc_batch_model *m,
                    const struct mc_process_end *end)
{
    bool written = end->status == MC_EXIT_OK || end->status == MC_EXIT_GATE;
    m->seconds = end->seconds;
    if (!written && end->stopped)
        return false;
    if (!written) {
        failed(b, m, end);
        return true;
    }
    m->result = json_load_file(m->partial, 0, NULL);
    if (!json_is_object(m->result)) {
        fail(m, "ended well, but left no report");
        return true;
    }
    own_command(m->result);
    free(m->reason);
    m->reason = NULL;
    m->status = MC_BATCH_DONE;
    if (end->status == MC_EXIT_GATE) {
        m->status = MC_BATCH_GATE;
        m->reason = strdup(message(end));
    }
    return true;
}

/* ---- the run ---- */

struct slots {
    struct mc_process **process;
    size_t *of; /* index of its model */
    int n, busy;
};

static void start(struct mc_batch_job *b, struct slots *s, size_t i)
{
    struct mc_batch_model *m = &b->model[i];
    struct mc_err err;
    char **words = NULL;
    int slot = 0;
    while (s->process[slot])
        slot++;
    unlink(m->partial);
    int rc = mc_batch_folder(m->out, &err);
    if (!rc)
        rc = mc_batch_words(b, m, &words, &err);
    if (!rc)
        rc = mc_process_start("/proc/self/exe", words, &b->limits, &s->process[slot], &err);
    mc_batch_words_free(words);
    if (rc) {
        fail(m, "%s", err.msg);
        return;
    }
    s->of[slot] = i;
    s->busy++;
}

static void tell(const struct mc_batch_job *b, const struct mc_batch_model *m, size_t ended)
{
    char before[MC_TEXT], after[MC_TEXT];
    if (m->status == MC_BATCH_FAILED) {
        mc_console_line(b->cli, "[%zu/%zu] %s: failed: %s", ended, b->n, m->rel,
                        m->reason ? m->reason : "?");
        return;
    }
    mc_console_line(
        b->cli, "[%zu/%zu] %s: %s -> %s%s%s", ended, b->n, m->rel,
        mc_text_bytes(mc_json_number(json_object_get(m->result, "input"), "bytes", 0), before),
        mc_text_bytes(mc_json_number(json_object_get(m->result, "output"), "bytes", 0), after),
        m->status == MC_BATCH_GATE ? ", missed: " : "", m->reason ? m->reason : "");
}

/* A model's process has ended, or could not begin. */
static int ended(struct mc_batch_job *b, struct mc_batch_model *m, struct mc_err *err)
{
    int rc = 0;
    char print[65];
    mc_batch_print(b->recipe, print);
    unlink(m->partial);
    if (b->steps->file && strcmp(print, b->recipe_print))
        return mc_fail(
            err, MC_EFAIL,
            "'%s' was changed while the batch ran; begin again: what is finished is kept "
            "where it still holds",
            b->recipe);
    if (m->status != MC_BATCH_FAILED && *m->key)
        rc = mc_batch_remember(b, m, err);
    tell(b, m, b->n - mc_batch_count(b, MC_BATCH_TODO));
    return rc;
}

static void draw(const struct mc_batch_job *b)
{
    char what[96];
    size_t done = b->n - mc_batch_count(b, MC_BATCH_TODO);
    snprintf(what, sizeof what, "models: %zu of %zu, %zu failed", done, b->n,
             mc_batch_count(b, MC_BATCH_FAILED));
    mc_progress_tell(b->cli->progress, what, (double)done, (double)b->n);
}

static size_t next_todo(const struct mc_batch_job *b, size_t from)
{
    while (from < b->n && b->model[from].status != MC_BATCH_TODO)
        from++;
    return from;
}

static int run(struct mc_batch_job *b, struct slots *s, struct mc_err *err)
{
    struct mc_process_end end;
    int rc = 0;
    bool stopped = false;
    for (size_t next = next_todo(b, 0);;) {
        bool halt = rc || stopped || (b->fail_fast && mc_batch_count(b, MC_BATCH_FAILED));
        while (!halt && !rc && next < b->n && s->busy < s->n) {
            size_t i = next;
            next = next_todo(b, next + 1);
            start(b, s, i);
            if (b->model[i].status == MC_BATCH_FAILED)
                rc = ended(b, &b->model[i], err);
        }
        if (!s->busy && (halt || next >= b->n))
            break;
        draw(b);
        int at = mc_process_wait(s->process, s->n, 0.1, &end);
        if (!stopped && (rc || mc_interrupt_check(NULL))) {
            stopped = true;
            for (int k = 0; k < s->n; k++)
                if (s->process[k])
                    mc_process_stop(s->process[k], GRACE);
        }
        if (at < 0)
            continue;
        struct mc_batch_model *m = &b->model[s->of[at]];
        mc_process_free(s->process[at]);
        s->process[at] = NULL;
        s->busy--;
        if (mc_batch_judge(b, m, &end) && !rc)
            rc = ended(b, m, err);
    }
    if (!rc && stopped)
        rc = mc_fail(err, MC_EINTR,
                     "interrupted; %zu of %zu models are finished: the same command goes on from "
                     "there",
                     b->n - mc_batch_count(b, MC_BATCH_TODO), b->n);
    return rc;
}

int mc_batch_run(struct mc_batch_job *b, struct mc_err *err)
{
    struct slots s = {.n = b->jobs};
    s.process = calloc((size_t)s.n, sizeof *s.process);
    s.of = calloc((size_t)s.n, sizeof *s.of);
    int rc = s.process && s.of ? run(b, &s, err) : mc_fail(err, MC_ENOMEM, "out of memory");
    for (int i = 0; s.process && i < s.n; i++)
        mc_process_free(s.process[i]);
    free(s.process);
    free(s.of);
    return rc;
}
