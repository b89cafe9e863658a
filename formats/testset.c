#include "formats/testset.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "formats/onnx_value_file.h"

enum { FILES_MAX = 10000 };
static const char set_prefix[] = "test_data_set_";

/* The number in PREFIX<number>SUFFIX, or -1. */
static long numbered(const char *name, const char *prefix, const char *suffix)
{
    size_t n = strlen(prefix);
    char *end;
    if (strncmp(name, prefix, n) || name[n] < '0' || name[n] > '9')
        return -1;
    long v = strtol(name + n, &end, 10);
    return strcmp(end, suffix) || v < 0 || v >= FILES_MAX ? -1 : v;
}

static bool is_dir(const char *dir, const char *name)
{
    char path[MC_PATH];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    return n < MC_PATH && !stat(path, &st) && S_ISDIR(st.st_mode);
}

bool mc_testsets_probe(const char *dir)
{
    DIR *d = opendir(dir);
    bool found = false;
    for (struct dirent *e; d && !found && (e = readdir(d));)
        found = numbered(e->d_name, "input_", ".pb") >= 0 ||
                numbered(e->d_name, "output_", ".pb") >= 0 ||
                (numbered(e->d_name, set_prefix, "") >= 0 && is_dir(dir, e->d_name));
    if (d)
        closedir(d);
    return found;
}

/* Files PREFIX0.pb, PREFIX1.pb, … of a folder. */
static int count_files(const char *dir, const char *prefix, int *ret, struct mc_err *err)
{
    DIR *d = opendir(dir);
    long n = 0, highest = -1;
    if (!d)
        return mc_fail(err, MC_EOPEN, "cannot read the folder '%s': %s", dir, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        long v = numbered(e->d_name, prefix, ".pb");
        n += v >= 0;
        highest = v > highest ? v : highest;
    }
    closedir(d);
    if (n != highest + 1)
        return mc_fail(err, MC_EFORMAT, "'%s' has %ld files %s*.pb, but one of them is %s%ld.pb",
                       dir, n, prefix, prefix, highest);
    *ret = (int)n;
    return 0;
}

static int add(struct mc_testsets *s, const char *dir, const char *name, size_t *cap,
               struct mc_err *err)
{
    struct mc_testset_dir set = {0};
    char path[MC_PATH];
    int n = snprintf(path, sizeof path, "%s%s%s", dir, name ? "/" : "", name ? name : "");
    if (n >= MC_PATH)
        return mc_fail(err, MC_EOPEN, "the path '%.80s...' is too long", dir);
    int rc = count_files(path, "input_", &set.n_in, err);
    if (!rc)
        rc = count_files(path, "output_", &set.n_out, err);
    if (rc)
        return rc;
    set.path = mc_arena_strdup(&s->arena, path);
    set.name = set.path ? mc_path_base(set.path) : NULL;
    if (!set.path || !MC_GROW(s->set, s->n, *cap))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    s->set[s->n++] = set;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    const struct mc_testset_dir *x = a, *y = b;
    long m = numbered(x->name, set_prefix, ""), n = numbered(y->name, set_prefix, "");
    return m < n ? -1 : m > n;
}

int mc_testsets_open(const char *dir, struct mc_testsets *ret, struct mc_err *err)
{
    struct mc_testsets s = {0};
    size_t cap = 0;
    int rc = 0;
    char clean[MC_PATH];
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;
    snprintf(clean, sizeof clean, "%.*s", (int)(length < MC_PATH ? length : MC_PATH - 1), dir);
    DIR *d = opendir(clean);
    if (!d)
        return mc_fail(err, MC_EOPEN, "cannot read the folder '%s': %s", dir, strerror(errno));
    for (struct dirent *e; !rc && (e = readdir(d));)
        if (numbered(e->d_name, set_prefix, "") >= 0 && is_dir(clean, e->d_name))
            rc = add(&s, clean, e->d_name, &cap, err);
    closedir(d);
    if (!rc && !s.n)
        rc = add(&s, clean, NULL, &cap, err);
    if (rc) {
        mc_testsets_close(&s);
        return rc;
    }
    qsort(s.set, s.n, sizeof *s.set, by_number);
    *ret = s;
    return 0;
}

void mc_testsets_close(struct mc_testsets *s)
{
    free(s->set);
    mc_arena_free(&s->arena);
    *s = (struct mc_testsets){0};
}

/* ---- one set ---- */

int mc_testset_slots(const struct mc_graph *g, bool outputs, struct mc_testset_slot **ret,
                     int *ret_n, struct mc_err *err)
{
    size_t n = outputs ? g->n_outputs : g->n_inputs;
    struct mc_testset_slot *s = mc_calloc(n + 1, sizeof *s);
    if (!s)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const struct mc_value *v = outputs ? g->outputs[i] : g->inputs[i];
        s[i] = (struct mc_testset_slot){v->name, outputs || v->tensor, v->type.kind};
    }
    *ret = s;
    *ret_n = (int)n;
    return 0;
}

static int find_name(const struct mc_testset_slot *slots, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(slots[i].name, name))
            return i;
    return -1;
}

