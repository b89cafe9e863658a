#include "formats/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/io.h"
#include "formats/report_format.h"

static const struct mc_report_format formats[] = {
    {".json", "every figure, for programs", mc_report_json},
    {".html", "a page to look at, with the curves of training", mc_report_html},
    {".md", "Markdown", mc_report_md},
    {".txt", "the same text as on the terminal", mc_report_txt},
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

const struct mc_report_format *mc_report_format_at(size_t i)
{
    return i < N_FORMATS ? &formats[i] : NULL;
}

static int find(const char *path, const struct mc_report_format **ret, struct mc_err *err)
{
    const char *ext = strcmp(path, "-") ? mc_path_ext(path) : ".txt";
    char known[128];
    int n = 0;
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (!strcasecmp(ext, formats[i].ext)) {
            *ret = &formats[i];
            return 0;
        }
        n += snprintf(known + n, sizeof known - (size_t)n, "%s%s", n ? ", " : "", formats[i].ext);
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
