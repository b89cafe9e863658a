#include "cli/models.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "formats/onnx.h"
#include "formats/onnx_about.h"
#include "formats/samples.h"
#include "graph/edit.h"
#include "graph/summary.h"

static const char stdin_path[] = "/dev/stdin";

/* Standard input as a file that can be opened again: a pipe is copied aside and takes its place. */
static int stdin_to_file(struct mc_err *err)
{
    struct stat st;
    if (!fstat(0, &st) && S_ISREG(st.st_mode))
        return 0;
    FILE *copy = tmpfile();
    char block[1 << 16];
    ssize_t n = 0;
    bool ok = copy != NULL;
    while (ok && (n = read(0, block, sizeof block)) != 0)
        ok = n > 0 ? fwrite(block, 1, (size_t)n, copy) == (size_t)n : errno == EINTR;
    ok = ok && !fflush(copy) && dup2(fileno(copy), 0) == 0;
    int rc = ok ? 0 : mc_fail(err, MC_EOPEN, "cannot read standard input: %s", strerror(errno));
    if (copy)
        fclose(copy);
    return rc;
}

int mc_cli_read(const char *name, struct mc_cli_model *ret, struct mc_err *err)
{
    bool piped = !strcmp(name, "-");
    int rc = piped ? stdin_to_file(err) : 0;
    struct mc_cli_model m = {name, piped ? stdin_path : name, NULL};
    if (!rc)
        rc = mc_onnx_read(m.path, &m.model, err);
    if (!rc)
        *ret = m;
    return rc;
}

void mc_cli_close(struct mc_cli_model *m)
{
    mc_model_free(m->model);
    m->model = NULL;
}

int mc_cli_check_out(const struct mc_cli_model *m, const char *out, struct mc_err *err)
{
    struct mc_onnx_about about;
    char dir[MC_PATH], weights[MC_PATH], external[2 * MC_PATH];
    if (mc_path_same(out, m->path))
        return mc_fail(err, MC_EUSAGE,
                       "'%s' would replace the model itself; give another name with -o", out);
    if (!m->model->external)
        return 0;
    int rc = mc_onnx_about(m->path, m->model, &about, err);
    if (rc)
        return rc;
    snprintf(weights, sizeof weights, "%s.data", out);
    for (size_t i = 0; !rc && i < about.n_external; i++) {
        snprintf(external, sizeof external, "%s/%s", mc_path_dir(m->path, dir),
                 about.external[i].location);
        if (mc_path_same(out, external) || mc_path_same(weights, external))
            rc = mc_fail(err, MC_EUSAGE,
                         "'%s' would replace '%s', which holds weights of the model; give another "
                         "name with -o",
                         out, external);
    }
    mc_onnx_about_free(&about);
    return rc;
}

