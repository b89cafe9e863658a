/* A chain of elementwise functions: one read of every input, one write. The list of operations is a kernel argument;
 * the last result stays in registers, what is read later than that in shared memory, a place for each thread. */
#include "kernels/body_elementwise.h"
#include "kernels/cuda/walk.h"

enum { THREADS = 128 };

struct operation { /* operands: place of shared memory, or -1: the result before */
    signed char x, y, keep;
    unsigned char fn;
    bool binary;
    float a, b;
};

struct chain_args {
    struct mc_cuda_walk<MC_CHAIN_INPUTS> walk;
    int n_in, n_ops;
    const float *in[MC_CHAIN_INPUTS];
    struct operation op[MC_CHAIN_OPS];
    float *z;
};

template <int G> struct group {
    float v[G];
};
template <> struct alignas(16) group<4> {
    float v[4];
};

template <int G> static __global__ void chain(const struct chain_args c)
{
    MC_SHARED(struct group<G>, place);
    place += threadIdx.x;
    for (int64_t i = MC_CUDA_INDEX_OF; i < c.walk.n; i += MC_CUDA_STRIDE) {
        int64_t at[MC_CHAIN_INPUTS];
        struct group<G> last, x, y;
        mc_cuda_walk_at(c.walk, c.n_in, i, at);
        for (int j = 0; j < c.n_in; j++) {
            mc_cuda_load<G>(c.in[j] + at[j], c.walk.step[j], last.v);
            place[j * THREADS] = last;
        }
        for (int k = 0; k < c.n_ops; k++) {
            const struct operation op = c.op[k];
            x = op.x < 0 ? last : place[op.x * THREADS];
            y = op.y < 0 ? last : place[op.y * THREADS];
            for (int j = 0; j < G; j++)
                last.v[j] = op.binary ? mc_binary_of((enum mc_binary_fn)op.fn, x.v[j], y.v[j])
                                      : mc_unary_of((enum mc_unary_fn)op.fn, op.a, op.b, x.v[j]);
            if (op.keep >= 0)
                place[op.keep * THREADS] = last;
        }
        mc_cuda_store<G>(c.z + i * G, last.v);
    }
}

/* Places of operands; returns how many there are. */
static int assign(const struct mc_chain *c, struct chain_args *a)
{
    int places = c->n_in, of[MC_CHAIN_INPUTS + MC_CHAIN_OPS];
    for (int i = 0; i < MC_CHAIN_INPUTS; i++)
        of[i] = i;
    for (int k = 0; k < c->n_ops; k++) {
        const struct mc_chain_op *op = &c->op[k];
        int before = MC_CHAIN_INPUTS + k - 1;
        bool later = false; /* than by the next one */
        for (int l = k + 2; l < c->n_ops; l++)
            later =
                later || c->op[l].x == before + 1 || (c->op[l].binary && c->op[l].y == before + 1);
        of[before + 1] = later ? places++ : -1;
        struct operation *to = &a->op[k];
        to->binary = op->binary;
        to->fn = (unsigned char)op->fn;
        to->a = (float)op->a;
        to->b = (float)op->b;
        to->x = (signed char)(k > 0 && op->x == before ? -1 : of[op->x]);
        to->y = (signed char)(!op->binary || (k > 0 && op->y == before) ? -1 : of[op->y]);
        to->keep = (signed char)of[before + 1];
    }
    return places;
}

static void run_chain(const struct mc_chain *c, struct mc_pool *)
{
    struct chain_args a;
    memset(&a, 0, sizeof a);
    bool fours =
        mc_cuda_fours(c->rank, c->dim, c->n_in, c->stride, c->in) && mc_cuda_aligned(c->z, 16);
    mc_cuda_walk_make(&a.walk, c->rank, c->dim, c->n_in, c->stride, fours ? 4 : 1);
    a.n_in = c->n_in;
    a.n_ops = c->n_ops;
    for (int i = 0; i < c->n_in; i++)
        a.in[i] = (const float *)c->in[i];
    a.z = (float *)c->z;
    size_t place = (size_t)assign(c, &a) * THREADS;
    int64_t blocks = (a.walk.n + THREADS - 1) / THREADS;
    if (blocks <= 0)
        return;
    if (blocks > MC_CUDA_BLOCKS_MOST)
        blocks = MC_CUDA_BLOCKS_MOST;
    if (fours)
        MC_LAUNCH_SYNC(chain<4>, (unsigned)blocks, THREADS, place * sizeof(group<4>), a);
    else
        MC_LAUNCH_SYNC(chain<1>, (unsigned)blocks, THREADS, place * sizeof(group<1>), a);
}

void mc_chain_fill_cuda(struct mc_kernels *k)
{
    k->elementwise.chain = run_chain;
}
