#include "passes/quant/form/quant_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct entry {
    struct mc_quant_key key;
    struct mc_tensor *w; /* holds on to key.w, so that no other tensor gets its address */
    struct mc_quant_weight made;
};

struct mc_quant_cache {
    struct entry *item;
    size_t n, cap;
    uint32_t *slots; /* hash -> position + 1 */
    size_t n_slots;
};

bool mc_quant_key_equal(const struct mc_quant_key *a, const struct mc_quant_key *b)
{
    return a->w == b->w && a->type.bits == b->type.bits && a->type.is_signed == b->type.is_signed &&
           a->type.symmetric == b->type.symmetric && a->type.narrow == b->type.narrow &&
           a->cut.axis == b->cut.axis && a->cut.block == b->cut.block && a->method == b->method &&
           a->scale_type == b->scale_type && a->transposed == b->transposed;
}

struct mc_quant_cut mc_quant_cut_turn(const struct mc_quant_cut *cut)
{
    return (struct mc_quant_cut){cut->axis < 0 ? -1 : 1 - cut->axis, cut->block};
}

/* ---- the transpose of a matrix ---- */

/* Element of `bits` bits, low bits first. */
static unsigned get_part(const uint8_t *p, int64_t i, int bits)
{
    int each = 8 / bits;
    return p[i / each] >> (i % each * bits) & ((1u << bits) - 1);
}

static void turn_parts(const uint8_t *src, int64_t rows, int64_t cols, int bits, uint8_t *dst)
{
    int each = 8 / bits;
    for (int64_t j = 0, o = 0; j < cols; j++)
        for (int64_t i = 0; i < rows; i++, o++)
            dst[o / each] |= (uint8_t)(get_part(src, i * cols + j, bits) << (o % each * bits));
}

/* In tiles that stay in the first cache on both sides. */
#define TURN(name, T)                                                                              \
    static void name(const uint8_t *src, int64_t rows, int64_t cols, uint8_t *dst)                 \
    {                                                                                              \
        enum { TILE = 64 };                                                                        \
        for (int64_t i0 = 0; i0 < rows; i0 += TILE)                                                \
            for (int64_t j0 = 0; j0 < cols; j0 += TILE)                                            \
                for (int64_t j = j0; j < j0 + TILE && j < cols; j++)                               \
                    for (int64_t i = i0; i < i0 + TILE && i < rows; i++)                           \
                        memcpy(dst + (j * rows + i) * (int64_t)sizeof(T),                          \
                               src + (i * cols + j) * (int64_t)sizeof(T), sizeof(T));              \
    }
TURN(turn_8, uint8_t)
TURN(turn_16, uint16_t)
TURN(turn_32, uint32_t)

static int turn(const struct mc_tensor *t, struct mc_spill *spill, bool blank,
                struct mc_tensor **ret, struct mc_err *err)
{
    if (!t || t->shape.rank != 2) { /* scales of channels have no second axis */
        *ret = t ? mc_tensor_ref(t) : NULL;
        return 0;
    }
    int64_t rows = t->shape.dim[0], cols = t->shape.dim[1];
    struct mc_shape shape = mc_shape_of(2, (int64_t[]){cols, rows});
    int bits = mc_dtype_info(t->dtype)->bits;
    void *dst;
    if (blank)
        return mc_tensor_blank(t->dtype, &shape, ret, err);
    int rc = mc_tensor_new(t->dtype, &shape, spill, ret, &dst, err);
    if (rc)
        return rc;
    if (bits < 8)
        turn_parts(t->data, rows, cols, bits, dst);
    else
        (bits == 8 ? turn_8 : bits == 16 ? turn_16 : turn_32)(t->data, rows, cols, dst);
    return 0;
}

static int turn_all(const struct mc_quant_weight *of, struct mc_spill *spill, bool blank,
                    struct mc_quant_weight *ret, struct mc_err *err)
{
    struct mc_quant_weight w = {.error = of->error, .error_square = of->error_square};
    int rc = turn(of->q, spill, blank, &w.q, err);
    if (!rc)
        rc = turn(of->scale, spill, blank, &w.scale, err);
    if (!rc)
        rc = turn(of->zero, spill, blank, &w.zero, err);
    if (rc)
        mc_quant_weight_free(&w);
    else
        *ret = w;
    return rc;
}

/* ---- sizes alone ---- */

static enum mc_dtype stored(const struct mc_quant_type *t)
{
    return t->bits > 4   ? (t->is_signed ? MC_DTYPE_I8 : MC_DTYPE_U8)
           : t->bits > 2 ? (t->is_signed ? MC_DTYPE_I4 : MC_DTYPE_U4)
                         : (t->is_signed ? MC_DTYPE_I2 : MC_DTYPE_U2);
}

