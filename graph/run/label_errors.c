#include "graph/run/label_errors.h"

static int64_t largest(const double *score, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        best = score[i] > score[best] ? i : best;
    return best;
}

/* row[j]: distance of what was said so far to the first j labels; now with one more. */
static void say(int64_t said, const int64_t *label, int64_t n, int64_t *row)
{
    int64_t diagonal = row[0]++;
    for (int64_t j = 1; j <= n; j++) {
        int64_t changed = diagonal + (label[j - 1] != said), least = row[j];
        least = row[j - 1] < least ? row[j - 1] : least;
        diagonal = row[j];
        row[j] = changed < least + 1 ? changed : least + 1;
    }
}

int64_t mc_label_errors(const double *score, int64_t steps, int64_t classes, int64_t blank,
                        const int64_t *label, int64_t most, int64_t *row, int64_t *ret_n)
{
    int64_t n = 0, last = blank;
    while (n < most && label[n] >= 0)
        n++;
    for (int64_t j = 0; j <= n; j++)
        row[j] = j;
    for (int64_t t = 0; t < steps; t++) {
        int64_t best = largest(score + t * classes, classes);
        if (best != last && best != blank)
            say(best, label, n, row);
        last = best;
    }
    *ret_n = n;
    return row[n];
}
