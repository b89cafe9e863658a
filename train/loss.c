#include "train/loss.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/grad/rule.h"
#include "train/loss_ctc.h"
#include "train/loss_terms.h"

struct building {
    struct mc_side *s;
    const struct mc_side *teacher;
    const struct mc_loss_opts *o;
    struct mc_loss *l;
    struct mc_scores scores; /* of the output that counts */
    struct mc_ctc_scores ctc;
    struct mc_value *z; /* its scores [n,c], once made */
    struct mc_wire w;
    struct mc_terms t;
    size_t cap_teacher;
    struct mc_err *err;
};

static int no_memory(struct mc_err *err)
{
    return mc_fail(err, MC_ENOMEM, "out of memory while building a loss");
}

/* ---- what there is ---- */

static const struct mc_vtype *type_of(const struct building *b, const struct mc_value *v)
{
    return mc_infer_of(b->s->inf, v);
}

/* Classes of the counting output: [n,c] -> c; 0: it is something else. */
static int64_t class_count(const struct building *b)
{
    const struct mc_vtype *t = type_of(b, b->scores.output);
    bool ok = t->ranked && t->shape.rank == 2 && t->shape.dim[1] > 0 &&
              mc_dtype_info(t->dtype)->kind == MC_KIND_FLOAT;
    return ok ? t->shape.dim[1] : 0;
}

/* Each score by itself: after Sigmoid, or alone. */
static bool is_binary(const struct building *b)
{
    return b->scores.kind == MC_SCORES_SIGMOID || b->l->classes == 1;
}

static int need_classes(const struct building *b, const char *what)
{
    char text[MC_SHAPE_TEXT];
    const struct mc_vtype *t = type_of(b, b->scores.output);
    if (b->l->classes)
        return 0;
    return mc_fail(b->err, MC_ESHAPE,
                   "the loss %s needs class scores [batch,classes], but output '%s' is %s; name "
                   "another with --output, or train against a teacher (--loss outputs)",
                   what, b->scores.output->name,
                   t->ranked ? mc_shape_text(&t->shape, text) : "of unknown shape");
}

static int need_labels(const struct building *b, const char *what)
{
    if (b->o->labels)
        return 0;
    if (b->o->sequence)
        return mc_fail(b->err, MC_EDATA,
                       "the loss %s needs one class number for each sample, and '%s' has sequences "
                       "of labels, which --loss ctc takes",
                       what, b->o->data);
    return mc_fail(b->err, MC_EDATA, "'%s' has no labels, which the loss %s needs", b->o->data,
                   what);
}

static int need_teacher(const struct building *b, const char *what)
{
    if (b->teacher)
        return 0;
    return mc_fail(b->err, MC_EUSAGE, "the loss %s needs a teacher", what);
}

/* ---- inputs ---- */

/* The shape as declared dimensions, symbols by name. */
static void dims_of(const struct building *b, const struct mc_vtype *t, struct mc_dim *ret)
{
    for (int i = 0; t->ranked && i < t->shape.rank; i++) {
        int64_t d = t->shape.dim[i];
        ret[i] = (struct mc_dim){d < 0 ? -1 : d, d < 0 ? mc_infer_symbol(b->s->inf, d) : NULL};
    }
}

/* v in a type that losses compute in: half types become float32. */
static struct mc_value *wide(struct building *b, struct mc_value *v, enum mc_dtype dtype)
{
    if (dtype == b->t.dtype)
        return v;
    struct mc_value *y = mc_wire(&b->w, "Cast", v);
    mc_wire_int(&b->w, "to", b->t.dtype);
    return y;
}

/* The scores of the output that counts, [n,c]. */
static struct mc_value *scores_of(struct building *b)
{
    if (b->z)
        return b->z;
    struct mc_value *v = b->scores.value;
    const struct mc_vtype *t = type_of(b, v), *out = type_of(b, b->scores.output);
    bool flat = t->ranked && t->shape.rank == 2;
    enum mc_dtype dtype = out->dtype;
    if (!flat)
        v = mc_wire(&b->w, "Reshape", v, mc_wire(&b->w, "Shape", b->scores.output));
    return b->z = wide(b, v, dtype);
}

