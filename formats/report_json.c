#include "formats/report_format.h"

#include <stdlib.h>
#include <string.h>

char *mc_report_json(const json_t *report)
{
    /* 12 digits: 0.8945 stays 0.8945 instead of 0.89449999999999996. */
    char *text = json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    if (!text)
        return NULL;
    size_t n = strlen(text);
    char *line = realloc(text, n + 2);
    if (!line) {
        free(text);
        return NULL;
    }
    memcpy(line + n, "\n", 2);
    return line;
}
