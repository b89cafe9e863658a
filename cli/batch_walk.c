#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/mem.h"
#include "cli/batch.h"

/* ---- any folder ---- */

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int no_dots(const struct dirent *e)
{
    return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

static int visit(struct mc_batch_visit *v, const char *rel, const char *path, struct mc_err *err);

static int entry(struct mc_batch_visit *v, const char *rel, const char *path, struct mc_err *err)
{
    struct stat st, target;
    if (lstat(path, &st))
        return v->file(v->ctx, rel, path, strerror(errno), err);
    if (S_ISDIR(st.st_mode))
        return v->folder && !v->folder(v->ctx, path) ? 0 : visit(v, rel, path, err);
    if (S_ISLNK(st.st_mode) && !stat(path, &target)) {
        st = target;
        if (S_ISDIR(st.st_mode)) {
            v->links++;
            return 0;
        }
    }
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return 0;
    return v->file(v->ctx, rel, path, NULL, err);
}

static int visit(struct mc_batch_visit *v, const char *rel, const char *path, struct mc_err *err)
{
    struct dirent **list;
    int n = scandir(path, &list, no_dots, by_bytes), rc = 0;
    if (n < 0 && errno == ENOMEM)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    if (n < 0)
        return v->file(v->ctx, rel, path, strerror(errno), err);
    for (int i = 0; i < n; i++) {
        char *below = NULL, *full = NULL;
        const char *slash = path[strlen(path) - 1] == '/' ? "" : "/";
        if (!rc && (asprintf(&below, "%s%s%s", rel, *rel ? "/" : "", list[i]->d_name) < 0 ||
                    asprintf(&full, "%s%s%s", path, slash, list[i]->d_name) < 0))
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
        if (!rc)
            rc = entry(v, below, full, err);
        free(below);
        free(full);
        free(list[i]);
    }
    free(list);
    return rc;
}

int mc_batch_visit(struct mc_batch_visit *v, const char *dir, struct mc_err *err)
{
    return visit(v, "", dir, err);
}

/* ---- models ---- */

static bool is_model(const char *rel)
{
    const char *base = mc_path_base(rel);
    return *base != '.' && !strcasecmp(mc_path_ext(base), ".onnx");
}

static int add(struct mc_batch_job *b, const char *rel, const char *path, const char *why,
               struct mc_err *err)
{
    if (!MC_GROW(b->model, b->n, b->cap))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    struct mc_batch_model *m = &b->model[b->n++];
    *m = (struct mc_batch_model){.rel = strdup(rel), .path = strdup(path)};
    bool ok = m->rel && m->path;
    if (ok && why) {
        m->unreadable = true;
        m->status = MC_BATCH_FAILED;
        ok = asprintf(&m->reason, "cannot open '%s': %s", path, why) >= 0;
    }
    return ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static int file(void *ctx, const char *rel, const char *path, const char *why, struct mc_err *err)
{
    return why || is_model(rel) ? add(ctx, rel, path, why, err) : 0;
}

static bool folder(void *ctx, const char *path)
{
    const struct mc_batch_job *b = ctx;
    return *mc_path_base(path) != '.' && !mc_path_same(path, b->out);
}

static int by_rel(const void *x, const void *y)
{
    const struct mc_batch_model *a = x, *b = y;
    return strcmp(a->rel, b->rel);
}

/* Is a folder the other one, or somewhere in it? What does not exist yet is in nothing that matters here. */
static bool lies_in(const char *inner, const char *outer)
{
    char *a = realpath(inner, NULL), *b = realpath(outer, NULL);
    size_t n = b ? strlen(b) : 0;
    bool in = a && b && !strncmp(a, b, n) && (!a[n] || a[n] == '/' || (n && b[n - 1] == '/'));
    free(a);
    free(b);
    return in;
}

static int check_out(const struct mc_batch_job *b, bool one, struct mc_err *err)
{
    struct stat st;
    char dir[MC_PATH];
    if (!stat(b->out, &st) && !S_ISDIR(st.st_mode))
        return mc_fail(err, MC_EUSAGE, "-o '%s' is no folder: the results need one", b->out);
    if (one ? mc_path_same(mc_path_dir(b->dir, dir), b->out) : lies_in(b->dir, b->out))
        return mc_fail(err, MC_EUSAGE,
                       "-o '%s' holds the models: the results could replace them; give another "
                       "folder",
                       b->out);
    return 0;
}

int mc_batch_walk(struct mc_batch_job *b, struct mc_err *err)
{
    struct stat st;
    if (stat(b->dir, &st))
        return mc_fail(err, MC_EOPEN, "cannot open '%s': %s", b->dir, strerror(errno));
    bool one = !S_ISDIR(st.st_mode);
    if (!one && access(b->dir, R_OK | X_OK))
        return mc_fail(err, MC_EOPEN, "cannot read folder '%s': %s", b->dir, strerror(errno));
    int rc = check_out(b, one, err);
    if (rc)
        return rc;
    struct mc_batch_visit v = {.file = file, .folder = folder, .ctx = b};
    rc = one ? add(b, mc_path_base(b->dir), b->dir, NULL, err) : mc_batch_visit(&v, b->dir, err);
    b->links = v.links;
    if (rc)
        return rc;
    if (!b->n && b->links)
        return mc_fail(err, MC_EOPEN,
                       "no .onnx file below '%s'; links to folders are not followed: name what "
                       "they point to",
                       b->dir);
    if (!b->n)
        return mc_fail(err, MC_EOPEN, "no .onnx file below '%s'", b->dir);
    qsort(b->model, b->n, sizeof *b->model, by_rel);
    return 0;
}
