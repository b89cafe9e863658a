/* Gradients of matrix products. Nothing is transposed in memory: the products of the backward pass read their
 * operands transposed. */
#include "graph/grad/rule.h"

/* Y = alpha A' B' + beta C. */
static void gemm_rule(struct mc_grad *g, struct mc_node *n)
{
    struct mc_value *dy = mc_grad_of(g, n, 0), *a = n->in[0], *b = n->in[1];
    bool ta = mc_node_int(n, "transA", 0) != 0, tb = mc_node_int(n, "transB", 0) != 0;
    double alpha = (double)mc_node_float(n, "alpha", 1), beta = (double)mc_node_float(n, "beta", 1);
    if (mc_grad_wants(g, n, 2) && beta != 0) {
        struct mc_value *dc = mc_grad_sum_to(g, dy, n->out[0], n->in[2]);
        if (beta != 1) {
            struct mc_value *factor = mc_grad_scalar(g, n->in[2], beta);
            dc = mc_emit(g, "Mul", dc, factor);
        }
        mc_grad_give(g, n, 2, dc);
    }
    if (mc_grad_wants(g, n, 1))
        mc_grad_give(g, n, 1,
                     tb ? mc_grad_product(g, dy, true, a, ta, alpha)
                        : mc_grad_product(g, a, !ta, dy, false, alpha));
    if (mc_grad_wants(g, n, 0))
        mc_grad_give(g, n, 0,
                     ta ? mc_grad_product(g, b, tb, dy, true, alpha)
                        : mc_grad_product(g, dy, false, b, !tb, alpha));
}

/* An operand or the result as matrices, where it has fewer than two dimensions. */
static struct mc_value *as_matrix(struct mc_grad *g, struct mc_value *v, int64_t first,
                                  int64_t second)
{
    int64_t axes[2];
    size_t n = 0;
    if (first)
        axes[n++] = first;
    if (second)
        axes[n++] = second;
    if (!n)
        return v;
    struct mc_value *at = mc_grad_ints(g, axes, n);
    return mc_emit(g, "Unsqueeze", v, at);
}

/* Whether the matrices of x are as many as those of the result, dimension by dimension. */
static bool same_batch(const struct mc_grad *g, const struct mc_value *x, const struct mc_value *y)
{
    const struct mc_vtype *tx = mc_grad_type(g, x), *ty = mc_grad_type(g, y);
    if (!ty->ranked || tx->shape.rank < 2 || tx->shape.rank != ty->shape.rank)
        return false;
    for (int i = 0; i < tx->shape.rank - 2; i++)
        if (tx->shape.dim[i] != ty->shape.dim[i] || tx->shape.dim[i] == MC_DIM_ANY)
            return false;
    return true;
}

/* d, of the shape of x with the batch of the result y, as the gradient of input i, which was x. */
static void give_summed(struct mc_grad *g, struct mc_node *n, int i, struct mc_value *x,
                        struct mc_value *d)
{
    if (!same_batch(g, n->in[i], n->out[0]))
        d = mc_grad_sum_to(g, d, d, x);
    mc_grad_give(g, n, i, x == n->in[i] ? d : mc_grad_reshape_as(g, d, n->in[i]));
}

/* Rows of all matrices as one matrix. */
static struct mc_value *rows(struct mc_grad *g, struct mc_value *v, int rank)
{
    if (rank == 2)
        return v;
    struct mc_value *y = mc_emit(g, "Flatten", v);
    mc_emit_int(g, "axis", rank - 1);
    return y;
}

static void matmul(struct mc_grad *g, struct mc_node *n, bool ta, bool tb, double alpha)
{
    int ra = mc_grad_rank(g, n->in[0]), rb = mc_grad_rank(g, n->in[1]);
    if (ra < 0 || rb < 0) {
        mc_grad_refuse(g, n, "the ranks of its operands are not known");
        return;
    }
    ta &= ra > 1;
    tb &= rb > 1;
    struct mc_value *a = as_matrix(g, n->in[0], ra == 1 ? -2 : 0, 0);
    struct mc_value *b = as_matrix(g, n->in[1], rb == 1 ? -1 : 0, 0);
    struct mc_value *dy = as_matrix(g, mc_grad_of(g, n, 0), ra == 1 ? -2 : 0, rb == 1 ? -1 : 0);
    bool one = rb == 2 && ra > 2 && !ta; /* one matrix for all: its gradient is one product */
    if (mc_grad_wants(g, n, 1)) {
        struct mc_value *x = one ? rows(g, a, ra) : a, *d = one ? rows(g, dy, ra) : dy;
        d = tb ? mc_grad_product(g, d, true, x, ta, alpha)
               : mc_grad_product(g, x, !ta, d, false, alpha);
        if (one)
            mc_grad_give(g, n, 1, d);
        else
            give_summed(g, n, 1, b, d);
    }
    if (mc_grad_wants(g, n, 0))
        give_summed(g, n, 0, a,
                    ta ? mc_grad_product(g, b, tb, dy, true, alpha)
                       : mc_grad_product(g, dy, false, b, !tb, alpha));
}

static void matmul_rule(struct mc_grad *g, struct mc_node *n)
{
    matmul(g, n, false, false, 1);
}

static void fused_matmul_rule(struct mc_grad *g, struct mc_node *n)
{
    matmul(g, n, mc_node_int(n, "transA", 0) != 0, mc_node_int(n, "transB", 0) != 0,
           (double)mc_node_float(n, "alpha", 1));
}

const struct mc_rule mc_rules_product[] = {
    {"", "Gemm", 1, gemm_rule},
    {"", "MatMul", 1, matmul_rule},
    {"com.microsoft", "FusedMatMul", 1, fused_matmul_rule},
    {MC_GRAD_DOMAIN, "MatMul", 1, fused_matmul_rule},
    {0},
};
