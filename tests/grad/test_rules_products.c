#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "rule_check.h"

static void gemm(void **state)
{
    (void)state;
    static const char *const operands[] = {"mxk kxn", "kxm kxn", "mxk nxk", "kxm nxk"};
    static const char *const added[] = {"", " n", " mxn", " 1xn", " mx1", " s"};
    for (int i = 0; i < 24; i++) {
        char attrs[64], inputs[64];
        snprintf(attrs, sizeof attrs, "transA=%d transB=%d alpha=0.5f beta=%s", i & 1, i >> 1 & 1,
                 i < 12 ? "1f" : "1.5f");
        snprintf(inputs, sizeof inputs, "%s%s", operands[i & 3], added[i / 4]);
        grad_check("Gemm", 13, attrs, inputs);
    }
    grad_check("Gemm", 13, "transB=1", "n:bx20 c:30x20 c:30");
    grad_check("Gemm", 13, "", "c:mxk n:kxn");
}

static void matmul(void **state)
{
    (void)state;
    static const char *const inputs[] = {"mxk kxn",       "bxmxk kxn",
                                         "bxcxmxk kxn",   "mxk bxkxn",
                                         "bxmxk bxkxn",   "bx1xmxk cxkxn",
                                         "1xmxk bxkxn",   "bxmxk 1xkxn",
                                         "cxmxk bxcxkxn", "bxcxmxk bxcxkxn",
                                         "k kxn",         "mxk k",
                                         "k k",           "k bxkxn",
                                         "bxmxk k",       "k 1xkxn",
                                         "1xmxk k",       "1xbx1xmxk cx1x2xkxn"};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++)
        grad_check("MatMul", 13, "", inputs[i]);
    grad_check("MatMul", 13, "", "n:bx7x12 c:12x20");
    grad_check("MatMul", 13, "", "bx7x12 n:12x20");
}

static void matmul_transposed(void **state)
{
    (void)state;
    static const char *const inputs[] = {"bxmxk bxkxn", "bxkxm bxkxn", "bxmxk bxnxk", "bxkxm bxnxk",
                                         "bxmxk kxn",   "bxkxm kxn",   "bxmxk nxk",   "bxkxm nxk",
                                         "mxk bxkxn",   "kxm bxkxn",   "mxk bxnxk",   "kxm bxnxk"};
    static const char *const ops[] = {"com.microsoft:FusedMatMul", "ai.mcompress.grad:MatMul"};
    for (int i = 0; i < 24; i++) {
        char attrs[64];
        snprintf(attrs, sizeof attrs, "transA=%d transB=%d alpha=0.5f", i & 1, i >> 1 & 1);
        grad_check(ops[i / 12], 1, attrs, inputs[i % 12]);
    }
}

static void einsum(void **state)
{
    (void)state;
    static const struct {
        const char *equation, *inputs;
    } cases[] = {
        {"ij,jk->ik", "axb bxc"},
        {"bij,bjk->bik", "axbxc axcxd"},
        {"bhid,bhjd->bhij", "axbxcxd axbxexd"},
        {"bhij,bhjd->bihd", "axbxcxd axbxdxe"},
        {"ij->ji", "axb"},
        {"ij->i", "axb"},
        {"ij->", "axb"},
        {"i,j->ij", "a b"},
        {"i,i->", "a a"},
        {"ij,jk,kl->il", "axb bxc cxd"},
        {"ij,jk", "axb bxc"},
        {"a...b,b...->...a", "axbxcxd dxbxc"},
        {"a...b,b...->...a", "axbxcxd dx1xc"},
        {"aij,jk->ik", "axbxc cxd"},
        {"ij,ij->ij", "axb 1xb"},
        {"ij,kj->i", "axb cxb"},
        {"Aa,ab->Ab", "axb bxc"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char attrs[64];
        snprintf(attrs, sizeof attrs, "equation=%s", cases[i].equation);
        grad_check("Einsum", 12, attrs, cases[i].inputs);
    }
    grad_check_refused("Einsum", 12, "equation=ii->i", "axa", "a label twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm),
        cmocka_unit_test(matmul),
        cmocka_unit_test(matmul_transposed),
        cmocka_unit_test(einsum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
