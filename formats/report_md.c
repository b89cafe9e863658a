#include <stdlib.h>
#include <string.h>

#include "formats/report_doc.h"
#include "formats/report_format.h"

static void put(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("\\`*_|<>[]#", *text))
            fputc('\\', out);
        fputc(*text == '\n' ? ' ' : *text, out);
    }
}

static void heading(FILE *out, int level, const char *text)
{
    fprintf(out, "%s%.*s ", level > 1 ? "\n" : "", level, "###");
    put(out, text);
    fputc('\n', out);
}

static void paragraph(FILE *out, const char *text)
{
    fputc('\n', out);
    put(out, text);
    fputc('\n', out);
}

/* Indented, so that nothing in it can end it. */
static void code(FILE *out, const char *text)
{
    fputs("\n    ", out);
    for (const char *c = text; *c; c++) {
        fputc(*c, out);
        if (*c == '\n' && c[1])
            fputs("    ", out);
    }
    fputc('\n', out);
}

static void row(FILE *out, const char *columns, int number, const char *const *cells)
{
    if (!cells)
        return;
    if (!number)
        fputc('\n', out);
    for (size_t i = 0; columns[i]; i++) {
        fputs("| ", out);
        put(out, cells[i]);
        fputc(' ', out);
    }
    fputs("|\n", out);
    for (size_t i = 0; !number && columns[i]; i++)
        fputs(columns[i] == 'r' ? "|---:" : "|---", out);
    if (!number)
        fputs("|\n", out);
}

static const struct mc_doc markdown = {heading, paragraph, code, row, NULL};

char *mc_report_md(const json_t *report)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    mc_doc_write(&markdown, report, out);
    if (fclose(out)) {
        free(text);
        return NULL;
    }
    mc_report_disarm(text);
    return text;
}