static struct mc_shape scale_shape(const struct mc_tensor *w, const struct mc_quant_cut *cut)
{
    struct mc_shape s = w->shape;
    if (cut->axis < 0)
        return mc_shape_of(0, NULL);
    if (!cut->block)
        return mc_shape_of(1, &s.dim[cut->axis]);
    s.dim[cut->axis] = (s.dim[cut->axis] + cut->block - 1) / cut->block;
    return s;
}

static int blanks(const struct mc_quant_key *k, struct mc_quant_weight *ret, struct mc_err *err)
{
    struct mc_quant_weight w = {0};
    struct mc_shape scale = scale_shape(k->w, &k->cut);
    enum mc_dtype dtype = stored(&k->type);
    int rc = mc_tensor_blank(dtype, &k->w->shape, &w.q, err);
    if (!rc)
        rc = mc_tensor_blank(k->scale_type, &scale, &w.scale, err);
    if (!rc && !(k->type.is_signed && k->type.symmetric))
        rc = mc_tensor_blank(dtype, &scale, &w.zero, err);
    if (rc)
        mc_quant_weight_free(&w);
    else
        *ret = w;
    return rc;
}

/* ---- the table ---- */

static struct mc_quant_weight shared(const struct mc_quant_weight *w)
{
    struct mc_quant_weight ret = *w;
    mc_tensor_ref(w->q);
    mc_tensor_ref(w->scale);
    if (w->zero)
        mc_tensor_ref(w->zero);
    return ret;
}

static size_t slot_of(const struct mc_quant_cache *c, const struct mc_quant_key *key)
{
    /* Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, section 6.4). */
    size_t h = ((uint64_t)(uintptr_t)key->w * 0x9E3779B97F4A7C15u) >> 32;
    for (;; h++) {
        uint32_t at = c->slots[h & (c->n_slots - 1)];
        if (!at || mc_quant_key_equal(&c->item[at - 1].key, key))
            return h & (c->n_slots - 1);
    }
}

static bool make_room(struct mc_quant_cache *c)
{
    if (!MC_GROW(c->item, c->n, c->cap))
        return false;
    if (2 * (c->n + 1) <= c->n_slots)
        return true;
    size_t n = c->n_slots ? 2 * c->n_slots : 64;
    uint32_t *slots = mc_calloc(n, sizeof *slots);
    if (!slots)
        return false;
    free(c->slots);
    c->slots = slots;
    c->n_slots = n;
    for (size_t i = 0; i < c->n; i++)
        slots[slot_of(c, &c->item[i].key)] = (uint32_t)(i + 1);
    return true;
}

static int make(const struct mc_quant_key *key, const char *name, struct mc_pass_ctx *ctx,
                struct mc_spill *spill, bool blank, struct mc_quant_weight *ret, struct mc_err *err)
{
    if (key->transposed) {
        struct mc_quant_key plain = *key;
        struct mc_quant_weight w;
        plain.transposed = false;
        int rc = blank ? blanks(&plain, &w, err)
                       : mc_quant_cache_get(NULL, &plain, name, ctx, spill, false, &w, err);
        if (rc)
            return rc;
        rc = turn_all(&w, spill, blank, ret, err);
        mc_quant_weight_free(&w);
        return rc;
    }
    if (blank)
        return blanks(key, ret, err);
    return mc_quant_weight_make(key->w, name, &key->type, &key->cut, key->method, key->scale_type,
                                ctx->pool, spill, ret, err);
}

int mc_quant_cache_get(struct mc_quant_cache *c, const struct mc_quant_key *key, const char *name,
                       struct mc_pass_ctx *ctx, struct mc_spill *spill, bool blank,
                       struct mc_quant_weight *ret, struct mc_err *err)
{
    uint32_t at = c && c->n_slots ? c->slots[slot_of(c, key)] : 0;
    if (at) {
        *ret = shared(&c->item[at - 1].made);
        return 0;
    }
    struct mc_quant_weight w;
    int rc = make(key, name, ctx, spill, blank, &w, err);
    if (rc)
        return rc;
    if (c && !blank) {
        if (!make_room(c)) {
            mc_quant_weight_free(&w);
            return mc_fail(err, MC_ENOMEM, "out of memory");
        }
        c->item[c->n] = (struct entry){*key, mc_tensor_ref(key->w), shared(&w)};
        c->slots[slot_of(c, key)] = (uint32_t)++c->n;
    }
    *ret = w;
    return 0;
}

int mc_quant_cache_new(struct mc_quant_cache **ret, struct mc_err *err)
{
    *ret = mc_calloc(1, sizeof **ret);
    return *ret ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
}

void mc_quant_cache_free(struct mc_quant_cache *c)
{
    for (size_t i = 0; c && i < c->n; i++) {
        mc_tensor_unref(c->item[i].w);
        mc_quant_weight_free(&c->item[i].made);
    }
    if (c) {
        free(c->item);
        free(c->slots);
    }
    free(c);
}
