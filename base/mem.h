/* Memory: checked sizes, aligned blocks, arenas. Nothing here aborts; NULL means out of memory. */
#ifndef MC_BASE_MEM_H
#define MC_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* *ret = a * b (or a + b); false, with *ret untouched, if that overflows. Every size that comes from a
 * file or an option goes through these. */
static inline bool mc_size_mul(size_t a, size_t b, size_t *ret)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *ret = r;
    return true;
}
static inline bool mc_size_add(size_t a, size_t b, size_t *ret)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *ret = r;
    return true;
}

enum { MC_ALIGN = 64 }; /* one cache line, one AVX-512 register */

/* calloc/realloc-like for n items of `size` bytes; NULL on overflow or exhaustion. Freed with free(). */
void *mc_calloc(size_t n, size_t size);
void *mc_realloc(void *p, size_t n, size_t size);

/* Block aligned to MC_ALIGN, content undefined; freed with free(). A request of 0 gets a valid block. */
void *mc_alloc_aligned(size_t bytes);

/* Make room for one more item in a growing array: call before a[n] = x. Grows by half.
 * Returns false, with everything untouched, when out of memory.   MC_GROW(v->a, v->n, v->cap) */
bool mc_grow(void **array, size_t n, size_t *cap, size_t size);
#define MC_GROW(a, n, cap) mc_grow((void **)&(a), (n), &(cap), sizeof *(a))

/* Arena: many small objects freed together. Blocks are 16-byte aligned and zeroed. */
struct mc_arena {
    struct mc_arena_chunk *chunks;
    size_t used; /* bytes handed out */
};
void *mc_arena_alloc(struct mc_arena *a, size_t bytes);
void *mc_arena_array(struct mc_arena *a, size_t n, size_t size); /* checked n * size */
char *mc_arena_strdup(struct mc_arena *a, const char *s);        /* NULL stays NULL */
char *mc_arena_strndup(struct mc_arena *a, const char *s, size_t n);
void *mc_arena_memdup(struct mc_arena *a, const void *p, size_t n);
void mc_arena_free(struct mc_arena *a); /* also makes it ready for reuse */

#endif
