#include "graph/ops/equation.h"

#include <string.h>

static int label_of(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : -1;
}

static int append(const struct mc_node *node, struct mc_term *t, int label, struct mc_err *err)
{
    if (t->rank == MC_RANK_MAX)
        return mc_op_fail(err, MC_EUNSUP, node, "a term has more than %d dimensions", MC_RANK_MAX);
    t->label[t->rank++] = (uint8_t)label;
    return 0;
}

/* One term, up to the end of its text; `ellipsis` dimensions for "..." (-1: none may stand there). */
static int read_term(const struct mc_node *node, const char *s, const char *end, int ellipsis,
                     struct mc_term *t, struct mc_err *err)
{
    bool dots = false;
    int rc = 0;
    t->rank = 0;
    for (; s < end && !rc; s++) {
        if (*s == ' ')
            continue;
        if (*s == '.') {
            if (end - s < 3 || s[1] != '.' || s[2] != '.' || dots || ellipsis < 0)
                return mc_op_fail(err, MC_ESHAPE, node, "'%.*s' has dots in the wrong place",
                                  (int)(end - s < 40 ? end - s : 40), s);
            for (int i = ellipsis - 1; i >= 0 && !rc; i--)
                rc = append(node, t, MC_LABEL_ELLIPSIS + i, err);
            dots = true;
            s += 2;
            continue;
        }
        if (label_of(*s) < 0)
            return mc_op_fail(err, MC_ESHAPE, node, "the equation holds '%c'", *s);
        rc = append(node, t, label_of(*s), err);
    }
    return rc;
}

/* Letters in a term without its ellipsis. */
static int letters(const char *s, const char *end, bool *ret_dots)
{
    int n = 0;
    *ret_dots = false;
    for (; s < end; s++) {
        n += label_of(*s) >= 0;
        *ret_dots |= *s == '.';
    }
    return n;
}

/* Labels that occur once, in their order, behind the dimensions of the ellipsis. */
static int implicit_output(const struct mc_node *node, struct mc_equation *e, int ellipsis,
                           struct mc_err *err)
{
    int seen[MC_LABELS] = {0}, rc = 0;
    for (int i = 0; i < e->n; i++)
        for (int d = 0; d < e->in[i].rank; d++)
            seen[e->in[i].label[d]]++;
    for (int i = ellipsis - 1; i >= 0 && !rc; i--)
        rc = append(node, &e->out, MC_LABEL_ELLIPSIS + i, err);
    for (int l = 0; l < MC_LABEL_ELLIPSIS && !rc; l++)
        if (seen[l] == 1)
            rc = append(node, &e->out, l, err);
    return rc;
}

static int check_output(const struct mc_node *node, const struct mc_equation *e, struct mc_err *err)
{
    bool there[MC_LABELS] = {0};
    for (int i = 0; i < e->n; i++)
        for (int d = 0; d < e->in[i].rank; d++)
            there[e->in[i].label[d]] = true;
    for (int d = 0; d < e->out.rank; d++) {
        if (!there[e->out.label[d]])
            return mc_op_fail(err, MC_ESHAPE, node,
                              "dimension %d of the result is in no operand, or twice in the result",
                              d);
        there[e->out.label[d]] = false;
    }
    return 0;
}

int mc_equation_parse(const struct mc_node *node, int n, const int *rank, struct mc_equation *ret,
                      struct mc_err *err)
{
    const char *text = mc_node_string(node, "equation", ""), *arrow = strstr(text, "->");
    const char *end = arrow ? arrow : text + strlen(text), *s = text;
    int widest = -1, rc = 0;
    if (n > MC_EQUATION_TERMS)
        return mc_op_fail(err, MC_EUNSUP, node, "%d operands, at most %d can run", n,
                          MC_EQUATION_TERMS);
    *ret = (struct mc_equation){.n = n};
    for (int i = 0; i < n && !rc; i++) {
        const char *comma = memchr(s, ',', (size_t)(end - s)), *stop = comma ? comma : end;
        bool dots;
        int rest = rank[i] - letters(s, stop, &dots);
        if ((i + 1 < n) != (comma != NULL))
            return mc_op_fail(err, MC_ESHAPE, node, "equation '%.60s' does not have %d operands",
                              text, n);
        if (rest < 0 || (rest > 0 && !dots))
            return mc_op_fail(err, MC_ESHAPE, node, "term '%.*s' for operand %d of rank %d",
                              (int)(stop - s < 40 ? stop - s : 40), s, i, rank[i]);
        if (dots && rest > widest)
            widest = rest;
        rc = read_term(node, s, stop, dots ? rest : -1, &ret->in[i], err);
        s = stop + (comma != NULL);
    }
    if (!rc && arrow)
        rc = read_term(node, arrow + 2, arrow + strlen(arrow), widest, &ret->out, err);
    else if (!rc)
        rc = implicit_output(node, ret, widest, err);
    return rc ? rc : check_output(node, ret, err);
}
