/* Operators through which nothing flows back, and which are no reason to freeze what is above them: whole numbers,
 * random numbers that depend on shapes alone, steps. */
#include "graph/grad/rule.h"

const struct mc_rule mc_rules_zero[] = {
    {"", "BitShift", 11, mc_rule_zero},
    {"", "BitwiseAnd", 18, mc_rule_zero},
    {"", "BitwiseNot", 18, mc_rule_zero},
    {"", "BitwiseOr", 18, mc_rule_zero},
    {"", "BitwiseXor", 18, mc_rule_zero},
    {"", "Constant", 1, mc_rule_zero},
    {"", "BlackmanWindow", 17, mc_rule_zero},
    {"", "HammingWindow", 17, mc_rule_zero},
    {"", "HannWindow", 17, mc_rule_zero},
    {"", "MelWeightMatrix", 17, mc_rule_zero},
    {"", "RandomNormal", 1, mc_rule_zero},
    {"", "RandomNormalLike", 1, mc_rule_zero},
    {"", "RandomUniform", 1, mc_rule_zero},
    {"", "RandomUniformLike", 1, mc_rule_zero},
    {"", "Bernoulli", 15, mc_rule_zero},
    {"", "Multinomial", 7, mc_rule_zero},
    {"", "NonMaxSuppression", 10, mc_rule_zero},
    {"", "TfIdfVectorizer", 9, mc_rule_zero},
    {"", "OptionalHasElement", 15, mc_rule_zero},
    {"", "SequenceLength", 11, mc_rule_zero},
    {"ai.onnx.ml", "Binarizer", 1, mc_rule_zero},
    {"ai.onnx.ml", "TreeEnsemble", 5, mc_rule_zero},
    {0},
};
