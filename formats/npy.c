#include "formats/npy.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 1 << 16 };

static const char magic[6] = "\x93NUMPY";

bool mc_npy_probe(const uint8_t *head, size_t n)
{
    return n >= sizeof magic && !memcmp(head, magic, sizeof magic);
}

/* The header is a Python dict literal of three entries; p walks over it and it ends with a NUL. */
struct text {
    const char *p;
    struct mc_narray *a;
    struct mc_err *err;
};

static void spaces(struct text *t)
{
    while (*t->p == ' ' || *t->p == '\t' || *t->p == '\n' || *t->p == '\r')
        t->p++;
}

static bool eat(struct text *t, const char *token)
{
    spaces(t);
    size_t n = strlen(token);
    if (strncmp(t->p, token, n))
        return false;
    t->p += n;
    return true;
}

static int malformed(struct text *t, const char *expected)
{
    return mc_fail(t->err, MC_EFORMAT, "%s: its header needs %s at '%.20s'", t->a->what, expected,
                   t->p);
}

/* A quoted string without escapes into ret. */
static int quoted(struct text *t, char *ret, size_t cap)
{
    spaces(t);
    char q = *t->p;
    const char *end = q == '\'' || q == '"' ? strchr(t->p + 1, q) : NULL;
    if (!end || (size_t)(end - t->p) > cap)
        return malformed(t, "a short text in quotes");
    size_t n = (size_t)(end - t->p) - 1;
    memcpy(ret, t->p + 1, n);
    ret[n] = 0;
    t->p = end + 1;
    return 0;
}

static const struct {
    char descr[3];
    enum mc_dtype dtype;
} types[] = {
    {"b1", MC_DTYPE_BOOL}, {"i1", MC_DTYPE_I8},    {"u1", MC_DTYPE_U8},  {"i2", MC_DTYPE_I16},
    {"u2", MC_DTYPE_U16},  {"i4", MC_DTYPE_I32},   {"u4", MC_DTYPE_U32}, {"i8", MC_DTYPE_I64},
    {"u8", MC_DTYPE_U64},  {"f2", MC_DTYPE_F16},   {"f4", MC_DTYPE_F32}, {"f8", MC_DTYPE_F64},
    {"c8", MC_DTYPE_C64},  {"c16", MC_DTYPE_C128},
};

static int descr(struct text *t)
{
    char d[32];
    spaces(t);
    if (*t->p == '[' || *t->p == '(')
        return mc_fail(t->err, MC_EUNSUP, "%s holds records; save each field as its own array",
                       t->a->what);
    int rc = quoted(t, d, sizeof d);
    if (rc)
        return rc;
    bool ordered = d[0] && strchr("<>=|", d[0]);
    const char *name = d + ordered;
    if (*name == 'O')
        return mc_fail(t->err, MC_EUNSUP,
                       "%s holds Python objects (pickle); save it with a numeric dtype",
                       t->a->what);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strncmp(name, types[i].descr, sizeof types[i].descr) &&
            strlen(name) <= sizeof types[i].descr) {
            t->a->dtype = types[i].dtype;
            t->a->swap = d[0] == '>' && mc_dtype_info(t->a->dtype)->bits > 8;
            return 0;
        }
    return mc_fail(t->err, MC_EUNSUP, "%s has dtype '%s'; save it as a number type such as float32",
                   t->a->what, d);
}

static int fortran_order(struct text *t)
{
    if (eat(t, "True"))
        t->a->fortran = true;
    else if (!eat(t, "False"))
        return malformed(t, "True or False");
    return 0;
}

