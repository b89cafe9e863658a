/* Malformed nodes of the operators that pick by index or work on quantised tensors. */
#include "node_spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const struct node_spec_bad bad[] = {
    {"TopK-11 f[2,3] l{4} -> 2", MC_ESHAPE, "4 of 3"},
    {"TopK-11 f[2,3] l{-1} -> 2", MC_ESHAPE, "k is -1"},
    {"TopK-11 f[2,3] l{1,1} -> 2", MC_ESHAPE, "single"},
    {"TopK-11 f[2,3] l{1} -> 2 axis=2", MC_ESHAPE, "axis 2"},
    {"TopK-9 f[2,3] -> 2", MC_ESHAPE, "no k"},
    {"TopK-11 f() l{1} -> 2", MC_ESHAPE, "axis"},
    {"OneHot-11 l{1} l{0} f[2] -> 1", MC_ESHAPE, "depth is 0"},
    {"OneHot-11 l{1} l{3} f[3] -> 1", MC_ESHAPE, "3 against 2"},
    {"OneHot-11 l{1} l{3} f[2] -> 1 axis=2", MC_ESHAPE, "axis 2"},
    {"ReverseSequence-10 f[2,3] l{1,2} -> 1 batch_axis=1 time_axis=1", MC_ESHAPE,
     "must be 0 and 1"},
    {"ReverseSequence-10 f[2,3] l{1,2,5} -> 1", MC_EDATA, "length 5 of 2"},
    {"ReverseSequence-10 f[2,3] l{1,2} -> 1", MC_ESHAPE, "3 against 2"},
    {"Gather-13 f[2,3] l{2} -> 1", MC_EDATA, "index 2 is outside 2"},
    {"Gather-13 f[2,3] l{-3} -> 1", MC_EDATA, "index -3"},
    {"GatherElements-13 f[3] l{0,3} -> 1", MC_EDATA, "index 3"},
    {"GatherND-13 f[2,3] l{2,0} -> 1", MC_EDATA, "index 2"},
    {"GatherND-13 f[2,3] l{0,0,0} -> 1", MC_ESHAPE, "3 numbers for rank 2"},
    {"GatherND-13 f[2,3] l{0} -> 1 batch_dims=1", MC_ESHAPE, "batch_dims 1"},
    {"GatherND-13 f[2,3] l{0} -> 1 batch_dims=-1", MC_ESHAPE, "batch_dims -1"},
    {"ScatterElements-13 f[3] l{3} f[1] -> 1", MC_EDATA, "index 3"},
    {"ScatterElements-13 f[3] l{0,1} f[3] -> 1", MC_ESHAPE, "2 against 3"},
    {"ScatterElements-13 f[3,2] l{0,1} f[2] -> 1", MC_ESHAPE, "rank 1"},
    {"ScatterElements-18 f[3] l{0} f[1] -> 1 reduction=avg", MC_EUNSUP, "reduction 'avg'"},
    {"ScatterElements-18 f[3] l{0} d[1] -> 1", MC_EDTYPE, "float and double"},
    {"ScatterND-18 f[3] l{5} f() -> 1", MC_EDATA, "index 5"},
    {"ScatterND-18 f[3] l{0,1} f() -> 1", MC_ESHAPE, "2 numbers for rank 1"},
    {"ScatterND-18 f[3,4] l{1} f[3] -> 1", MC_ESHAPE, "3 against 4"},
    {"TensorScatter-24 f[1,3,2] f[1,4,2] -> 1", MC_ESHAPE, "4 new entries in a cache of 3"},
    {"TensorScatter-24 f[1,3,2] f[1,2,2] l{2} -> 1", MC_EDATA, "2 entries from 2 on"},
    {"TensorScatter-24 f[1,3,2] f[1,2,2] l{3} -> 1 mode=circular", MC_EDATA, "from 3 on"},
    {"TensorScatter-24 f[1,3,2] f[1,2,2] l{0} -> 1 mode=ring", MC_EUNSUP, "mode 'ring'"},
    {"TensorScatter-24 f[1,3,2] f[1,2,2] l{0} -> 1 axis=0", MC_ESHAPE, "axis 0"},
    {"NonMaxSuppression-11 f[1,3,4] f[1,1,2] -> 1", MC_ESHAPE, "3 against 2"},
    {"NonMaxSuppression-11 f[1,3,5] f[1,1,3] -> 1", MC_ESHAPE, "5 numbers"},
    {"NonMaxSuppression-11 f[1,3,4] f[1,1,3] -> 1 center_point_box=2", MC_ESHAPE, "must be 0 or 1"},
    {"Compress-11 f[3] f[3] -> 1", MC_EDTYPE, "must be bool"},
    {"Compress-11 f[3] b[3] -> 1 axis=1", MC_ESHAPE, "axis 1"},
    {"Unique-11 f[3] -> 4 axis=1", MC_ESHAPE, "axis 1"},
    {"BitCast-26 f[3] -> 1 to=11", MC_EDTYPE, "differ in size"},
    {"BitCast-26 f[3] -> 1 to=10", MC_EUNSUP, "float16"},
    {"BitCast-26 f[3] -> 1 to=77", MC_EDTYPE, "type 77"},
    {"Cast-25 f[3] -> 1 to=24 round_mode=odd", MC_EUNSUP, "round_mode 'odd'"},
    {"QuantizeLinear-13 f[2,3] f[2] u[2] -> 1", MC_ESHAPE, "2 against 3"},
    {"QuantizeLinear-13 f[2,3] f[3] u[2] -> 1", MC_ESHAPE, "3"},
    {"QuantizeLinear-13 f[2,3] f[2] u[2] -> 1 axis=5", MC_ESHAPE, "axis 5"},
    {"QuantizeLinear-13 f[2,3] l{1} -> 1", MC_EDTYPE, "int64"},
    {"QuantizeLinear-13 f[2,3] f() l() -> 1", MC_EDTYPE, "int64"},
    {"QuantizeLinear-21 f[2,3] f[2,2] u[2,2] -> 1 block_size=3", MC_ESHAPE, "blocks of 3"},
    {"QuantizeLinear-21 f[2,3] f[2,2] u[2,2] -> 1 block_size=-1", MC_ESHAPE, "block_size -1"},
    {"QuantizeLinear-21 f[2,3] f[2,2] u[2,2] -> 1", MC_ESHAPE, "without block_size"},
    {"QuantizeLinear-21 f[2,3] f() u() -> 1 output_dtype=3", MC_EDTYPE, "output_dtype is int8"},
    {"QuantizeLinear-21 f[2,3] f() - -> 1 output_dtype=1", MC_EDTYPE, "float"},
    {"DequantizeLinear-13 u[2,3] f() c() -> 1", MC_EDTYPE, "uint8 and int8"},
    {"DequantizeLinear-23 u[2,3] f() u() -> 1 output_dtype=3", MC_EDTYPE, "must be a float"},
    {"DynamicQuantizeLinear-11 u[2] -> 3", MC_EDTYPE, "uint8"},
    {"ConvInteger-10 u[1,4,5,5] c[4,2,3,3] -> 1 group=3", MC_ESHAPE, "group 3 does not divide 4"},
    {"ConvInteger-10 u[1,2,5,5] c[4,2,3,3] u() c[3] -> 1", MC_ESHAPE, "3 against 4"},
    {"ConvInteger-10 f[1,2,5,5] c[4,2,3,3] -> 1", MC_EDTYPE, "must be int8 or uint8"},
    {"ConvInteger-10 u[1,2,5,5] c[4,2,3,3] c() -> 1", MC_EDTYPE, "uint8 and int8"},
    {"QLinearConv-10 u[1,2,5,5] f() u() c[4,2,3,3] f[3] c() f() u() -> 1", MC_ESHAPE,
     "3 against 4"},
    {"QLinearConv-10 u[1,2,5,5] f() u() c[4,2,3,3] f() c() f() u() f[4] -> 1", MC_EDTYPE, "int32"},
    {"QLinearConv-10 u[1,2,5,5] f() u() c[4,2,3,3] f() c() f() -> 1", MC_ESHAPE, "input"},
    {"MatMulInteger-10 u[2,3] c[4,5] -> 1", MC_ESHAPE, "3 against 4"},
    {"MatMulInteger-10 u[2,3] c[3,5] u[3] -> 1", MC_ESHAPE, "must have 1 or 2"},
    {"MatMulInteger-10 u[2,3] c[3,5] u() c[4] -> 1", MC_ESHAPE, "must have 1 or 5"},
    {"QLinearMatMul-10 u[2,3] f() u() c[3,5] f[4] c() f() u() -> 1", MC_ESHAPE, "must have 1 or 5"},
    {"QLinearMatMul-10 u[2,3] f() u() c[3,5] f() c() f[2] u() -> 1", MC_ESHAPE, "single"},
    {"com.microsoft:QGemm-1 u[2,3] f() u() c[3,5] f() c() i[4] -> 1", MC_ESHAPE, "bias [4]"},
    {"com.microsoft:QGemm-1 u[2,3] f() u() c[3,5] f() c() - f() -> 1", MC_ESHAPE, "zero point"},
    {"com.microsoft:MatMulIntegerToFloat-1 u[2,3] c[3,5] f() f() - - f[4] -> 1", MC_ESHAPE, "bias"},
    {"com.microsoft:DynamicQuantizeMatMul-1 u[2,3] c[3,5] f() -> 1", MC_EDTYPE, "uint8"},
    {"com.microsoft:QLinearAdd-1 u[2] f() u() u[3] f() u() f() u() -> 1", MC_ESHAPE, "broadcast"},
    {"com.microsoft:QLinearAdd-1 u[2] f() u() u[2] f() u() -> 1", MC_ESHAPE, "too few"},
    {"com.microsoft:QLinearConcat-1 f() u() u[2] f() -> 1 axis=0", MC_ESHAPE, "too few"},
    {"com.microsoft:QLinearSoftmax-1 u[2] f() u() f() u() -> 1 opset=0", MC_EUNSUP, "opset 0"},
    {"com.microsoft:QLinearAveragePool-1 u[1,1,4,4] f() u() f() u() -> 1 kernel_shape=2,2, "
     "channels_last=1",
     MC_EUNSUP, "channels_last"},
    {"com.microsoft:MatMulNBits-1 f[2,32] u[5,1,16] f[5] -> 1 K=32 N=5 bits=3 block_size=32",
     MC_EUNSUP, "3 bits"},
    {"com.microsoft:MatMulNBits-1 f[2,32] u[5,1,16] f[5] -> 1 K=32 N=6 bits=4 block_size=32",
     MC_ESHAPE, "must have 96"},
    {"com.microsoft:MatMulNBits-1 f[2,32] u[5,1,16] f[5] -> 1 K=32 N=5 bits=4 block_size=20",
     MC_ESHAPE, "block_size 20"},
    {"com.microsoft:DynamicQuantizeLSTM-1 f[5,2,3] c[1,3,15] c[1,4,15] - - - - - f[1] c[1] f[1] "
     "c[1] -> 3",
     MC_ESHAPE, "15 gates"},
    {"com.microsoft:DynamicQuantizeLSTM-1 f[5,2,3] c[1,3,16] c[1,4,16] - i{5,6} - - - f[1] c[1] "
     "f[1] c[1] -> 3",
     MC_EDATA, "length 6 of 5"},
    {"com.microsoft:DynamicQuantizeLSTM-1 f[5,2,3] c[1,3,16] c[1,4,16] -> 3", MC_ESHAPE,
     "left out"},
    {"TfIdfVectorizer-9 l[5] -> 1 mode=TF pool_int64s=1,2, ngram_counts=3, ngram_indexes=0,1,",
     MC_ESHAPE, "ngram_counts"},
    {"TfIdfVectorizer-9 l[5] -> 1 mode=TF pool_int64s=1,2, ngram_counts=0, ngram_indexes=0,",
     MC_ESHAPE, "1 ngram_indexes for 2"},
    {"TfIdfVectorizer-9 l[5] -> 1 mode=XX pool_int64s=1,2, ngram_counts=0, ngram_indexes=0,1,",
     MC_EUNSUP, "mode 'XX'"},
    {"TfIdfVectorizer-9 l[5] -> 1 mode=TF pool_int64s=1,2, ngram_counts=0, ngram_indexes=0,-1,",
     MC_ESHAPE, "-1"},
    {"ai.onnx.ml:ArrayFeatureExtractor-1 f[2,3] l{3} -> 1", MC_EDATA, "index 3"},
    {"ai.onnx.ml:Normalizer-1 f[2,3] -> 1 norm=L3", MC_EUNSUP, "norm 'L3'"},
    {"ai.onnx.ml:Scaler-1 f[2,3] -> 1", MC_ESHAPE, "0 values of offset"},
    {"ai.onnx.ml:LinearRegressor-1 f[2,3] -> 1", MC_ESHAPE, "0 coefficients"},
    {"ai.onnx.ml:TreeEnsemble-5 f[2,3] -> 1", MC_ESHAPE, "n_targets is 0"},
    {"ai.onnx.ml:TreeEnsemble-5 f[2,3] -> 1 n_targets=2 post_transform=9", MC_EUNSUP,
     "post_transform 9"},
    {"ai.onnx.ml:TreeEnsemble-5 f[2,3] -> 1 n_targets=2 nodes_featureids=1,", MC_ESHAPE,
     "must have 0"},
    {"ai.onnx.ml:TreeEnsemble-5 f[2,3] -> 1 n_targets=2 tree_roots=0,", MC_ESHAPE,
     "must be below 0"},
};