/* A value of the teacher as an input of the model's type for `like`. */
static struct mc_value *teacher_input(struct building *b, const struct mc_value *value, bool flat,
                                      const struct mc_value *like)
{
    char name[48];
    struct mc_loss *l = b->l;
    const struct mc_vtype *t = type_of(b, like);
    struct mc_dim dims[MC_RANK_MAX];
    snprintf(name, sizeof name, MC_LOSS_TEACHER ".%zu", l->n_teacher);
    dims_of(b, t, dims);
    struct mc_value *v =
        mc_wire_input(&b->w, name, b->t.dtype, t->ranked ? t->shape.rank : -1, dims);
    if (!v)
        return NULL;
    struct mc_loss_input in = {v->name, mc_arena_strdup(&l->mem, value->name), flat};
    struct mc_loss_input *list = mc_arena_array(&l->mem, l->n_teacher + 1, sizeof *list);
    in.input = mc_arena_strdup(&l->mem, v->name);
    if (!list || !in.input || !in.value) {
        b->w.rc = no_memory(b->err);
        return NULL;
    }
    if (l->n_teacher)
        memcpy(list, l->teacher, l->n_teacher * sizeof *list);
    list[l->n_teacher++] = in;
    l->teacher = list;
    return v;
}

static struct mc_value *teacher_scores(struct building *b)
{
    struct mc_value *out;
    int rc = mc_side_partner(b->s, b->teacher, b->scores.output, &out, b->err);
    if (rc) {
        b->w.rc = rc;
        return NULL;
    }
    struct mc_scores t = mc_side_scores(out);
    b->l->teacher_scores = (int)b->l->n_teacher;
    return teacher_input(b, t.value, true, b->scores.output);
}

static struct mc_value *label_input(struct building *b)
{
    struct mc_dim dims[2];
    dims_of(b, type_of(b, b->scores.output), dims);
    b->l->labels = true;
    return mc_wire_input(&b->w, MC_LOSS_LABELS, MC_DTYPE_I64, 1, dims);
}

/* Rows of labels, one of each sample. */
static struct mc_value *sequence_input(struct building *b)
{
    struct mc_dim dims[MC_RANK_MAX];
    dims_of(b, type_of(b, b->ctc.like), dims);
    dims[0] = dims[!b->ctc.batch_first];
    dims[1] = (struct mc_dim){b->o->sequence, NULL};
    b->l->labels = true;
    b->l->sequence.labels = b->o->sequence;
    b->l->sequence.classes = b->ctc.classes;
    b->l->sequence.steps = b->ctc.steps;
    b->l->sequence.blank = b->o->blank;
    return mc_wire_input(&b->w, MC_LOSS_LABELS, MC_DTYPE_I64, 2, dims);
}

static struct mc_value *target_input(struct building *b)
{
    struct mc_dim dims[MC_RANK_MAX];
    dims_of(b, type_of(b, b->scores.output), dims);
    b->l->targets = true;
    return mc_wire_input(&b->w, MC_LOSS_TARGETS, b->t.dtype, 2, dims);
}

/* ---- losses ---- */

static struct mc_value *with_labels(struct building *b)
{
    if (is_binary(b) || b->l->kind == MC_LOSS_BCE)
        return mc_term_bce(&b->t, scores_of(b), target_input(b));
    if (b->o->mixed)
        return mc_term_ce_probs(&b->t, scores_of(b), target_input(b));
    return b->o->partly ? mc_term_ce_partly(&b->t, scores_of(b), label_input(b))
                        : mc_term_ce(&b->t, scores_of(b), label_input(b));
}

static struct mc_value *with_teacher(struct building *b)
{
    struct mc_value *zt = teacher_scores(b);
    if (is_binary(b))
        return mc_term_binary_kd(&b->t, scores_of(b), zt, b->o->temperature);
    return mc_term_kd(&b->t, scores_of(b), zt, b->o->temperature);
}

/* Mean of two and more losses, added up one by one: place i of the sum so far. */
static struct mc_value *add_up(struct building *b, struct mc_value *sum, size_t i,
                               struct mc_value *v)
{
    return i ? mc_term_mix(&b->t, sum, v, 1.0 / (double)(i + 1)) : v;
}

static struct mc_value *pair_loss(struct building *b, struct mc_value *mine,
                                  const struct mc_value *teachers)
{
    struct mc_value *in = teacher_input(b, teachers, false, mine);
    return mc_term_scaled(&b->t, wide(b, mine, type_of(b, mine)->dtype), in);
}

