#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "rule_check.h"

/* Gradients from Y, Y_h and Y_c together, and from one of them. */
static void all_outputs(const char *op, const char *attrs, const char *inputs, int n_out)
{
    grad_check_outputs(op, 14, attrs, inputs, n_out);
    for (int i = 0; i < n_out; i++)
        grad_check_case(&(struct grad_case){.op = op,
                                            .version = 14,
                                            .attrs = attrs,
                                            .inputs = inputs,
                                            .n_out = n_out,
                                            .unasked = 7u & ~(1u << i),
                                            .absent = i == 1 ? 1 : 0,
                                            .rounds = 1});
}

static void lstm(void **state)
{
    (void)state;
    all_outputs("LSTM", "hidden_size=3", "4x2x5 c:1x12x5 c:1x12x3 c:1x24 - 1x2x3 1x2x3", 3);
    grad_check("LSTM", 7, "hidden_size=17", "3x5x4 c:1x68x4 c:1x68x17 c:1x136");
    grad_check("LSTM", 14, "hidden_size=2 direction=reverse", "4x3x2 1x8x2 1x8x2");
    grad_check_outputs("LSTM", 14, "hidden_size=3 direction=bidirectional",
                       "4x2x5 c:2x12x5 c:2x12x3 c:2x24 - 2x2x3 2x2x3", 3);
    grad_check_outputs("LSTM", 14, "hidden_size=3 direction=bidirectional layout=1",
                       "2x4x5 c:2x12x5 c:2x12x3 c:2x24 - 2x2x3 2x2x3", 3);
    grad_check("LSTM", 14, "hidden_size=3 layout=1", "n:2x4x5 c:1x12x5 n:1x12x3 n:1x24");
}

static void lstm_lengths(void **state)
{
    (void)state;
    static const char *const ways[] = {"hidden_size=3", "hidden_size=3 direction=reverse"};
    for (int i = 0; i < 2; i++)
        grad_check_case(
            &(struct grad_case){.op = "LSTM",
                                .version = 14,
                                .attrs = ways[i],
                                .inputs = "4x4x2 1x12x2 1x12x3 1x24 l:4,1,0,3 1x4x3 1x4x3",
                                .n_out = 3,
                                .is_static = true});
    grad_check_outputs("LSTM", 14, "hidden_size=2 direction=bidirectional",
                       "5x3x2 2x8x2 2x8x2 2x16 l:2,5,3 2x3x2 2x3x2 2x6", 3);
}

static void lstm_variants(void **state)
{
    (void)state;
    grad_check_outputs("LSTM", 14, "hidden_size=3", "4x2x5 1x12x5 1x12x3 1x24 - - - 1x9", 3);
    grad_check_outputs("LSTM", 14, "hidden_size=3 input_forget=1",
                       "4x2x5 1x12x5 1x12x3 1x24 - 1x2x3 1x2x3 1x9", 3);
    grad_check("LSTM", 14, "hidden_size=3 activations=HardSigmoid,Softsign,Softplus",
               "4x2x5 1x12x5 1x12x3 1x24");
    grad_check("LSTM", 14,
               "hidden_size=3 activations=Sigmoid,ScaledTanh,Affine activation_alpha=0.7f,0.3f "
               "activation_beta=1.5f,0.2f",
               "4x2x5 1x12x5 1x12x3 1x24");
    grad_check("LSTM", 14,
               "hidden_size=3 activations=Sigmoid,LeakyRelu,Elu activation_alpha=0.2f,0.5f",
               "4x2x5 1x12x5 1x12x3 1x24");
    grad_check_refused("LSTM", 14, "hidden_size=3 clip=0.5f", "4x2x5 1x12x5 1x12x3",
                       "clip has no gradient yet");
    grad_check_refused("LSTM", 14,
                       "hidden_size=3 activations=Sigmoid,Elu,Tanh activation_alpha=-1f,",
                       "4x2x5 1x12x5 1x12x3", "activation_alpha -1 has no gradient yet");
}

static void gru(void **state)
{
    (void)state;
    static const char *const attrs[] = {"hidden_size=3", "hidden_size=3 linear_before_reset=1"};
    for (int i = 0; i < 2; i++) {
        all_outputs("GRU", attrs[i], "4x2x5 c:1x9x5 c:1x9x3 c:1x18 - 1x2x3", 2);
        grad_check_outputs("GRU", 14, attrs[i], "4x3x2 1x9x2 1x9x3 1x18 l:4,0,2 1x3x3", 2);
        grad_check("GRU", 14, attrs[i], "3x4x2 1x9x2 1x9x3");
    }
    grad_check("GRU", 7, "hidden_size=18 linear_before_reset=1",
               "3x5x4 c:1x54x4 c:1x54x18 c:1x108");
    grad_check_outputs("GRU", 14, "hidden_size=3 direction=bidirectional layout=1",
                       "2x4x5 c:2x9x5 c:2x9x3 c:2x18 - 2x2x3", 2);
    grad_check_outputs("GRU", 14, "hidden_size=3 direction=reverse linear_before_reset=1",
                       "4x3x2 1x9x2 1x9x3 1x18 l:4,1,2 1x3x3", 2);
    grad_check("GRU", 14, "hidden_size=3 activations=HardSigmoid,Relu", "4x2x5 1x9x5 1x9x3 1x18");
}

/* An initial state that is known to be zero, and one that is not. */
static void from_zero(void **state)
{
    (void)state;
    static const char *const ways[] = {"hidden_size=3", "hidden_size=3 direction=reverse"};
    for (int i = 0; i < 2; i++) {
        grad_check_outputs("LSTM", 14, ways[i],
                           "4x2x5 1x12x5 1x12x3 1x24 - f[1x2x3]:0,0,0,0,0,0 1x2x3", 3);
        grad_check_outputs("LSTM", 14, ways[i],
                           "1x2x5 1x12x5 1x12x3 1x24 - f[1x2x3]:0,0,0,0,0,1 1x2x3", 3);
        grad_check_outputs("GRU", 14, ways[i], "4x2x5 1x9x5 1x9x3 1x18 - f[1x2x3]:0,0,0,0,0,0", 2);
        grad_check_outputs("RNN", 14, ways[i], "4x2x5 1x3x5 1x3x3 1x6 - f[1x2x3]:0,0,0,0,0,0", 2);
    }
}

static void rnn(void **state)
{
    (void)state;
    all_outputs("RNN", "hidden_size=3", "4x2x5 c:1x3x5 c:1x3x3 c:1x6 - 1x2x3", 2);
    grad_check_outputs("RNN", 14, "hidden_size=17 direction=bidirectional",
                       "3x3x2 2x17x2 2x17x17 2x34 l:3,0,2 2x3x17", 2);
    grad_check_outputs("RNN", 14, "hidden_size=3 layout=1", "2x4x5 1x3x5 1x3x3 - - 2x1x3", 2);
    grad_check("RNN", 14, "hidden_size=3 activations=ThresholdedRelu, activation_alpha=0.1f,",
               "4x2x5 1x3x5 1x3x3 1x6");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lstm), cmocka_unit_test(lstm_lengths), cmocka_unit_test(lstm_variants),
        cmocka_unit_test(gru),  cmocka_unit_test(rnn),          cmocka_unit_test(from_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
