#include "formats/csv.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { BLOCK = 1 << 16, ROW_MAX = 1 << 28, FIELDS_MAX = 1 << 24 };

struct mc_csv {
    const char *what;
    struct mc_stream *stream;
    uint8_t block[BLOCK];
    size_t n_block, at;
    bool end;
    char separator;
    size_t line, row_line;
    char *text; /* of the row, fields closed by NUL */
    size_t n_text, cap_text;
    size_t *start; /* of each field in text */
    char **fields;
    size_t n, cap_start, cap_fields;
};

/* The next byte, or -1 at the end; *rc on a damaged stream. */
static int peek(struct mc_csv *c, int *rc, struct mc_err *err)
{
    if (c->at == c->n_block && !c->end && !*rc) {
        c->at = c->n_block = 0;
        *rc = mc_stream_read_some(c->stream, c->block, BLOCK, &c->n_block, err);
        c->end = *rc || c->n_block < BLOCK;
    }
    return c->at < c->n_block ? c->block[c->at] : -1;
}

static void find_separator(struct mc_csv *c)
{
    static const char candidates[] = "\t;,";
    size_t count[3] = {0};
    bool quoted = false;
    for (size_t i = 0; i < c->n_block && (quoted || c->block[i] != '\n'); i++) {
        quoted ^= c->block[i] == '"';
        for (int k = 0; k < 3 && !quoted; k++)
            count[k] += c->block[i] == candidates[k];
    }
    c->separator = count[0] ? '\t' : count[1] ? ';' : ',';
}

int mc_csv_open(const struct mc_stream_src *src, const char *what, struct mc_csv **ret,
                struct mc_err *err)
{
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf}; /* what Excel puts before UTF-8 */
    struct mc_csv *c = mc_calloc(1, sizeof *c);
    if (!c)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    c->what = what;
    c->line = 1;
    int rc = mc_stream_new(src, what, &c->stream, err);
    if (!rc)
        peek(c, &rc, err);
    if (rc) {
        mc_csv_close(c);
        return rc;
    }
    if (c->n_block >= sizeof mark && !memcmp(c->block, mark, sizeof mark))
        c->at = sizeof mark;
    find_separator(c);
    *ret = c;
    return 0;
}

void mc_csv_close(struct mc_csv *c)
{
    if (!c)
        return;
    mc_stream_free(c->stream);
    free(c->text);
    free(c->start);
    free(c->fields);
    free(c);
}

size_t mc_csv_line(const struct mc_csv *c)
{
    return c->row_line;
}

static int put(struct mc_csv *c, char byte, struct mc_err *err)
{
    if (c->n_text >= ROW_MAX)
        return mc_fail(err, MC_EFORMAT, "%s: line %zu: a row of more than %d bytes", c->what,
                       c->row_line, ROW_MAX);
    if (!MC_GROW(c->text, c->n_text, c->cap_text))
        return mc_fail(err, MC_ENOMEM, "out of memory");
    c->text[c->n_text++] = byte;
    return 0;
}

static int begin_field(struct mc_csv *c, struct mc_err *err)
{
    if (c->n >= FIELDS_MAX || !MC_GROW(c->start, c->n, c->cap_start))
        return mc_fail(err, MC_ENOMEM, "%s: line %zu: too many columns", c->what, c->row_line);
    c->start[c->n++] = c->n_text;
    return 0;
}

/* Inside quotes, up to the closing one. */
static int quoted(struct mc_csv *c, struct mc_err *err)
{
    size_t line = c->line;
    int rc = 0, byte;
    while (!rc && (byte = peek(c, &rc, err)) >= 0) {
        c->at++;
        c->line += byte == '\n';
        if (byte == '"') {
            if (peek(c, &rc, err) != '"')
                return rc;
            c->at++;
        }
        rc = rc ? rc : put(c, (char)byte, err);
    }
    return rc ? rc
              : mc_fail(err, MC_EFORMAT, "%s: line %zu, column %zu: a quote is not closed", c->what,
                        line, c->n);
}

static void trim(struct mc_csv *c)
{
    size_t start = c->start[c->n - 1];
    while (c->n_text > start && (c->text[c->n_text - 1] == ' ' || c->text[c->n_text - 1] == '\r'))
        c->n_text--;
}

/* Up to and with the separator or the end of the line; *ret_last: the row ends here. */
static int field(struct mc_csv *c, bool *ret_last, struct mc_err *err)
{
    int rc = begin_field(c, err), byte = -1;
    bool was_quoted = false;
    *ret_last = true;
    while (!rc && (byte = peek(c, &rc, err)) >= 0) {
        c->at++;
        if (byte == '\n' || byte == c->separator)
            break;
        if (byte == '"' && c->n_text == c->start[c->n - 1]) {
            rc = quoted(c, err);
            was_quoted = true;
        } else if (!byte || (was_quoted && byte != ' ' && byte != '\r')) {
            rc = mc_fail(err, MC_EFORMAT, "%s: line %zu, column %zu: %s", c->what, c->line, c->n,
                         byte ? "text behind a closing quote" : "a zero byte: this is no text");
        } else if (!was_quoted && (byte != ' ' || c->n_text > c->start[c->n - 1])) {
            rc = put(c, (char)byte, err);
        }
    }
    if (rc)
        return rc;
    *ret_last = byte != c->separator;
    c->line += byte == '\n';
    if (!was_quoted)
        trim(c);
    return put(c, 0, err);
}

int mc_csv_row(struct mc_csv *c, char ***ret_fields, size_t *ret_n, struct mc_err *err)
{
    int rc = 0;
    bool last, empty = true;
    *ret_n = 0;
    while (empty) {
        if (peek(c, &rc, err) < 0)
            return rc ? rc : mc_stream_finish(c->stream, err);
        c->n_text = c->n = 0;
        c->row_line = c->line;
        do
            rc = field(c, &last, err);
        while (!rc && !last);
        if (rc)
            return rc;
        empty = c->n == 1 && !c->text[0];
    }
    if (c->n > c->cap_fields) {
        char **p = mc_realloc(c->fields, c->n, sizeof *p);
        if (!p)
            return mc_fail(err, MC_ENOMEM, "out of memory");
        c->fields = p;
        c->cap_fields = c->n;
    }
    for (size_t i = 0; i < c->n; i++)
        c->fields[i] = c->text + c->start[i];
    *ret_fields = c->fields;
    *ret_n = c->n;
    return 0;
}
