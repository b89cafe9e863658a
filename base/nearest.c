#include "base/nearest.h"

#include <string.h>

enum { WORD_MAX = 64 };

static int min3(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

int mc_nearest_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    if (n >= WORD_MAX || m >= WORD_MAX)
        return WORD_MAX;
    int rows[3][WORD_MAX + 1];
    int *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++)
        last[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        int *t = before;
        before = last;
        last = row;
        row = t;
    }
    return last[m];
}

void mc_nearest_offer(struct mc_nearest *n, const char *name)
{
    size_t length = strlen(n->word);
    /* A third of the letters may be wrong, one in short words; a clear beginning also counts. */
    int limit = length < 4 ? 1 : (int)(length / 3) + 1;
    int d = mc_nearest_distance(n->word, name);
    if (d > limit && length >= 3 && !strncmp(n->word, name, length))
        d = limit;
    if (d <= limit && (!n->name || d < n->distance)) {
        n->name = name;
        n->distance = d;
    }
}