static int shape(struct text *t)
{
    struct mc_shape *s = &t->a->shape;
    s->rank = 0;
    if (!eat(t, "("))
        return malformed(t, "a shape in brackets");
    while (!eat(t, ")")) {
        spaces(t);
        if (*t->p < '0' || *t->p > '9')
            return malformed(t, "a dimension");
        int64_t dim = 0;
        for (; *t->p >= '0' && *t->p <= '9'; t->p++)
            if (__builtin_mul_overflow(dim, 10, &dim) ||
                __builtin_add_overflow(dim, *t->p - '0', &dim))
                return mc_fail(t->err, MC_EFORMAT, "%s: a dimension of its shape is too large",
                               t->a->what);
        if (*t->p == 'L') /* Python 2 wrote (60000L,) */
            t->p++;
        if (s->rank == MC_RANK_MAX)
            return mc_fail(t->err, MC_EUNSUP, "%s has more than %d axes", t->a->what, MC_RANK_MAX);
        s->dim[s->rank++] = dim;
        if (!eat(t, ",")) {
            if (!eat(t, ")"))
                return malformed(t, "',' or ')'");
            return 0;
        }
    }
    return 0;
}

static int dict(struct text *t)
{
    static const struct {
        const char *key;
        int (*value)(struct text *t);
    } entries[] = {{"descr", descr}, {"fortran_order", fortran_order}, {"shape", shape}};
    enum { N = sizeof entries / sizeof *entries };
    bool seen[N] = {false};
    if (!eat(t, "{"))
        return malformed(t, "'{'");
    while (!eat(t, "}")) {
        char key[20];
        int rc = quoted(t, key, sizeof key);
        if (rc)
            return rc;
        int e = 0;
        while (e < N && strcmp(key, entries[e].key))
            e++;
        if (e == N || seen[e] || !eat(t, ":"))
            return mc_fail(t->err, MC_EFORMAT, "%s: unexpected '%s' in its header", t->a->what,
                           key);
        seen[e] = true;
        rc = entries[e].value(t);
        if (rc)
            return rc;
        if (!eat(t, ",") && *t->p != '}')
            return malformed(t, "',' or '}'");
    }
    spaces(t);
    if (*t->p)
        return malformed(t, "nothing more");
    for (int e = 0; e < N; e++)
        if (!seen[e])
            return mc_fail(t->err, MC_EFORMAT, "%s: its header lacks '%s'", t->a->what,
                           entries[e].key);
    return 0;
}

static int read_text(struct mc_stream *s, struct mc_narray *a, struct mc_err *err)
{
    uint8_t head[12];
    int rc = mc_stream_read(s, head, 10, err);
    if (rc)
        return rc;
    if (!mc_npy_probe(head, 10))
        return mc_fail(err, MC_EFORMAT, "%s is no .npy array: it does not start with \\x93NUMPY",
                       a->what);
    int version = head[6];
    if (version < 1 || version > 3)
        return mc_fail(err, MC_EUNSUP, "%s is .npy version %d; versions 1 to 3 are known", a->what,
                       version);
    size_t n = head[8] | (size_t)head[9] << 8, fixed = 10;
    if (version > 1) {
        rc = mc_stream_read(s, head + 10, 2, err);
        if (rc)
            return rc;
        n |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
        fixed = 12;
    }
    if (n > HEADER_MAX)
        return mc_fail(err, MC_EFORMAT, "%s: a header of %zu bytes is no array header", a->what, n);
    char *text = calloc(1, n + 1);
    if (!text)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    rc = mc_stream_read(s, text, n, err);
    if (!rc && memchr(text, 0, n))
        rc = mc_fail(err, MC_EFORMAT, "%s: its header holds a zero byte", a->what);
    if (!rc) {
        struct text t = {text, a, err};
        rc = dict(&t);
    }
    a->skip = fixed + n;
    free(text);
    return rc;
}

int mc_npy_read(struct mc_narray *a, struct mc_err *err)
{
    struct mc_stream *s;
    int rc = mc_stream_new(&a->src, a->what, &s, err);
    if (rc)
        return rc;
    rc = read_text(s, a, err);
    mc_stream_free(s);
    return rc ? rc : mc_narray_check(a, err);
}
