#include "formats/report.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "base/text.h"
#include "formats/report_format.h"

static const struct mc_report_format formats[] = {
    {".json", "every figure, for programs", mc_report_json},
    {".html", "a page to look at, to print and to pass on", mc_report_html},
    {".md", "Markdown, for a pull request", mc_report_md},
    {".txt", "the same text as on the terminal", mc_report_txt},
    {".xml", "JUnit, for CI: a case for every gate", mc_report_xml},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

const struct mc_report_format *mc_report_format_at(size_t i)
{
    return i < N_FORMATS ? &formats[i] : NULL;
}

/* Does a character do something instead of standing for itself? n: its bytes. */
static bool acts(const unsigned char *c, size_t n)
{
    switch (n) {
    case 1: return (*c < 32 && *c != '\n') || *c == 127;
    case 2: return c[0] == 0xc2 && c[1] < 0xa0; /* U+0080 to U+009F */
    case 3: /* U+2028 to U+202E, U+2066 to U+2069: ends of lines, and the direction of text */
        return c[0] == 0xe2 && ((c[1] == 0x80 && c[2] >= 0xa8 && c[2] <= 0xae) ||
                                (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
    default: return n == 0;
    }
}

void mc_report_disarm(char *text)
{
    while (*text) {
        size_t n = mc_text_character(text), bytes = n ? n : 1;
        if (acts((const unsigned char *)text, n))
            memset(text, '?', bytes);
        text += bytes;
    }
}

static int find(const char *path, const struct mc_report_format **ret, struct mc_err *err)
{
    const char *ext = strcmp(path, "-") ? mc_path_ext(path) : ".txt";
    char known[128] = "";
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (!strcasecmp(ext, formats[i].ext)) {
            *ret = &formats[i];
            return 0;
        }
        mc_text_add(known, sizeof known, "%s%s", *known ? ", " : "", formats[i].ext);
    }
    return mc_fail(err, MC_EUSAGE, "report '%s': the name must end in one of %s", path, known);
}

int mc_report_check(const char *path, struct mc_err *err)
{
    const struct mc_report_format *f;
    return find(path, &f, err);
}

int mc_report_write(const json_t *report, const char *path, struct mc_err *err)
{
    const struct mc_report_format *f;
    struct mc_out *out;
    int rc = find(path, &f, err);
    if (rc)
        return rc;
    char *text = f->render(report);
    if (!text)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    rc = mc_out_open(path, &out, err);
    if (!rc) {
        mc_out_write(out, text, strlen(text));
        rc = mc_out_commit(out, err);
    }
    free(text);
    return rc;
}
