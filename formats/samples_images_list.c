#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "formats/image.h"
#include "formats/samples_images.h"

static const char classes_file[] = "classes.txt";

struct names {
    char **name;
    size_t n, cap;
};

static void names_free(struct names *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->name[i]);
    free(s->name);
    *s = (struct names){0};
}

static int names_add(struct names *s, const char *name, size_t n, struct mc_err *err)
{
    char *kept = strndup(name, n);
    if (!kept || !MC_GROW(s->name, s->n, s->cap)) {
        free(kept);
        return mc_fail(err, MC_ENOMEM, "out of memory");
    }
    s->name[s->n++] = kept;
    return 0;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int join(char ret[MC_PATH], const char *dir, const char *name, struct mc_err *err)
{
    return snprintf(ret, MC_PATH, "%s/%s", dir, name) < MC_PATH
               ? 0
               : mc_fail(err, MC_EOPEN, "the path '%.80s...' is too long", dir);
}

/* Names in a folder, hidden ones left out, sorted: of pictures, and of folders (NULL: not wanted). */
static int read_folder(const char *dir, struct names *pictures, struct names *folders,
                       struct mc_err *err)
{
    char path[MC_PATH];
    struct stat st;
    int rc = 0;
    DIR *d = opendir(dir);
    if (!d)
        return mc_fail(err, MC_EOPEN, "cannot read the folder '%s': %s", dir, strerror(errno));
    for (struct dirent *e; !rc && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        rc = join(path, dir, e->d_name, err);
        if (rc || stat(path, &st))
            continue;
        if (S_ISDIR(st.st_mode) && folders)
            rc = names_add(folders, e->d_name, strlen(e->d_name), err);
        else if (S_ISREG(st.st_mode) && mc_image_named(e->d_name))
            rc = names_add(pictures, e->d_name, strlen(e->d_name), err);
    }
    closedir(d);
    if (pictures->n)
        qsort(pictures->name, pictures->n, sizeof *pictures->name, by_bytes);
    if (folders && folders->n)
        qsort(folders->name, folders->n, sizeof *folders->name, by_bytes);
    return rc;
}

bool mc_pictures_probe(const char *dir)
{
    struct names pictures = {0}, folders = {0};
    char path[MC_PATH];
    int rc = read_folder(dir, &pictures, &folders, NULL);
    for (size_t i = 0; !rc && !pictures.n && i < folders.n; i++)
        if (!join(path, dir, folders.name[i], NULL))
            rc = read_folder(path, &pictures, NULL, NULL);
    bool found = pictures.n > 0;
    names_free(&pictures);
    names_free(&folders);
    return found;
}

/* The lines of classes.txt; none where there is no such file. */
static int read_classes(const char *dir, struct names *ret, struct mc_err *err)
{
    char path[MC_PATH];
    struct mc_map file = {0};
    struct stat st;
    int rc = join(path, dir, classes_file, err);
    if (rc || stat(path, &st))
        return rc;
    rc = mc_map_open(path, &file, err);
    const char *p = (const char *)file.data, *end = p + file.size;
    while (!rc && p < end) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((line ? line : end) - p);
        size_t used = n && p[n - 1] == '\r' ? n - 1 : n;
        if (used)
            rc = names_add(ret, p, used, err);
        p += n + 1;
    }
    if (!rc && !ret->n)
        rc = mc_fail(err, MC_EDATA, "'%s' names no classes", path);
    mc_map_close(&file);
    return rc;
}

/* Every folder must be a class: pictures that count for nothing are a mistake. */
static int check_classes(const char *dir, const struct names *folders, const struct names *listed,
                         struct mc_err *err)
{
    for (size_t i = 0; listed->n && i < folders->n; i++) {
        size_t k = 0;
        while (k < listed->n && strcmp(listed->name[k], folders->name[i]))
            k++;
        if (k == listed->n)
            return mc_fail(err, MC_EDATA, "'%s': the folder '%s' is no class of %s", dir,
                           folders->name[i], classes_file);
    }
    return 0;
}

