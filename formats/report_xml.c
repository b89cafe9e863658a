#include "formats/report_xml.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/text.h"

/* A character of XML 1.0, section 2.2. c: of n bytes of UTF-8, lead and length right. */
static bool allowed(const unsigned char *c, size_t n)
{
    if (n == 1)
        return *c >= 0x20 ? *c != 0x7f : *c == '\t' || *c == '\n';
    if (n == 2) /* U+0080 to U+009F may be there, but nothing good comes of them */
        return c[0] != 0xc2 || c[1] >= 0xa0;
    return !(n == 3 && c[0] == 0xef && c[1] == 0xbf && c[2] >= 0xbe); /* U+FFFE, U+FFFF */
}

void mc_xml_put(FILE *out, const char *text)
{
    enum { MOST = 4000 };
    char *clean = malloc(4 * MOST + 4);
    if (!clean)
        return; /* what is missing shows that memory was */
    mc_text_short(text, MOST, clean, 4 * MOST + 4);
    for (const unsigned char *c = (const unsigned char *)clean; *c;) {
        size_t n = *c < 0x80 ? 1 : *c < 0xe0 ? 2 : *c < 0xf0 ? 3 : 4;
        if (!allowed(c, n))
            fputc('?', out);
        else if (*c == '&')
            fputs("&amp;", out);
        else if (*c == '<')
            fputs("&lt;", out);
        else if (*c == '>')
            fputs("&gt;", out);
        else if (*c == '"')
            fputs("&quot;", out);
        else
            fwrite(c, 1, n, out);
        c += n;
    }
    free(clean);
}

static void attribute(FILE *out, const char *name, const char *value)
{
    fprintf(out, " %s=\"", name);
    mc_xml_put(out, value);
    fputc('"', out);
}

static void time_of(FILE *out, double seconds)
{
    if (isfinite(seconds))
        fprintf(out, " time=\"%.3f\"", seconds);
}

static void counts(FILE *out, const char *name, const int n[4], double seconds)
{
    attribute(out, "name", name);
    fprintf(out, " tests=\"%d\" failures=\"%d\" errors=\"%d\" skipped=\"%d\"",
            n[MC_XML_PASSED] + n[MC_XML_FAILED] + n[MC_XML_ERROR] + n[MC_XML_SKIPPED],
            n[MC_XML_FAILED], n[MC_XML_ERROR], n[MC_XML_SKIPPED]);
    time_of(out, seconds);
}

void mc_xml_begin(FILE *out, const char *name, const int count[4], double seconds)
{
    fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites", out);
    counts(out, "mcompress", count, seconds);
    fputs(">\n<testsuite", out);
    counts(out, name, count, seconds);
    fputs(">\n", out);
}

void mc_xml_property(FILE *out, int number, const char *name, const char *value)
{
    if (!number && value)
        fputs("<properties>\n", out);
    if (!value) {
        fputs(number ? "</properties>\n" : "", out);
        return;
    }
    fputs("<property", out);
    attribute(out, "name", name);
    attribute(out, "value", value);
    fputs("/>\n", out);
}

void mc_xml_case(FILE *out, const struct mc_xml_case *c)
{
    static const char *const tags[] = {NULL, "failure", "error", "skipped"};
    fputs("<testcase", out);
    attribute(out, "name", c->name);
    attribute(out, "classname", c->class);
    time_of(out, c->seconds);
    fputs(">", out);
    if (c->verdict != MC_XML_PASSED) {
        const char *message = c->message ? c->message : "";
        fprintf(out, "<%s", tags[c->verdict]);
        attribute(out, "message", message);
        if (c->verdict != MC_XML_SKIPPED)
            attribute(out, "type", c->verdict == MC_XML_FAILED ? "gate" : "error");
        fputc('>', out);
        if (c->verdict != MC_XML_SKIPPED)
            mc_xml_put(out, message);
        fprintf(out, "</%s>", tags[c->verdict]);
    }
    if (c->out && *c->out) {
        fputs("<system-out>", out);
        mc_xml_put(out, c->out);
        fputs("</system-out>", out);
    }
    fputs("</testcase>\n", out);
}

void mc_xml_end(FILE *out)
{
    fputs("</testsuite>\n</testsuites>\n", out);
}