/* Scaled error of one output; scores before Softmax or Sigmoid where both have them. */
static struct mc_value *output_loss(struct building *b, struct mc_value *output)
{
    struct mc_value *theirs;
    int rc = b->w.rc ? b->w.rc : mc_side_partner(b->s, b->teacher, output, &theirs, b->err);
    if (rc) {
        b->w.rc = rc;
        return NULL;
    }
    struct mc_scores a = mc_side_scores(output), t = mc_side_scores(theirs);
    if (a.kind != t.kind || type_of(b, a.value)->shape.rank != type_of(b, output)->shape.rank)
        a.value = output, t.value = theirs;
    if (output == b->scores.output && b->l->classes)
        b->l->teacher_scores = (int)b->l->n_teacher;
    return pair_loss(b, a.value, t.value);
}

static struct mc_value *outputs_loss(struct building *b)
{
    const struct mc_graph *g = b->s->m->graph;
    struct mc_value *sum = NULL;
    size_t n = 0;
    for (size_t i = 0; i < g->n_outputs; i++) {
        struct mc_value *v = g->outputs[i];
        bool counts = b->o->output ? v == b->scores.output
                                   : mc_dtype_info(type_of(b, v)->dtype)->kind == MC_KIND_FLOAT;
        if (counts && !b->w.rc) {
            sum = add_up(b, sum, n, output_loss(b, v));
            n++;
        }
    }
    if (!n && !b->w.rc)
        b->w.rc = mc_fail(b->err, MC_EUNSUP, "the model has no output of a float type");
    return sum;
}

/* What is matched, for the report: names as long as there is room. */
static const char *blocks_text(struct building *b, const struct mc_pair *pairs, size_t n)
{
    char text[100]; /* a line of the report holds it */
    if (!n)
        return "the models share no inner value: the output alone; --blocks names some";
    int at = snprintf(text, sizeof text, "the output and %zu inner value%s:", n, n > 1 ? "s" : "");
    for (size_t i = 0; i < n; i++) {
        const char *name = pairs[i].mine->name;
        if ((size_t)at + strlen(name) + 8 > sizeof text) {
            snprintf(text + at, sizeof text - (size_t)at, " …");
            break;
        }
        at += snprintf(text + at, sizeof text - (size_t)at, " %s", name);
    }
    return mc_arena_strdup(&b->l->mem, text);
}

static struct mc_value *blocks_loss(struct building *b)
{
    struct mc_pair *pairs = NULL;
    size_t n = 0;
    b->w.rc = mc_side_blocks(b->s, b->teacher, b->o->blocks, &pairs, &n, b->err);
    struct mc_value *sum = NULL;
    for (size_t i = 0; i < n && !b->w.rc; i++)
        sum = add_up(b, sum, i, pair_loss(b, pairs[i].mine, pairs[i].teachers));
    if (!b->w.rc)
        sum = add_up(b, sum, n, output_loss(b, b->scores.output));
    if (!b->w.rc) {
        b->l->why = blocks_text(b, pairs, n);
        b->w.rc = b->l->why ? 0 : no_memory(b->err);
    }
    free(pairs);
    return sum;
}

static struct mc_value *cosine_loss(struct building *b)
{
    struct mc_value *theirs;
    int rc = mc_side_partner(b->s, b->teacher, b->scores.output, &theirs, b->err);
    if (rc) {
        b->w.rc = rc;
        return NULL;
    }
    struct mc_value *v = b->scores.output;
    if (b->l->classes)
        b->l->teacher_scores = (int)b->l->n_teacher;
    struct mc_value *in = teacher_input(b, theirs, false, v);
    return mc_term_cosine(&b->t, wide(b, v, type_of(b, v)->dtype), in);
}

/* Labels where the data has them, as numbers or one of c; else the teacher. */
static struct mc_value *mse_loss(struct building *b)
{
    struct mc_value *v = b->scores.output;
    if (b->o->labels)
        return mc_term_mse(&b->t, wide(b, v, type_of(b, v)->dtype), target_input(b));
    struct mc_value *theirs = NULL;
    b->w.rc = mc_side_partner(b->s, b->teacher, v, &theirs, b->err);
    struct mc_value *in = b->w.rc ? NULL : teacher_input(b, theirs, false, v);
    return mc_term_mse(&b->t, wide(b, v, type_of(b, v)->dtype), in);
}

