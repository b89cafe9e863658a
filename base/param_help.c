#include "base/param.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMNS = 100, HELP_INDENT = 30 };

/* The word for a parameter's value: "FILE", "N", "auto|cpu". */
static const char *value_word(const struct mc_param *p)
{
    if (p->arg)
        return p->arg;
    switch (p->type) {
    case MC_PARAM_INT: return "N";
    case MC_PARAM_REAL: return "X";
    case MC_PARAM_BYTES: return "SIZE";
    case MC_PARAM_CHOICE: return p->choices;
    default: return "TEXT";
    }
}

static void put_wrapped(FILE *out, const char *text, int column)
{
    for (const char *word = text; *word;) {
        int n = (int)strcspn(word, " ");
        if (column + 1 + n > HELP_COLUMNS) {
            fprintf(out, "\n%*s", HELP_INDENT, "");
            column = HELP_INDENT;
        } else if (word != text) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", n, word);
        column += n;
        word += n + (word[n] == ' ');
    }
    fputc('\n', out);
}

static void put_row(FILE *out, const struct mc_param *p)
{
    char head[128], text[1024];
    int n = p->letter ? snprintf(head, sizeof head, "  -%c, --%s", p->letter, p->name)
                      : snprintf(head, sizeof head, "      --%s", p->name);
    if (p->type != MC_PARAM_FLAG)
        n += snprintf(head + n, sizeof head - (size_t)n, " %s", value_word(p));
    if (n >= (int)sizeof head)
        n = (int)sizeof head - 1;
    snprintf(text, sizeof text, "%s%s%s%s%s", p->help, p->repeat ? "; may be repeated" : "",
             p->preset ? " [" : "", p->preset ? p->preset : "", p->preset ? "]" : "");
    fputs(head, out);
    if (n + 2 > HELP_INDENT)
        fprintf(out, "\n%*s", HELP_INDENT, "");
    else
        fprintf(out, "%*s", HELP_INDENT - n, "");
    put_wrapped(out, text, HELP_INDENT);
}

char *mc_param_help(const struct mc_param *table)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    for (const struct mc_param *p = table; p->type; p++)
        put_row(out, p);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    return text;
}