static void errors_name_the_trouble(void **state)
{
    (void)state;
    node_spec_all_bad(bad, sizeof bad / sizeof *bad);
}

/* Sizes and values at the border of what is allowed. */
static void borders_run(void **state)
{
    (void)state;
    static const char *const good[] = {
        "TopK-11 f[2,3] l{0} -> 2",
        "TopK-11 f[0,3] l{2} -> 2",
        "TopK-11 f[2,3,0] l{2} -> 2 axis=1",
        "OneHot-11 l{} l{3} f[2] -> 1",
        "OneHot-11 l() l{3} f[2] -> 1",
        "GatherND-13 f[2,3] l{} -> 1",
        "GatherND-13 f[2,0] l{1} -> 1",
        "ScatterElements-18 f[3] l{} f[0] -> 1 reduction=add",
        "ScatterND-18 f[3] l{} f[3] -> 1",
        "TensorScatter-24 f[1,3,2] f[1,3,2] -> 1",
        "NonMaxSuppression-11 f[1,0,4] f[1,2,0] -> 1",
        "NonMaxSuppression-11 f[1,3,4] f[1,2,3] l{9223372036854775807} -> 1",
        "NonMaxSuppression-11 f[1,3,4] f[1,2,3] l{-5} -> 1",
        "NonZero-13 f() -> 1",
        "NonZero-13 f[0,2] -> 1",
        "Compress-11 f[3] b[0] -> 1",
        "Compress-11 f[3,0] b[5] -> 1 axis=0",
        "Unique-11 f[0] -> 4",
        "Unique-11 f[0,3] -> 4 axis=1",
        "Unique-11 f() -> 4",
        "ReverseSequence-10 f[0,3] l{0,0,0} -> 1",
        "QuantizeLinear-21 f[2,5] f[2,2] u[2,2] -> 1 block_size=3",
        "QuantizeLinear-21 f[2,5] f[2,1] u[2,1] -> 1 block_size=9223372036854775807",
        "QuantizeLinear-13 f[2,0] f[0] u[0] -> 1",
        "DequantizeLinear-13 u[0] f() -> 1",
        "DynamicQuantizeLinear-11 f[0] -> 3",
        "ConvInteger-10 u[1,2,5,5] c[0,2,3,3] -> 1",
        "ConvInteger-10 u[0,2,5,5] c[4,2,3,3] -> 1",
        "MatMulInteger-10 u[2,0] c[0,5] -> 1",
        "MatMulInteger-10 u[0,3] c[3,5] u() c[5] -> 1",
        "MatMulInteger-10 u[3] c[3] u() c() -> 1",
        "MatMulInteger-10 u[2,4,3] c[2,3,5] u[4] c[10] -> 1",
        "QLinearMatMul-10 u[2,0] f() u() c[0,5] f[5] c[5] f() u() -> 1",
        "com.microsoft:DynamicQuantizeMatMul-1 f[2,0] c[0,5] f() -> 1",
        "com.microsoft:QLinearConcat-1 f() u() u[0] f() u() u[2] f() u() -> 1 axis=0",
        "com.microsoft:DynamicQuantizeLSTM-1 f[0,2,3] c[1,3,16] c[1,4,16] - - - - - f[1] c[1] f[1] "
        "c[1] -> 3",
        "com.microsoft:DynamicQuantizeLSTM-1 f[5,2,3] c[1,3,16] c[1,4,16] - i{0,5} - - - f[1,16] "
        "c[1,16] f[1] c[1] -> 3",
        "TfIdfVectorizer-9 l[0] -> 1 mode=TF pool_int64s=1,2, ngram_counts=0, ngram_indexes=0,1,",
        "TfIdfVectorizer-9 l[5] -> 1 mode=TF pool_int64s=1,2, ngram_counts=0, ngram_indexes=0,1, "
        "max_skip_count=2147483647",
    };
    node_spec_all_good(good, sizeof good / sizeof *good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_the_trouble),
        cmocka_unit_test(borders_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