static struct mc_value *ctc_loss(struct building *b)
{
    const struct mc_ctc_scores *s = &b->ctc;
    struct mc_value *z = wide(b, s->value, type_of(b, s->like)->dtype);
    const struct mc_vtype *t = type_of(b, s->value);
    if (t->shape.rank != 3)
        z = mc_wire(&b->w, "Reshape", z, mc_wire(&b->w, "Shape", s->like));
    if (s->batch_first) {
        z = mc_wire(&b->w, "Transpose", z);
        mc_wire_int_list(&b->w, "perm", (const int64_t[]){1, 0, 2}, 3);
    }
    return mc_term_ctc(&b->t, z, sequence_input(b), b->o->blank);
}

/* ---- which ---- */

/* Labels are sequences: they alone, unless the teacher is wanted alone, or is all that fits the output. */
static bool takes_sequences(const struct building *b)
{
    const struct mc_vtype *t = type_of(b, b->scores.output);
    return b->o->sequence && (!b->teacher || (b->o->alpha < 1 && t->ranked && t->shape.rank == 3));
}

/* *ret_mix: labels and teacher together. */
static int choose(struct building *b, bool *ret_mix)
{
    const struct mc_loss_opts *o = b->o;
    struct mc_loss *l = b->l;
    *ret_mix = false;
    if (o->kind != MC_LOSS_AUTO) {
        l->kind = o->kind;
        l->why = "as asked for";
        return 0;
    }
    if (takes_sequences(b)) {
        l->kind = MC_LOSS_CTC;
        l->why = b->teacher
                     ? "the data has sequences of labels; the teacher is not followed, which "
                       "--alpha 1 or another --loss would do"
                     : "the data has sequences of labels";
        return 0;
    }
    if (o->labels && (l->classes || !b->teacher)) {
        int rc = need_classes(b, "ce");
        l->kind = is_binary(b) ? MC_LOSS_BCE : MC_LOSS_CE;
        *ret_mix = b->teacher && o->alpha > 0;
        l->why = *ret_mix ? "the data has labels, and there is a teacher" : "the data has labels";
        if (b->teacher && o->alpha >= 1) {
            l->kind = MC_LOSS_KD;
            *ret_mix = false;
            l->why = "alpha is 1: the teacher alone";
        }
        return rc;
    }
    if (!b->teacher)
        return mc_fail(b->err, MC_EDATA,
                       "'%s' has no labels, and there is no teacher: nothing says what the model "
                       "should answer",
                       o->data);
    l->kind = l->classes ? MC_LOSS_KD : MC_LOSS_OUTPUTS;
    l->why = o->labels
                 ? "the output is no class score that labels could be compared with: the teacher "
                   "alone"
             : o->sequence ? "the teacher alone: alpha is 1, or the output is no sequence of scores"
             : l->classes  ? "the data has no labels: the teacher's class scores"
                           : "the data has no labels, and the output is no class score: the "
                             "teacher's outputs";
    return 0;
}

/* Where only some samples have labels. */
static int check_partly(const struct building *b, bool mix)
{
    if (!mix || b->l->kind != MC_LOSS_CE || is_binary(b))
        return mc_fail(
            b->err, MC_EUSAGE,
            "'%s': samples without labels can only follow a teacher, beside a cross "
            "entropy of two classes and more: --loss auto, a teacher, and --alpha below 1",
            b->o->data);
    if (b->o->mixed)
        return mc_fail(b->err, MC_EUSAGE, "'%s': mixup needs labels of all samples", b->o->data);
    return 0;
}

static int check_ctc(struct building *b)
{
    const struct mc_loss_opts *o = b->o;
    if (!o->sequence)
        return mc_fail(b->err, MC_EDATA,
                       "the loss ctc needs a sequence of labels for each sample; '%s' has %s",
                       o->data, o->labels ? "one label a sample" : "no labels");
    int rc = mc_ctc_scores_find(b->s, b->scores.output, o->whole, &b->ctc, b->err);
    if (!rc && o->blank >= b->ctc.classes)
        return mc_fail(b->err, MC_EUSAGE, "--blank %lld: output '%s' has the classes 0 to %lld",
                       (long long)o->blank, b->scores.output->name, (long long)b->ctc.classes - 1);
    return rc;
}