static int no_match(const struct mc_testset_dir *d, const char *what, int n, int n_slots,
                    int needed, const char *why, struct mc_err *err)
{
    return mc_fail(err, MC_EDATA, "'%s' has %d %ss, the model %d, and %s", d->path, n, what,
                   needed ? needed : n_slots, why);
}

/* Which slot each of n files is for, if there are as many as slots, or as slots that nothing else gives. */
static bool match_order(int n, const struct mc_testset_slot *slots, int n_slots, int needed,
                        int *ret)
{
    bool all = n == n_slots;
    for (int i = 0, at = 0; i < n && (all || n == needed); i++, at++) {
        while (!all && slots[at].given)
            at++;
        ret[i] = at;
    }
    return all || n == needed;
}

/* By name: files that are for nothing (weights that are inputs too) may be there. */
static bool match_names(const struct mc_array *files, int n, const struct mc_testset_slot *slots,
                        int n_slots, int *ret)
{
    bool named = true;
    for (int i = 0; named && i < n; i++) {
        ret[i] = find_name(slots, n_slots, files[i].name);
        for (int k = 0; k < i; k++)
            named = named && (ret[i] < 0 || ret[k] != ret[i]);
    }
    for (int k = 0; named && k < n_slots; k++) {
        bool there = slots[k].given;
        for (int i = 0; i < n; i++)
            there = there || ret[i] == k;
        named = there;
    }
    return named;
}

/* Read all files, and find out what they are for. */
static int read_files(const struct mc_testset_dir *d, const char *what, int n,
                      const struct mc_testset_slot *slots, int n_slots, struct mc_testset *s,
                      struct mc_err *err)
{
    char path[MC_PATH];
    int needed = 0, rc = 0;
    bool lists = false;
    for (int i = 0; i < n_slots; i++) {
        needed += !slots[i].given;
        lists |= slots[i].kind == MC_TYPE_SEQUENCE || slots[i].kind == MC_TYPE_OPTIONAL;
        if (n && slots[i].kind == MC_TYPE_OTHER)
            return mc_fail(err, MC_EUNSUP,
                           "%s '%s' is no tensor, sequence or optional: it cannot be read from a "
                           "file",
                           what, slots[i].name);
    }
    bool ordered = match_order(n, slots, n_slots, needed, s->slot);
    if (!ordered && lists) /* a file does not say of which kind it is */
        return no_match(d, what, n, n_slots, needed,
                        "with sequences or optionals the numbers must be equal", err);
    for (int i = 0; !rc && i < n; i++) {
        enum mc_type_kind kind = ordered ? slots[s->slot[i]].kind : MC_TYPE_TENSOR;
        if (snprintf(path, sizeof path, "%s/%s_%d.pb", d->path, what, i) >= MC_PATH)
            return mc_fail(err, MC_EOPEN, "the path '%.80s...' is too long", d->path);
        rc = mc_onnx_value_file(path, kind, &s->arena, &s->array[i], err);
    }
    if (!rc && !ordered && !match_names(s->array, n, slots, n_slots, s->slot))
        rc = no_match(d, what, n, n_slots, needed, "their names do not match either", err);
    return rc;
}

/* A list is named as its items are: by its slot. */
static void rename_all(struct mc_array *a, const char *name)
{
    struct mc_array *item = mc_array_is_list(a) ? a->data : NULL;
    a->name = name;
    for (size_t i = 0; item && i < mc_array_n_items(a); i++)
        rename_all(&item[i], name);
}

static int read_set(const struct mc_testset_dir *d, const char *what, int n,
                    const struct mc_testset_slot *slots, int n_slots, struct mc_testset *ret,
                    struct mc_err *err)
{
    struct mc_testset s = {0};
    s.array = mc_arena_array(&s.arena, (size_t)n + 1, sizeof *s.array);
    s.slot = mc_arena_array(&s.arena, (size_t)n + 1, sizeof *s.slot);
    int rc = s.array && s.slot ? read_files(d, what, n, slots, n_slots, &s, err)
                               : mc_fail(err, MC_ENOMEM, "out of memory");
    for (int i = 0; !rc && i < n; i++) {
        if (s.slot[i] < 0)
            continue;
        char *name = mc_arena_strdup(&s.arena, slots[s.slot[i]].name);
        if (!name)
            rc = mc_fail(err, MC_ENOMEM, "out of memory");
        s.slot[s.n] = s.slot[i];
        s.array[s.n] = s.array[i];
        rename_all(&s.array[s.n++], name);
    }
    if (rc)
        mc_testset_free(&s);
    else
        *ret = s;
    return rc;
}

int mc_testset_inputs(const struct mc_testset_dir *d, const struct mc_testset_slot *slots,
                      int n_slots, struct mc_testset *ret, struct mc_err *err)
{
    return read_set(d, "input", d->n_in, slots, n_slots, ret, err);
}

int mc_testset_outputs(const struct mc_testset_dir *d, const struct mc_testset_slot *slots,
                       int n_slots, struct mc_testset *ret, struct mc_err *err)
{
    return read_set(d, "output", d->n_out, slots, n_slots, ret, err);
}

void mc_testset_free(struct mc_testset *s)
{
    mc_arena_free(&s->arena);
    *s = (struct mc_testset){0};
}
