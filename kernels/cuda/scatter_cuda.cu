/* What indices name. Sums and puts go to each element from a list of what comes to it, in the order of the source: no
 * two threads write one place, and the sums are those of the CPU, bit for bit. The lists are the indices, sorted. */
#include "kernels/body_put.h"
#include "kernels/cuda/sort_cuda.h"
#include "kernels/cuda/walk.h"

/* ---- places ---- */

struct places {
    struct mc_cuda_walk<1> walk;
    int depth;
    int64_t size[MC_PLACES_RANK], step[MC_PLACES_RANK];
    bool narrow;
    const void *index;
    int64_t *place;
    int *fault;
};

static __global__ void find(struct places p)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < p.walk.n; i += MC_CUDA_STRIDE) {
        int64_t place;
        bool fits = true;
        mc_cuda_walk_at(p.walk, 1, i, &place);
        for (int j = 0; j < p.depth; j++) {
            int64_t k = i * p.depth + j;
            int64_t v = p.narrow ? ((const int32_t *)p.index)[k] : ((const int64_t *)p.index)[k];
            v += v < 0 ? p.size[j] : 0;
            fits = fits && v >= 0 && v < p.size[j];
            place += v * p.step[j];
        }
        if (!fits)
            mc_cuda_report(p.fault, MC_CUDA_INDEX);
        p.place[i] = fits ? place : -1;
    }
}

static int64_t run_find(const struct mc_places *p)
{
    struct places q;
    mc_cuda_walk_make(&q.walk, p->rank, p->dim, 1, &p->stride, 1);
    q.depth = p->depth;
    memcpy(q.size, p->size, sizeof q.size);
    memcpy(q.step, p->step, sizeof q.step);
    q.narrow = p->index_bytes == 4;
    q.index = p->index;
    q.place = p->place;
    q.fault = mc_cuda_now()->fault;
    if (q.walk.n > 0)
        MC_LAUNCH(find, mc_cuda_blocks(q.walk.n), MC_CUDA_THREADS, q);
    return -1;
}

/* ---- lists ---- */

/* Target in the high half, number of the source in the low one; places out of range, and the rest of the room, come
 * last. */
static __global__ void make_keys(int64_t n, int64_t room, const int64_t *index, uint64_t *key)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < room; i += MC_CUDA_STRIDE)
        key[i] = i < n && index[i] >= 0 ? (uint64_t)index[i] << 32 | (uint64_t)i : UINT64_MAX;
}

static void sort_indices(int64_t n, int64_t room, const int64_t *index, uint64_t *key)
{
    MC_LAUNCH(make_keys, mc_cuda_blocks(room), MC_CUDA_THREADS, n, room, index, key);
    mc_cuda_sort(key, 1, room);
}

/* start[t] = number of the first key of target t or later; [targets + 1] */
static __global__ void find_starts(int64_t targets, int64_t room, const uint64_t *key,
                                   uint32_t *start)
{
    for (int64_t t = MC_CUDA_INDEX_OF; t <= targets; t += MC_CUDA_STRIDE) {
        int64_t low = 0, high = room;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (key[middle] < (uint64_t)t << 32)
                low = middle + 1;
            else
                high = middle;
        }
        start[t] = (uint32_t)low;
    }
}

/* ---- puts ---- */

/* One thread for each element of a row; the first of the keys of a target does all of them. */
template <typename T, bool TRUTH>
static __global__ void put(enum mc_put_fn fn, int64_t n, int64_t inner, const uint64_t *key,
                           const T *src, T *dst)
{
    for (int64_t e = MC_CUDA_INDEX_OF; e < n * inner; e += MC_CUDA_STRIDE) {
        int64_t i = e / inner, j = e - i * inner;
        uint64_t target = key[i] >> 32;
        if (key[i] == UINT64_MAX || (i > 0 && key[i - 1] >> 32 == target))
            continue;
        T *to = dst + (int64_t)target * inner + j;
        T v = *to;
        for (; i < n && key[i] >> 32 == target && key[i] != UINT64_MAX; i++) {
            T x = src[(int64_t)(uint32_t)key[i] * inner + j];
            v = fn == MC_PUT_REPLACE ? x
                : TRUTH              ? (T)mc_put_truth(fn, (uint8_t)v, (uint8_t)x)
                                     : mc_put_of(fn, v, x);
        }
        *to = v;
    }
}