static int append(struct mc_pictures *p, const char *dir, const char *class, const char *name,
                  int64_t label, size_t cap, struct mc_err *err)
{
    char path[MC_PATH];
    if (snprintf(path, sizeof path, "%s%s%s/%s", dir, class ? "/" : "", class ? class : "", name) >=
        MC_PATH)
        return mc_fail(err, MC_EOPEN, "the path '%.80s...' is too long", dir);
    char *kept = mc_arena_strdup(&p->arena, path);
    if (!kept || p->n == cap)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    p->path[p->n] = kept;
    if (p->label)
        p->label[p->n] = label;
    p->n++;
    return 0;
}

static int room(struct mc_pictures *p, size_t n, bool labels, struct mc_err *err)
{
    p->path = mc_calloc(n + 1, sizeof *p->path);
    p->label = labels ? mc_calloc(n + 1, sizeof *p->label) : NULL;
    return p->path && (p->label || !labels) ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

static int list_classes(const char *dir, const struct names *classes, bool listed,
                        struct mc_pictures *p, struct mc_err *err)
{
    char path[MC_PATH];
    struct stat st;
    struct names *in = mc_calloc(classes->n, sizeof *in);
    size_t total = 0, most = 0;
    int rc = in ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t k = 0; !rc && k < classes->n; k++) {
        rc = join(path, dir, classes->name[k], err);
        if (rc || (listed && stat(path, &st)))
            continue; /* a class of which there are no pictures here */
        rc = read_folder(path, &in[k], NULL, err);
        if (!rc && !in[k].n && !listed)
            rc = mc_fail(err, MC_EDATA,
                         "the class folder '%s' holds no .png or .jpg; remove it, or list the "
                         "classes in %s/%s",
                         path, dir, classes_file);
        total += in[k].n;
        most = in[k].n > most ? in[k].n : most;
    }
    if (!rc)
        rc = room(p, total, true, err);
    for (size_t i = 0; !rc && i < most; i++)
        for (size_t k = 0; !rc && k < classes->n; k++)
            if (i < in[k].n)
                rc = append(p, dir, classes->name[k], in[k].name[i], (int64_t)k, total, err);
    for (size_t k = 0; in && k < classes->n; k++)
        names_free(&in[k]);
    free(in);
    p->classes = (int64_t)classes->n;
    return rc;
}

int mc_pictures_list(const char *dir, struct mc_pictures *ret, struct mc_err *err)
{
    struct mc_pictures p = {0};
    struct names pictures = {0}, folders = {0}, listed = {0};
    int rc = read_folder(dir, &pictures, &folders, err);
    if (!rc)
        rc = read_classes(dir, &listed, err);
    if (!rc && pictures.n && folders.n)
        rc = mc_fail(err, MC_EDATA,
                     "'%s' has pictures ('%s') beside folders ('%s'): either all are in class "
                     "folders, or none",
                     dir, pictures.name[0], folders.name[0]);
    if (!rc)
        rc = check_classes(dir, &folders, &listed, err);
    if (!rc && pictures.n) {
        rc = room(&p, pictures.n, false, err);
        for (size_t i = 0; !rc && i < pictures.n; i++)
            rc = append(&p, dir, NULL, pictures.name[i], 0, pictures.n, err);
    } else if (!rc) {
        rc = list_classes(dir, listed.n ? &listed : &folders, listed.n > 0, &p, err);
    }
    names_free(&pictures);
    names_free(&folders);
    names_free(&listed);
    if (rc)
        mc_pictures_free(&p);
    else
        *ret = p;
    return rc;
}

void mc_pictures_free(struct mc_pictures *p)
{
    free(p->path);
    free(p->label);
    mc_arena_free(&p->arena);
    *p = (struct mc_pictures){0};
}
