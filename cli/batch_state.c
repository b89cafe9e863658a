#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "cli/batch.h"
#include "formats/onnx.h"
#include "formats/report_format.h"

/* Beside the results, hidden: no walk finds a model in it. */
static const char folder[] = ".mcompress";

/* ---- folders ---- */

int mc_batch_folder(const char *path, struct mc_err *err)
{
    char dir[MC_PATH];
    struct stat st;
    if (strlen(mc_path_dir(path, dir)) + 1 >= MC_PATH)
        return mc_fail(err, MC_EIO, "cannot write '%s': the name is too long", path);
    for (char *c = dir + 1; *dir; c++) {
        if (*c && *c != '/')
            continue;
        char kept = *c;
        *c = 0;
        if (mkdir(dir, 0777) && (errno != EEXIST || stat(dir, &st) || !S_ISDIR(st.st_mode)))
            return mc_fail(err, MC_EIO, "cannot make folder '%s': %s", dir,
                           errno == EEXIST ? "a file has that name" : strerror(errno));
        *c = kept;
        if (!kept)
            break;
    }
    return 0;
}

/* ".NAME.XXXXXX.part": written by a process that was killed, where the file system has no files without a name.
 * Nobody else writes here, and models are as hidden as these. */
static int remove_partial(void *ctx, const char *rel, const char *path, const char *why,
                          struct mc_err *err)
{
    static const char ext[] = ".part";
    const char *base = mc_path_base(path);
    size_t n = strlen(base);
    (void)ctx, (void)rel, (void)err;
    if (!why && *base == '.' && n > 12 && !strcmp(base + n - strlen(ext), ext) &&
        base[n - strlen(ext) - 7] == '.' && (strcasestr(base, ".onnx") || strstr(base, ".json")))
        unlink(path);
    return 0;
}

int mc_batch_lock(struct mc_batch_job *b, struct mc_err *err)
{
    char path[MC_PATH];
    snprintf(path, sizeof path, "%s/%s/lock", b->out, folder);
    int rc = mc_batch_folder(path, err);
    if (rc)
        return rc;
    b->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (b->lock < 0)
        return mc_fail(err, MC_EIO, "cannot write '%s': %s", path, strerror(errno));
    if (flock(b->lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return mc_fail(err, MC_EFAIL,
                       "another batch writes into '%s'; wait for its end, or give "
                       "another folder",
                       b->out);
    struct mc_batch_visit v = {.file = remove_partial};
    return mc_batch_visit(&v, b->out, err);
}

/* Names of models may be longer than a name with anything added can be: their hash is not. */
static void hash_name(const char *rel, char ret[33])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct sha256_ctx c;
    sha256_init(&c);
    sha256_update(&c, strlen(rel), (const uint8_t *)rel);
    sha256_digest(&c, sizeof digest, digest);
    for (size_t i = 0; i < 16; i++)
        snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

int mc_batch_places(const struct mc_batch_job *b, struct mc_batch_model *m, struct mc_err *err)
{
    char hex[33];
    const char *slash = b->out[strlen(b->out) - 1] == '/' ? "" : "/";
    hash_name(m->rel, hex);
    if (asprintf(&m->out, "%s%s%s", b->out, slash, m->rel) < 0 ||
        asprintf(&m->state, "%s%s%s/%s.json", b->out, slash, folder, hex) < 0 ||
        asprintf(&m->partial, "%s%s%s/%s.report.json", b->out, slash, folder, hex) < 0)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    return 0;
}

/* ---- states ---- */

static void because(struct mc_batch_model *m, const char *reason)
{
    free(m->reason);
    m->reason = strdup(reason);
}

static bool same_file(const char *path, const json_t *described)
{
    char hex[65];
    uint64_t bytes;
    const char *known = mc_json_string(described, "sha256");
    return known && !mc_onnx_digest(path, hex, &bytes, NULL) && !strcmp(hex, known);
}

/* Why a state does not serve; NULL: it does. */
static const char *objection(const struct mc_batch_model *m, const json_t *state)
{
    const json_t *report = json_object_get(state, "report");
    const char *key = mc_json_string(state, "key");
    if (!json_is_object(report))
        return "no result yet";
    if (!key || !*m->key || strcmp(key, m->key))
        return "the recipe, an option, its data or the program is another";
    if (!same_file(m->path, json_object_get(report, "input")))
        return "the model is another";
    if (access(m->out, F_OK))
        return "the result is gone";
    if (!same_file(m->out, json_object_get(report, "output")))
        return "the result was changed";
    return NULL;
}

void mc_batch_recall(const struct mc_batch_job *b, struct mc_batch_model *m)
{
    if (m->status != MC_BATCH_TODO)
        return;
    json_t *state = json_load_file(m->state, 0, NULL);
    const char *why = b->force && state ? "--force" : objection(m, state);
    if (why) {
        because(m, why);
    } else {
        const char *reason = mc_json_string(state, "missed");
        m->status = reason ? MC_BATCH_GATE : MC_BATCH_DONE;
        m->before = true;
        m->seconds = mc_json_number(state, "seconds", 0);
        m->result = json_incref(json_object_get(state, "report"));
        free(m->reason);
        m->reason = reason ? strdup(reason) : NULL;
    }
    json_decref(state);
}

int mc_batch_remember(const struct mc_batch_job *b, const struct mc_batch_model *m,
                      struct mc_err *err)
{
    bool ok = true;
    struct mc_out *out;
    json_t *o = json_object();
    (void)b;
    mc_json_put(o, "mcompress", json_string(MC_VERSION), &ok);
    mc_json_put(o, "model", mc_json_text(m->rel), &ok);
    mc_json_put(o, "key", json_string(m->key), &ok);
    mc_json_put(o, "seconds", mc_json_real(m->seconds), &ok);
    if (m->status == MC_BATCH_GATE)
        mc_json_put(o, "missed", mc_json_text(m->reason ? m->reason : ""), &ok);
    mc_json_put(o, "report", json_incref(m->result), &ok);
    char *text = ok ? mc_report_json(o) : NULL;
    json_decref(o);
    if (!text)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    int rc = mc_out_open(m->state, &out, err);
    if (!rc) {
        mc_out_write(out, text, strlen(text));
        rc = mc_out_commit(out, err);
    }
    free(text);
    return rc;
}