template <typename T, bool TRUTH>
static void put_as(const struct mc_put *p, int64_t inner, const uint64_t *key)
{
    if (inner > 0)
        MC_LAUNCH((put<T, TRUTH>), mc_cuda_blocks(p->n * inner), MC_CUDA_THREADS, p->fn, p->n,
                  inner, key, (const T *)p->src, (T *)p->dst);
}

static void run_put(const struct mc_put *p)
{
    int64_t room = mc_cuda_sort_room(p->n);
    if (p->n <= 0)
        return;
    uint64_t *key = (uint64_t *)mc_cuda_workspace((size_t)room * sizeof *key);
    if (!key)
        return;
    sort_indices(p->n, room, p->place, key);
    if (p->fn == MC_PUT_REPLACE) {
        switch (p->elem_bytes) {
        case 1: put_as<uint8_t, false>(p, p->inner, key); break;
        case 2: put_as<uint16_t, false>(p, p->inner, key); break;
        case 4: put_as<uint32_t, false>(p, p->inner, key); break;
        default: put_as<uint64_t, false>(p, p->inner * p->elem_bytes / 8, key);
        }
        return;
    }
    if (p->truth) {
        put_as<uint8_t, true>(p, p->inner, key);
        return;
    }
    switch (p->type) {
#define CASE(type, name, least, most)                                                              \
    case MC_ELEM_##name: put_as<type, false>(p, p->inner, key); break;
        INTEGERS(CASE)
        CASE(float, F32, 0, 0)
        CASE(double, F64, 0, 0)
#undef CASE
    default: break;
    }
}

/* ---- sums ---- */

struct list { /* of a dimension: sources of each target; key NULL: itself */
    const uint64_t *key;
    const uint32_t *start;
    int64_t step; /* in src */
};

struct sum_args {
    struct mc_cuda_walk<1> to;
    int rank;
    struct list list[MC_MOVE_RANK];
    const float *src;
    float *dst;
};

/* All sources of one target, the last dimension fastest: the order of src. R: at least the rank. */
template <int R> static __global__ void sum(struct sum_args a)
{
    for (int64_t i = MC_CUDA_INDEX_OF; i < a.to.n; i += MC_CUDA_STRIDE) {
        uint32_t low[R], high[R], at[R];
        int64_t rest = i;
        bool any = true;
        for (int d = R - 1; d >= 0; d--) {
            low[d] = 0;
            high[d] = 1;
            if (d < a.rank) {
                int64_t q = d == 0      ? 0
                            : a.to.wide ? rest / a.to.dim[d]
                                        : mc_cuda_quotient(&a.to.div[d], (uint32_t)rest);
                int64_t c = rest - q * a.to.dim[d];
                rest = q;
                low[d] = a.list[d].key ? a.list[d].start[c] : (uint32_t)c;
                high[d] = a.list[d].key ? a.list[d].start[c + 1] : (uint32_t)c + 1;
            }
            at[d] = low[d];
            any = any && low[d] < high[d];
        }
        float total = 0;
        while (any) {
            int64_t from = 0;
            for (int d = 0; d < R; d++)
                if (d < a.rank)
                    from += a.list[d].step *
                            (a.list[d].key ? (int64_t)(uint32_t)a.list[d].key[at[d]] : at[d]);
            total += a.src[from];
            any = false;
            for (int d = R - 1; d >= 0 && !any; d--) {
                any = ++at[d] < high[d];
                if (!any)
                    at[d] = low[d];
            }
        }
        a.dst[i] = total;
    }
}

/* Of the middle one of three dimensions: the usual case, rows picked from a table. */
static __global__ void sum_rows(struct sum_args a)
{
    const struct list middle = a.list[1];
    for (int64_t i = MC_CUDA_INDEX_OF; i < a.to.n; i += MC_CUDA_STRIDE) {
        int64_t row = a.to.wide ? i / a.to.dim[2] : mc_cuda_quotient(&a.to.div[2], (uint32_t)i);
        int64_t outer =
            a.to.wide ? row / a.to.dim[1] : mc_cuda_quotient(&a.to.div[1], (uint32_t)row);
        int64_t c = row - outer * a.to.dim[1];
        const float *src = a.src + outer * a.list[0].step + (i - row * a.to.dim[2]);
        uint32_t end = middle.start[c + 1];
        float total = 0;
#pragma unroll 4
        for (uint32_t k = middle.start[c]; k < end; k++)
            total += src[(int64_t)(uint32_t)middle.key[k] * middle.step];
        a.dst[i] = total;
    }
}