int mc_cli_describe_as(const char *name, const struct mc_model *m, uint64_t bytes,
                       const char *sha256, json_t **ret, struct mc_err *err)
{
    struct mc_summary s;
    int rc = mc_summary(m, &s, err);
    if (rc)
        return rc;
    bool ok = true;
    json_t *o = json_object();
    mc_json_put(o, "path", mc_json_text(name), &ok);
    mc_json_put(o, "bytes", mc_json_size(bytes), &ok);
    mc_json_put(o, "parameters", json_integer(s.parameters), &ok);
    mc_json_put(o, "macs", s.macs < 0 ? json_null() : mc_json_size((uint64_t)s.macs), &ok);
    mc_json_put(o, "sha256", mc_json_text(sha256), &ok);
    if (!ok) {
        json_decref(o);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    *ret = o;
    return 0;
}

int mc_cli_describe(const struct mc_cli_model *m, json_t **ret, struct mc_err *err)
{
    char hex[65];
    uint64_t bytes;
    int rc = mc_onnx_digest(m->path, hex, &bytes, err);
    return rc ? rc : mc_cli_describe_as(m->name, m->model, bytes, hex, ret, err);
}

const char *mc_cli_preprocess(const struct mc_cli *cli, const struct mc_model *model,
                              const struct mc_model *reference)
{
    static const char key[] = "ai.mcompress.preprocess";
    const char *steps = mc_param_text(cli->values, "preprocess");
    if (!steps)
        steps = mc_model_meta(model, key);
    if (!steps && reference)
        steps = mc_model_meta(reference, key);
    return steps;
}

/* The input's declared type; undeclared dimensions are free. */
static int input_like(const struct mc_value *v, struct mc_array *ret, struct mc_err *err)
{
    const struct mc_type *t = &v->type;
    if (t->kind != MC_TYPE_TENSOR || !t->ranked)
        return mc_fail(err, MC_EUNSUP,
                       "input '%s' has no declared tensor shape: samples cannot be "
                       "matched to it",
                       v->name);
    if (t->rank > MC_RANK_MAX)
        return mc_fail(err, MC_EUNSUP, "input '%s' has %d dimensions; at most %d are supported",
                       v->name, t->rank, MC_RANK_MAX);
    *ret = (struct mc_array){.name = v->name, .dtype = t->dtype, .shape.rank = t->rank};
    for (int i = 0; i < t->rank; i++)
        ret->shape.dim[i] = t->dim[i].value >= 0 ? t->dim[i].value : MC_DIM_ANY;
    return 0;
}

int mc_cli_samples(const char *spec, const struct mc_model *model, const char *preprocess,
                   bool no_labels, struct mc_dataset **ret, struct mc_err *err)
{
    const struct mc_graph *g = model->graph;
    struct mc_array *inputs = calloc(g->n_inputs + 1, sizeof *inputs);
    if (!inputs)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    struct mc_sample_opts opts = {
        .inputs = inputs, .preprocess = preprocess, .no_labels = no_labels};
    int rc = 0;
    for (size_t i = 0; !rc && i < g->n_inputs; i++)
        if (!g->inputs[i]->tensor)
            rc = input_like(g->inputs[i], &inputs[opts.n_inputs++], err);
    if (!rc)
        rc = mc_samples_open(spec, &opts, ret, err);
    free(inputs);
    return rc;
}

/* Input i of those that samples are given to; NULL at the end. */
static struct mc_value *fed(const struct mc_model *m, size_t i)
{
    const struct mc_graph *g = m->graph;
    for (size_t k = 0; k < g->n_inputs; k++)
        if (!g->inputs[k]->tensor && !i--)
            return g->inputs[k];
    return NULL;
}

static int rename_input(struct mc_value *old, const char *name, struct mc_err *err)
{
    struct mc_graph *g = old->graph;
    const struct mc_type *t = &old->type;
    struct mc_value *v = mc_edit_value(g, name);
    if (!v)
        return mc_fail(err, MC_ESHAPE,
                       "the input '%s' cannot be called '%s', as the other model's is: that name "
                       "is taken",
                       old->name, name);
    if (!mc_edit_type(v, t->dtype, t->ranked ? t->rank : -1, t->dim))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_edit_input(g, v, err);
    if (!rc)
        rc = mc_edit_replace_uses(old, v, err);
    if (!rc && !old->is_output)
        mc_edit_remove_value(old);
    return rc;
}

int mc_cli_adopt_input(struct mc_model *m, const struct mc_model *like, struct mc_err *err)
{
    struct mc_value *mine = fed(m, 0), *theirs = fed(like, 0);
    if (mine && theirs && !fed(m, 1) && !fed(like, 1))
        return strcmp(mine->name, theirs->name) ? rename_input(mine, theirs->name, err) : 0;
    for (size_t i = 0; (mine = fed(m, i)); i++) {
        size_t k = 0;
        while ((theirs = fed(like, k)) && strcmp(mine->name, theirs->name))
            k++;
        if (!theirs)
            return mc_fail(err, MC_ESHAPE,
                           "the teacher's input '%s' is none of the model's: both are given the "
                           "same samples",
                           mine->name);
    }
    return 0;
}
