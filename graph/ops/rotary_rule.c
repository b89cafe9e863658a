/* Gradient of RotaryEmbedding: turned back by the same angles. */
#include "graph/grad/rule.h"

static void rotary_rule(struct mc_grad *g, struct mc_node *n)
{
    int cosine = n->domain[0] ? 2 : 1, sine = cosine + 1, position = n->domain[0] ? 1 : 3;
    if (mc_grad_wants(g, n, cosine) || mc_grad_wants(g, n, sine)) {
        mc_grad_refuse(g, n, "its angles have no gradient yet");
        return;
    }
    struct mc_value *in[4] = {mc_grad_of(g, n, 0)};
    in[cosine] = n->in[cosine];
    in[sine] = mc_emit(g, "Neg", n->in[sine]);
    in[position] = (size_t)position < n->n_in ? n->in[position] : NULL;
    struct mc_value *d = mc_grad_emit(g, n->domain, "RotaryEmbedding", in, 4);
    static const char *const attrs[] = {"interleaved", "num_heads", "rotary_embedding_dim",
                                        "is_packed_batching", "scale"};
    for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++)
        mc_emit_copy(g, n, attrs[i]);
    if (!n->domain[0])
        mc_emit_version(g, n->version);
    mc_grad_give(g, n, 0, d);
}

const struct mc_rule mc_rules_rotary[] = {
    {"", "RotaryEmbedding", 23, rotary_rule},
    {"com.microsoft", "RotaryEmbedding", 1, rotary_rule},
    {0},
};