static int check(struct building *b)
{
    static const char *const names[] = {"auto", "ce",     "bce",     "mse",   "ctc",
                                        "kd",   "cosine", "outputs", "blocks"};
    const char *name = names[b->l->kind];
    int rc = 0;
    switch (b->l->kind) {
    case MC_LOSS_CE:
        if (is_binary(b) && b->l->classes == 1)
            return mc_fail(b->err, MC_ESHAPE,
                           "the loss ce needs scores of two classes and more; output '%s' has one: "
                           "--loss bce",
                           b->scores.output->name);
        /* fall through */
    case MC_LOSS_BCE: rc = need_labels(b, name); return rc ? rc : need_classes(b, name);
    case MC_LOSS_MSE:
        if (b->o->labels)
            return need_classes(b, name);
        return b->teacher ? 0 : need_labels(b, name);
    case MC_LOSS_CTC: return check_ctc(b);
    case MC_LOSS_KD: rc = need_teacher(b, name); return rc ? rc : need_classes(b, name);
    default: return need_teacher(b, name);
    }
}

static struct mc_value *loss_of(struct building *b, bool mix)
{
    struct mc_loss *l = b->l;
    switch (l->kind) {
    case MC_LOSS_KD: l->name = "kd"; return with_teacher(b);
    case MC_LOSS_COSINE: l->name = "cosine"; return cosine_loss(b);
    case MC_LOSS_OUTPUTS: l->name = "outputs"; return outputs_loss(b);
    case MC_LOSS_BLOCKS: l->name = "blocks"; return blocks_loss(b);
    case MC_LOSS_MSE: l->name = "mse"; return mse_loss(b);
    case MC_LOSS_CTC: l->name = "ctc"; return ctc_loss(b);
    default: break;
    }
    const char *name = l->kind == MC_LOSS_BCE ? "bce" : "ce";
    l->name = mix ? l->kind == MC_LOSS_BCE ? "bce+kd" : "ce+kd" : name;
    struct mc_value *hard = with_labels(b);
    return mix ? mc_term_mix(&b->t, hard, with_teacher(b), b->o->alpha) : hard;
}

static int outputs_of(struct building *b, struct mc_value *loss)
{
    struct mc_graph *g = b->s->m->graph;
    while (g->n_outputs)
        mc_edit_output_drop(g->outputs[g->n_outputs - 1]);
    struct mc_value *named = mc_edit_value(g, MC_LOSS_VALUE);
    if (!named || !mc_edit_type(named, b->t.dtype, 0, NULL))
        return no_memory(b->err);
    int rc = mc_edit_node(g, g->n_nodes, "Identity", "", MC_GRAD_OPSET, MC_LOSS_VALUE, &loss, 1,
                          &named, 1, NULL, b->err);
    rc = rc ? rc : mc_edit_output(g, named, b->err);
    if (rc || !b->l->classes)
        return rc;
    struct mc_value *z = scores_of(b);
    if (!z)
        return b->w.rc;
    b->l->scores = mc_arena_strdup(&b->l->mem, z->name);
    return b->l->scores ? mc_edit_output(g, z, b->err) : no_memory(b->err);
}

int mc_loss_build(struct mc_side *s, const struct mc_side *teacher, const struct mc_loss_opts *o,
                  struct mc_loss *ret, struct mc_err *err)
{
    struct building b = {.s = s,
                         .teacher = teacher,
                         .o = o,
                         .l = ret,
                         .w = {.g = s->m->graph, .err = err},
                         .err = err};
    struct mc_value *output;
    bool mix;
    *ret = (struct mc_loss){.teacher_scores = -1};
    int rc = mc_side_counting(s, o->output, o->sequence ? 3 : 2, &output, err);
    if (rc)
        return rc;
    b.scores = mc_side_scores(output);
    b.t = (struct mc_terms){&b.w, type_of(&b, output)->dtype == MC_DTYPE_F64 ? MC_DTYPE_F64
                                                                             : MC_DTYPE_F32};
    ret->classes = class_count(&b);
    rc = choose(&b, &mix);
    rc = rc ? rc : check(&b);
    if (!rc && o->partly)
        rc = check_partly(&b, mix);
    struct mc_value *loss = rc ? NULL : loss_of(&b, mix);
    rc = rc ? rc : b.w.rc;
    rc = rc ? rc : mc_edit_opset(s->m, MC_GRAD_DOMAIN, 1, err);
    rc = rc ? rc : outputs_of(&b, loss);
    if (rc)
        mc_loss_free(ret);
    return rc;
}

void mc_loss_free(struct mc_loss *l)
{
    mc_arena_free(&l->mem);
    *l = (struct mc_loss){0};
}
