#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void *mc_calloc(size_t n, size_t size)
{
    return calloc(n ? n : 1, size ? size : 1);
}

void *mc_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (!mc_size_mul(n, size, &bytes))
        return NULL;
    return realloc(p, bytes ? bytes : 1);
}

void *mc_alloc_aligned(size_t bytes)
{
    if (bytes > SIZE_MAX - MC_ALIGN)
        return NULL;
    size_t rounded = (bytes + MC_ALIGN - 1) & ~(size_t)(MC_ALIGN - 1);
    return aligned_alloc(MC_ALIGN, rounded ? rounded : MC_ALIGN);
}

bool mc_grow(void **array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    size_t want = *cap < 8 ? 8 : *cap + *cap / 2;
    void *p = mc_realloc(*array, want, size);
    if (!p)
        return false;
    *array = p;
    *cap = want;
    return true;
}

struct mc_arena_chunk {
    struct mc_arena_chunk *next;
    size_t used, size;
    _Alignas(16) unsigned char bytes[];
};

enum { CHUNK = 64 << 10 };

void *mc_arena_alloc(struct mc_arena *a, size_t bytes)
{
    if (bytes > SIZE_MAX - CHUNK)
        return NULL;
    size_t need = (bytes + 15) & ~(size_t)15;
    struct mc_arena_chunk *c = a->chunks;
    if (!c || c->size - c->used < need) {
        size_t size = need > CHUNK / 4 ? need : CHUNK;
        struct mc_arena_chunk *fresh = calloc(1, sizeof *fresh + size);
        if (!fresh)
            return NULL;
        fresh->size = size;
        /* A large block of its own goes behind the current chunk, whose rest stays in use. */
        if (c && size == need) {
            fresh->next = c->next;
            c->next = fresh;
        } else {
            fresh->next = c;
            a->chunks = fresh;
        }
        c = fresh;
    }
    void *p = c->bytes + c->used;
    c->used += need;
    a->used += need;
    return p;
}

void *mc_arena_array(struct mc_arena *a, size_t n, size_t size)
{
    size_t bytes;
    return mc_size_mul(n, size, &bytes) ? mc_arena_alloc(a, bytes) : NULL;
}

void *mc_arena_memdup(struct mc_arena *a, const void *p, size_t n)
{
    void *q = mc_arena_alloc(a, n);
    if (q && n)
        memcpy(q, p, n);
    return q;
}

char *mc_arena_strndup(struct mc_arena *a, const char *s, size_t n)
{
    if (n == SIZE_MAX)
        return NULL;
    char *q = mc_arena_alloc(a, n + 1);
    if (q && n)
        memcpy(q, s, n);
    return q;
}

char *mc_arena_strdup(struct mc_arena *a, const char *s)
{
    return s ? mc_arena_strndup(a, s, strlen(s)) : NULL;
}

void mc_arena_free(struct mc_arena *a)
{
    struct mc_arena_chunk *c = a->chunks;
    while (c) {
        struct mc_arena_chunk *next = c->next;
        free(c);
        c = next;
    }
    *a = (struct mc_arena){0};
}
