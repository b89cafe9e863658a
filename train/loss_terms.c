#include "train/loss_terms.h"

#include "graph/dataset_join.h"
#include "graph/grad/rule.h"

/* Keeps quotients finite where a teacher's values are all zero. */
static const double LEAST_SQUARE = 1e-12;

static struct mc_value *number(struct mc_terms *t, double v)
{
    return mc_wire_scalar(t->w, t->dtype, v);
}

static struct mc_value *times(struct mc_terms *t, struct mc_value *a, double factor)
{
    return factor == 1 ? a : mc_wire(t->w, "Mul", a, number(t, factor));
}

static struct mc_value *mean(struct mc_terms *t, struct mc_value *x)
{
    struct mc_value *y = mc_wire(t->w, "ReduceMean", x);
    mc_wire_int(t->w, "keepdims", 0);
    return y;
}

/* Sum over the last axis. */
static struct mc_value *sum_last(struct mc_terms *t, struct mc_value *x)
{
    struct mc_value *y =
        mc_wire(t->w, "ReduceSum", x, mc_wire_ints(t->w, (const int64_t[]){-1}, 1));
    mc_wire_int(t->w, "keepdims", 0);
    return y;
}

struct mc_value *mc_term_ce(struct mc_terms *t, struct mc_value *z, struct mc_value *labels)
{
    return mc_wire(t->w, "SoftmaxCrossEntropyLoss", z, labels);
}

struct mc_value *mc_term_ce_partly(struct mc_terms *t, struct mc_value *z, struct mc_value *labels)
{
    struct mc_value *y = mc_wire(t->w, "SoftmaxCrossEntropyLoss", z, labels);
    mc_wire_int(t->w, "ignore_index", MC_LABEL_NONE);
    mc_wire_string(t->w, "reduction", "none");
    return mean(t, y);
}

struct mc_value *mc_term_ce_probs(struct mc_terms *t, struct mc_value *z, struct mc_value *p)
{
    return mc_wire_own(t->w, "CrossEntropyProbs", z, p);
}

struct mc_value *mc_term_ctc(struct mc_terms *t, struct mc_value *z, struct mc_value *labels,
                             int64_t blank)
{
    struct mc_value *y = mc_wire_own(t->w, "CtcLoss", z, labels);
    mc_wire_int(t->w, "blank", blank);
    mc_wire_int(t->w, "must_fit", 1);
    return y;
}

struct mc_value *mc_term_bce(struct mc_terms *t, struct mc_value *z, struct mc_value *y)
{
    return mc_wire_own(t->w, "SigmoidCrossEntropy", z, y);
}

struct mc_value *mc_term_kd(struct mc_terms *t, struct mc_value *z, struct mc_value *zt,
                            double temperature)
{
    struct mc_value *y = mc_wire_own(t->w, "DistillLoss", z, zt);
    mc_wire_float(t->w, "temperature", (float)temperature);
    return y;
}

/* KL of two coins with scores a (the teacher's) and b: s(a) (a - b) - softplus(a) + softplus(b). */
struct mc_value *mc_term_binary_kd(struct mc_terms *t, struct mc_value *z, struct mc_value *zt,
                                   double temperature)
{
    struct mc_value *a = times(t, zt, 1 / temperature), *b = times(t, z, 1 / temperature);
    struct mc_value *gap =
        mc_wire(t->w, "Mul", mc_wire(t->w, "Sigmoid", a), mc_wire(t->w, "Sub", a, b));
    struct mc_value *rest =
        mc_wire(t->w, "Sub", mc_wire(t->w, "Softplus", b), mc_wire(t->w, "Softplus", a));
    return times(t, mean(t, mc_wire(t->w, "Add", gap, rest)), temperature * temperature);
}

struct mc_value *mc_term_mse(struct mc_terms *t, struct mc_value *a, struct mc_value *b)
{
    struct mc_value *d = mc_wire(t->w, "Sub", a, b);
    return mean(t, mc_wire(t->w, "Mul", d, d));
}

struct mc_value *mc_term_scaled(struct mc_terms *t, struct mc_value *a, struct mc_value *b)
{
    struct mc_value *square = mean(t, mc_wire(t->w, "Mul", b, b));
    struct mc_value *least = mc_wire(t->w, "Max", square, number(t, LEAST_SQUARE));
    return mc_wire(t->w, "Div", mc_term_mse(t, a, b), least);
}

struct mc_value *mc_term_cosine(struct mc_terms *t, struct mc_value *a, struct mc_value *b)
{
    struct mc_value *rows = mc_wire_ints(t->w, (const int64_t[]){0, -1}, 2);
    a = mc_wire(t->w, "Reshape", a, rows);
    b = mc_wire(t->w, "Reshape", b, rows);
    struct mc_value *dot = sum_last(t, mc_wire(t->w, "Mul", a, b));
    struct mc_value *aa = sum_last(t, mc_wire(t->w, "Mul", a, a));
    struct mc_value *bb = sum_last(t, mc_wire(t->w, "Mul", b, b));
    struct mc_value *least =
        mc_wire(t->w, "Max", mc_wire(t->w, "Mul", aa, bb), number(t, LEAST_SQUARE * LEAST_SQUARE));
    struct mc_value *cos = mc_wire(t->w, "Div", dot, mc_wire(t->w, "Sqrt", least));
    return mc_wire(t->w, "Sub", number(t, 1), mean(t, cos));
}

struct mc_value *mc_term_mix(struct mc_terms *t, struct mc_value *a, struct mc_value *b,
                             double share)
{
    return mc_wire(t->w, "Add", times(t, a, 1 - share), times(t, b, share));
}
