#include "cli/deliver.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "cli/console.h"
#include "cli/machine.h"
#include "formats/report.h"
#include "formats/report_format.h"

/* Can it be written? Found out by opening it without committing anything. */
static int probe(const char *path, struct mc_err *err)
{
    struct mc_out *out;
    if (mc_path_streams(path))
        return 0;
    int rc = mc_out_open(path, &out, err);
    if (!rc)
        mc_out_abort(out);
    return rc;
}

int mc_cli_check_reports(const struct mc_cli *cli, const char *const *files, int n,
                         struct mc_err *err)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(cli->values, "report"), i, v)
    {
        const char *path = json_string_value(v);
        int rc = mc_report_check(path, err);
        for (int k = 0; k < n && !rc; k++)
            if (files[k] && (!strcmp(files[k], path) || mc_path_same(files[k], path)))
                rc = mc_fail(err, MC_EUSAGE,
                             "--report '%s' is a file that the command reads or writes already; "
                             "give another name",
                             path);
        if (!rc)
            rc = probe(path, err);
        if (rc)
            return rc;
    }
    return 0;
}

int mc_cli_deliver(const struct mc_cli *cli, const json_t *result, bool to_stderr,
                   struct mc_err *err)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(cli->values, "report"), i, v)
    {
        int rc = mc_report_write(result, json_string_value(v), err);
        if (rc)
            return rc;
    }
    if (!cli->json && cli->quiet)
        return 0;
    char *text = cli->json ? mc_report_json(result) : mc_report_text(result, mc_console_columns());
    if (!text)
        return mc_fail(err, MC_ENOMEM, "out of memory");
    mc_console_print(text, to_stderr);
    free(text);
    return 0;
}

void mc_cli_put_arguments(const struct mc_cli *cli, json_t *result, bool *ok)
{
    json_t *list = json_array();
    for (int i = 1; i < cli->argc; i++)
        mc_json_add(list, mc_json_text(cli->argv[i]), ok);
    mc_json_put(result, "arguments", list, ok);
}

void mc_cli_put_cost(const struct mc_cli *cli, json_t *result, bool *ok)
{
    mc_json_put(result, "seconds", mc_json_real(mc_now() - cli->start), ok);
    mc_json_put(result, "peak_rss_bytes", mc_json_size(mc_peak_rss()), ok);
    mc_json_put(result, "threads", json_integer(mc_pool_threads(cli->pool)), ok);
    mc_machine_put(cli, result, ok);
}
