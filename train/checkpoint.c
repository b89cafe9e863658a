#include "train/checkpoint.h"

#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/blob.h"
#include "base/mem.h"
#include "graph/constant.h"

static const char kind[] = "training checkpoint";
enum { VERSION = 1 };

/* ---- identity ---- */

static void add_text(struct sha256_ctx *c, const char *s)
{
    sha256_update(c, strlen(s) + 1, (const uint8_t *)s);
}

static void add_tensor(struct sha256_ctx *c, const struct mc_tensor *t)
{
    int64_t head[2] = {t->dtype, t->shape.rank};
    sha256_update(c, sizeof head, (const uint8_t *)head);
    if (t->shape.rank > 0)
        sha256_update(c, (size_t)t->shape.rank * sizeof *t->shape.dim,
                      (const uint8_t *)t->shape.dim);
    if (t->data)
        sha256_update(c, t->bytes, t->data);
}

static void add_attr(struct sha256_ctx *c, const struct mc_attr *a)
{
    add_text(c, a->name);
    sha256_update(c, sizeof a->i, (const uint8_t *)&a->i);
    sha256_update(c, sizeof a->f, (const uint8_t *)&a->f);
    if (a->s.data)
        sha256_update(c, a->s.size, a->s.data);
    if (a->ints)
        sha256_update(c, a->n * sizeof *a->ints, (const uint8_t *)a->ints);
    if (a->floats)
        sha256_update(c, a->n * sizeof *a->floats, (const uint8_t *)a->floats);
    for (size_t i = 0; a->tensors && i < a->n; i++)
        add_tensor(c, a->tensors[i]);
}

void mc_run_hash_model(const struct mc_model *m, uint8_t ret[MC_RUN_HASH])
{
    struct sha256_ctx c;
    memset(ret, 0, MC_RUN_HASH);
    if (!m)
        return;
    sha256_init(&c);
    const struct mc_graph *g = m->graph;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct mc_node *n = g->nodes[i];
        add_text(&c, n->domain);
        add_text(&c, n->op_type);
        for (size_t k = 0; k < n->n_in; k++)
            add_text(&c, n->in[k] ? n->in[k]->name : "");
        for (size_t k = 0; k < n->n_out; k++)
            add_text(&c, n->out[k] ? n->out[k]->name : "");
        for (size_t k = 0; k < n->n_attr; k++)
            add_attr(&c, &n->attr[k]);
    }
    for (size_t i = 0; i < g->n_inits; i++) {
        add_text(&c, g->inits[i]->name);
        add_tensor(&c, g->inits[i]->tensor);
    }
    sha256_digest(&c, MC_RUN_HASH, ret);
}

void mc_run_hash_text(const char *text, uint8_t ret[MC_RUN_HASH])
{
    struct sha256_ctx c;
    sha256_init(&c);
    add_text(&c, text);
    sha256_digest(&c, MC_RUN_HASH, ret);
}

static const char *difference(const struct mc_run_id *a, const struct mc_run_id *b)
{
    if (memcmp(a->model, b->model, MC_RUN_HASH) != 0)
        return "another model";
    if (memcmp(a->teacher, b->teacher, MC_RUN_HASH) != 0)
        return "another teacher";
    if (strcmp(a->data, b->data) != 0 || a->samples != b->samples)
        return "other data";
    if (a->seed != b->seed)
        return "another seed";
    if (memcmp(&a->epochs, &b->epochs, sizeof a->epochs) != 0)
        return "another number of epochs";
    return memcmp(a->options, b->options, MC_RUN_HASH) != 0 ? "other options" : NULL;
}

/* ---- writing ---- */

int mc_checkpoint_write(const char *path, const struct mc_run_id *id, const struct mc_run_state *s,
                        struct mc_err *err)
{
    struct mc_blob_out *b;
    int rc = mc_blob_create(path, kind, VERSION, &b, err);
    if (rc)
        return rc;
    mc_blob_put(b, "id", id, sizeof *id);
    mc_blob_put(b, "now", &s->now, sizeof s->now);
    mc_blob_put(b, "good", &s->good, sizeof s->good);
    mc_blob_put(b, "points", s->points, (size_t)s->now.n_points * sizeof *s->points);
    mc_blob_put(b, "evals", s->evals, (size_t)s->now.n_evals * sizeof *s->evals);
    mc_blob_put(b, "states", s->states, s->bytes);
    mc_blob_put(b, "good states", s->good_states, s->bytes);
    mc_blob_put(b, "best states", s->best_states, s->now.best_update < 0 ? 0 : s->bytes);
    return mc_blob_commit(b, err);
}

/* ---- reading ---- */

static bool take(const struct mc_blob *b, const char *name, void *to, size_t bytes)
{
    size_t n;
    const void *p = mc_blob_get(b, name, &n);
    if (!p || n != bytes)
        return false;
    if (bytes)
        memcpy(to, p, bytes);
    return true;
}

static bool plausible(const struct mc_track *t)
{
    return t->n_points >= 0 && t->n_points <= MC_TRACK_POINTS && t->n_evals >= 0 &&
           t->n_evals < INT32_MAX && t->n_recoveries >= 0 &&
           t->n_recoveries <= MC_TRACK_RECOVERIES && t->n_range >= 0 &&
           t->n_range <= MC_TRACK_RANGE;
}

static int take_all(const struct mc_blob *b, const char *path, struct mc_run_state *s,
                    struct mc_err *err)
{
    bool ok = take(b, "now", &s->now, sizeof s->now) && take(b, "good", &s->good, sizeof s->good) &&
              plausible(&s->now) && plausible(&s->good) && s->good.n_evals <= s->now.n_evals;
    size_t evals = ok ? (size_t)s->now.n_evals : 0;
    if (ok && s->now.n_evals > s->cap_evals) {
        struct mc_track_eval *e = mc_realloc(s->evals, evals, sizeof *e);
        if (!e)
            return mc_fail(err, MC_ENOMEM, "out of memory while training");
        s->evals = e;
        s->cap_evals = s->now.n_evals;
    }
    ok = ok && take(b, "points", s->points, (size_t)s->now.n_points * sizeof *s->points) &&
         take(b, "evals", s->evals, evals * sizeof *s->evals) &&
         take(b, "states", s->states, s->bytes) &&
         take(b, "good states", s->good_states, s->bytes) &&
         take(b, "best states", s->best_states, s->now.best_update < 0 ? 0 : s->bytes);
    if (!ok)
        return mc_fail(err, MC_EFORMAT, "'%s' is a checkpoint of another run", path);
    return 0;
}

int mc_checkpoint_read(const char *path, const struct mc_run_id *id, struct mc_run_state *s,
                       bool *ret_found, struct mc_err *err)
{
    struct mc_blob *b;
    struct mc_run_id its;
    *ret_found = false;
    if (access(path, F_OK) != 0)
        return 0;
    int rc = mc_blob_open(path, kind, VERSION, &b, err);
    if (rc)
        return rc;
    if (!take(b, "id", &its, sizeof its)) {
        rc = mc_fail(err, MC_EFORMAT, "'%s' is a checkpoint of another program", path);
    } else {
        its.data[sizeof its.data - 1] = '\0';
        const char *what = difference(id, &its);
        if (what)
            rc = mc_fail(err, MC_EFORMAT,
                         "'%s' is the checkpoint of a run with %s; give another file, or remove it",
                         path, what);
        else
            rc = take_all(b, path, s, err);
    }
    *ret_found = !rc;
    mc_blob_close(b);
    return rc;
}
