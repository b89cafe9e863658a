/* Every operator has a gradient rule or stands here with the reason why not: none is forgotten silently. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "rule_check.h"
#include "graph/grad/rule.h"
#include "graph/ops/op.h"

static const struct {
    const char *domain, *names, *why;
} without[] = {
    {"", "If Loop Scan SequenceMap",
     "bodies: an If of a constant is folded, gradients of others are still to be made"},
    {"",
     "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert ConcatFromSequence "
     "SplitToSequence Optional OptionalGetElement",
     "sequences and optionals have no gradient"},
    {"", "ConvInteger MatMulInteger QLinearConv QLinearMatMul",
     "weights are quantised: QuantizeLinear and DequantizeLinear are trained"},
    {"com.microsoft",
     "DynamicQuantizeLSTM DynamicQuantizeMatMul MatMulIntegerToFloat MatMulNBits QGemm QLinearAdd "
     "QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul "
     "QLinearSigmoid QLinearSoftmax QLinearWhere",
     "weights are quantised"},
    {"com.microsoft", "FusedConv FusedGemm Inverse", "made for inference; still to do"},
    {"", "DFT STFT Det BitCast", "signals and matrices; still to do"},
    {"", "AffineGrid GridSample RoiAlign MaxRoiPool DeformConv Col2Im", "sampling; still to do"},
    {"", "CausalConvWithState LinearAttention TensorScatter", "states of generation; still to do"},
    {"", "CumProd Range Unique", "no weights are in front of them in practice; still to do"},
    {"ai.onnx.ml", "ArrayFeatureExtractor LinearRegressor Normalizer Scaler", "classical models"},
    {"ai.onnx.preview.training", "Adagrad Adam Momentum", "are steps of training themselves"},
    {"ai.mcompress", "XnorConv XnorGemm", "are made when training is over"},
    {MC_GRAD_DOMAIN,
     "Accumulate Adam BlockNorm CirculantExpand CirculantFold Clear Ema Keep Pack Sgd SumTo Unpack",
     "are made after gradients are"},
};

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = words; (p = strstr(p, word)); p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == 0 || p[n] == ' '))
            return true;
    return false;
}

static bool is_listed(const char *domain, const char *name)
{
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        if (!strcmp(without[i].domain, domain) && has_word(without[i].names, name))
            return true;
    return false;
}

static void every_operator_is_accounted_for(void **state)
{
    (void)state;
    const struct mc_op *op;
    int wrong = 0;
    for (size_t i = 0; (op = mc_op_at(i)); i++) {
        bool has = mc_rule_lookup(op->domain, op->name, INT_MAX) != NULL;
        bool made = !strcmp(op->domain, MC_GRAD_DOMAIN) && strstr(op->name, "Grad");
        if (has && is_listed(op->domain, op->name)) {
            print_error("%s:%s has a rule: take it from the list\n", op->domain, op->name);
            wrong++;
        } else if (!has && !made && !is_listed(op->domain, op->name)) {
            print_error("%s:%s has no gradient rule and no reason for it\n", op->domain, op->name);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void every_name_is_an_operators(void **state)
{
    (void)state;
    char name[64];
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        for (const char *p = without[i].names; *p; p += strspn(p, " ")) {
            size_t n = strcspn(p, " ");
            snprintf(name, sizeof name, "%.*s", (int)n, p);
            if (!mc_op_lookup(without[i].domain, name, INT_MAX))
                fail_msg("there is no operator %s:%s", without[i].domain, name);
            p += n;
        }
    const struct mc_rule *r;
    for (size_t i = 0; (r = mc_rule_at(i)); i++)
        if (!mc_op_lookup(r->domain, r->name, INT_MAX))
            fail_msg("there is a rule for %s:%s, but no such operator", r->domain, r->name);
}

static void no_rule_is_there_twice(void **state)
{
    (void)state;
    const struct mc_rule *a, *b;
    for (size_t i = 0; (a = mc_rule_at(i)); i++)
        for (size_t j = 0; j < i && (b = mc_rule_at(j)); j++)
            if (a->since == b->since && !strcmp(a->name, b->name) && !strcmp(a->domain, b->domain))
                fail_msg("%s:%s has two rules since %d", a->domain, a->name, a->since);
}

static void random_numbers_freeze_nothing(void **state)
{
    (void)state;
    grad_check_none("RandomNormalLike", 1, "", "2x3");
    grad_check_none("RandomUniformLike", 1, "", "2x3");
    grad_check_none("Bernoulli", 15, "", "2x3~0..1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_is_accounted_for),
        cmocka_unit_test(every_name_is_an_operators),
        cmocka_unit_test(no_rule_is_there_twice),
        cmocka_unit_test(random_numbers_freeze_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