/* Neighbours that nothing is picked along are one dimension. */
static int merge(const struct mc_scatter_sum *s, struct mc_scatter_sum *ret)
{
    int to = 0;
    memset(ret, 0, sizeof *ret);
    for (int d = 0; d < s->rank; d++) {
        if (to > 0 && !s->index[d] && !ret->index[to - 1]) {
            ret->from[to - 1] *= s->from[d];
            ret->to[to - 1] *= s->to[d];
            continue;
        }
        ret->from[to] = s->from[d];
        ret->to[to] = s->to[d];
        ret->index[to++] = s->index[d];
    }
    return to;
}

/* As [outer, picked, inner], where one dimension is picked along; false: it is otherwise. */
static bool as_rows(struct mc_scatter_sum *s)
{
    int picked = -1;
    for (int d = 0; d < s->rank; d++) {
        if (s->index[d] && picked >= 0)
            return false;
        picked = s->index[d] ? d : picked;
    }
    if (picked < 0)
        return false;
    struct mc_scatter_sum r;
    memset(&r, 0, sizeof r);
    r.rank = 3;
    for (int d = 0; d < 3; d++)
        r.from[d] = r.to[d] = 1;
    for (int d = 0; d < s->rank; d++) {
        int at = d < picked ? 0 : d == picked ? 1 : 2;
        r.from[at] *= s->from[d];
        r.to[at] *= s->to[d];
    }
    r.index[1] = s->index[picked];
    r.src = s->src;
    r.dst = s->dst;
    *s = r;
    return true;
}

static void run_sum(const struct mc_scatter_sum *given, struct mc_pool *)
{
    struct mc_scatter_sum s;
    struct sum_args a;
    int64_t room[MC_MOVE_RANK] = {0}, step = 1, zero[1][MC_MOVE_RANK] = {{0}};
    size_t bytes = 0;
    s.rank = merge(given, &s);
    s.src = given->src;
    s.dst = given->dst;
    bool rows = as_rows(&s);
    memset(&a, 0, sizeof a);
    a.rank = s.rank;
    a.src = (const float *)s.src;
    a.dst = (float *)s.dst;
    mc_cuda_walk_make(&a.to, s.rank, s.to, 1, zero, 1);
    if (a.to.n == 0)
        return;
    for (int d = s.rank - 1; d >= 0; d--) {
        a.list[d].step = step;
        step *= s.from[d];
        if (s.index[d]) {
            room[d] = mc_cuda_sort_room(s.from[d]);
            bytes += (size_t)room[d] * sizeof(uint64_t) + (size_t)(s.to[d] + 2) / 2 * 8;
        }
    }
    char *memory = (char *)mc_cuda_workspace(bytes ? bytes : 1);
    if (!memory)
        return;
    for (int d = 0; d < s.rank; d++) {
        if (!s.index[d])
            continue;
        uint64_t *key = (uint64_t *)memory;
        uint32_t *start = (uint32_t *)(key + room[d]);
        memory = (char *)start + (size_t)(s.to[d] + 2) / 2 * 8;
        sort_indices(s.from[d], room[d], s.index[d], key);
        MC_LAUNCH(find_starts, mc_cuda_blocks(s.to[d] + 1), MC_CUDA_THREADS, s.to[d], room[d], key,
                  start);
        a.list[d].key = key;
        a.list[d].start = start;
    }
    unsigned blocks = mc_cuda_blocks(a.to.n);
    if (rows)
        MC_LAUNCH(sum_rows, blocks, MC_CUDA_THREADS, a);
    else if (s.rank <= 4)
        MC_LAUNCH(sum<4>, blocks, MC_CUDA_THREADS, a);
    else
        MC_LAUNCH(sum<MC_MOVE_RANK>, blocks, MC_CUDA_THREADS, a);
}

void mc_scatter_fill_cuda(struct mc_kernels *k)
{
    k->places.find = run_find;
    k->places.put = run_put;
    k->scatter.sum = run_sum;
}
