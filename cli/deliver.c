#include "cli/deliver.h"

#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/json.h"
#include "cli/console.h"
#include "formats/report.h"
#include "formats/report_format.h"
#include "graph/run/device.h"

int mc_cli_check_reports(const struct mc_cli *cli, const char *const *files, int n,
                         struct mc_err *err)
{
    size_t i;
    const json_t *v;
    json_array_foreach(json_object_get(cli->values, "report"), i, v)
    {
        const char *path = json_string_value(v);
        int rc = mc_report_check(path, err);
        if (rc)
            return rc;
        for (int k = 0; k < n; k++)
            if (files[k] && (!strcmp(files[k], path) || mc_path_same(files[k], path)))
                return mc_fail(err, MC_EUSAGE,
                               "--report '%s' would replace the model; give "
                               "another name",
                               path);
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
    mc_json_put(result, "device", json_string("cpu"), ok);
    mc_json_put(result, "kernels", mc_json_text(mc_device_kernels()), ok);
}
