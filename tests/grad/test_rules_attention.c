#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rule_check.h"

static void attention(void **state)
{
    (void)state;
    grad_check("Attention", 23, "", "bx2xmx4 bx2x3x4 bx2x3x3");
    grad_check("Attention", 23, "scale=0.7f", "bx2xmx4 n:bx2x3x4 bx2x3x3");
    grad_check("Attention", 23, "q_num_heads=2 kv_num_heads=2", "bxmx8 bx3x8 bx3x6");
    grad_check("Attention", 23, "", "bx4xmx3 bx2x3x3 bx2x3x5");
    grad_check("Attention", 23, "q_num_heads=6 kv_num_heads=2", "bxmx12 bx3x4 bx3x6");
    grad_check("Attention", 23, "is_causal=1", "bx2x4x3 bx2x4x3 bx2x4x3");
    grad_check("Attention", 23, "softcap=0.5f", "bx2xmx4 bx2x3x4 bx2x3x3 3");
    grad_check("Attention", 23, "softcap=0.5f is_causal=1", "bx4x4x3 bx2x4x3 n:bx2x4x5");
    grad_check_refused("Attention", 23, "", "2x2x3x4 2x2x3x4 2x2x3x4 - 2x2x1x4 2x2x1x4", "a past");
}

static void attention_masked(void **state)
{
    (void)state;
    grad_check("Attention", 23, "", "bx2x3x4 bx2x5x4 bx2x5x3 3x5");
    grad_check("Attention", 23, "", "bx2x3x4 bx2x5x4 bx2x5x3 1x2x1x5");
    grad_check("Attention", 23, "", "bx2x3x4 bx2x5x4 bx2x5x3 n:bx1x3x5");
    grad_check("Attention", 23, "", "bx4x3x4 bx2x5x4 bx2x5x3 bx4x3x5");
    grad_check("Attention", 23, "", "bx2x3x4 bx2x4x4 bx2x4x3 b[3x4]:1,0,0,1,1,1,0,1,0,0,1,0");
    grad_check("Attention", 24, "", "2x2x3x4 2x2x5x4 2x2x5x3 - - - i:3,5");
}

static void multi_head(void **state)
{
    (void)state;
    const char *op = "com.microsoft:MultiHeadAttention";
    grad_check(op, 1, "num_heads=2", "bxmx8 bx3x8 bx3x6");
    grad_check(op, 1, "num_heads=2 scale=0.4f", "bxmx8 bx3x8 bx3x6 c:22");
    grad_check(op, 1, "num_heads=2", "n:bxmx4 bx3x4 bx3x6 c:14");
    grad_check(op, 1, "num_heads=2", "2x3x4 2x4x4 2x4x6 - l[2x4]:1,1,0,1,0,1,1,1");
    grad_check(op, 1, "num_heads=2", "2x3x4 2x4x4 2x4x6 - l:3,4");
    grad_check(op, 1, "num_heads=2", "2x3x4 2x4x4 2x4x6 - l[2x4]:1,1,0,1,0,1,1,1 1x2x3x4");
    grad_check(op, 1, "num_heads=2 unidirectional=1", "bx4x4 bx4x4 bx4x6 - - bx1x4x4");
}

static void projected(void **state)
{
    (void)state;
    const char *op = "com.microsoft:Attention";
    grad_check(op, 1, "num_heads=2", "bxmx5 c:5x12 c:12");
    grad_check(op, 1, "num_heads=2 qkv_hidden_sizes=4,4,6", "bxmx5 c:5x14 c:14");
    grad_check(op, 1, "num_heads=2 unidirectional=1", "bxmx5 c:5x12");
    grad_check(op, 1, "num_heads=2", "2x3x5 c:5x12 c:12 l:2,3");
}

static void rotary(void **state)
{
    (void)state;
    grad_check("RotaryEmbedding", 23, "", "2x2x3x4 n:5x2 n:5x2 i[2x3]:4,0,2,1,1,3");
    grad_check("RotaryEmbedding", 23, "interleaved=1", "bx2x3x4 n:bx3x2 n:bx3x2");
    grad_check("RotaryEmbedding", 23, "num_heads=2 rotary_embedding_dim=2",
               "bx3x8 n:bx3x1 n:bx3x1");
    grad_check("com.microsoft:RotaryEmbedding", 1, "", "bx2x3x4 i:1, n:5x2 n:5x2");
    grad_check_refused("RotaryEmbedding", 23, "", "n:2x2x3x4 2x3x2 n:2x3x2", "angles");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention),  cmocka_unit_test(attention_masked),
        cmocka_unit_test(multi_head), cmocka_unit_test(projected),
        cmocka_unit_test(rotary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
