#include <stdlib.h>
#include <string.h>

#include "formats/report_doc.h"
#include "formats/report_format.h"

static void put(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("\\`*_|<>[]#~", *text))
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

static void verdict(FILE *out, enum mc_fact_state state, const char *text)
{
    static const char *const marks[] = {"", "✅ ", "❌ "};
    fprintf(out, "\n%s**", marks[state]);
    put(out, text);
    fputs("**\n", out);
}

static void gate(FILE *out, bool passed, const char *name, const char *text)
{
    fprintf(out, "\n* %s gate ", passed ? "✅" : "❌");
    put(out, name);
    fputc(' ', out);
    put(out, text);
    fputc('\n', out);
}

static void remark(FILE *out, enum mc_remark kind, const char *text)
{
    fputs(kind == MC_REMARK_WARNING ? "\n⚠️ warning: " : "\n", out);
    put(out, text);
    fputc('\n', out);
}

/* HTML, which the writers of Markdown that people look at all know; an empty line makes Markdown of what follows. */
static void fold(FILE *out, const char *summary)
{
    if (!summary) {
        fputs("\n</details>\n", out);
        return;
    }
    fputs("\n<details><summary>", out);
    put(out, summary);
    fputs("</summary>\n", out);
}

static const struct mc_doc markdown = {heading, paragraph, code, row,  verdict,
                                       gate,    remark,    fold, NULL, true};

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
