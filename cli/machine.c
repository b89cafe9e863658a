#include "cli/machine.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/console.h"
#include "graph/run/device.h"

static const char variable[] = "MCOMPRESS_DEVICE";

const char *mc_machine_default(void)
{
    const char *said = getenv(variable);
    return said && *said ? said : "auto";
}

static const char *device_of(const struct mc_cli *cli)
{
    const char *given = mc_param_text(cli->values, "device");
    return given ? given : mc_machine_default();
}

static const char *precision_of(const struct mc_cli *cli)
{
    const char *given = mc_param_text(cli->values, "precision");
    return given ? given : "fp32";
}

int mc_machine_check(const struct mc_cli *cli, struct mc_err *err)
{
    const char *given = mc_param_text(cli->values, "device");
    int rc = mc_device_check(device_of(cli), given ? "--device" : variable, err);
    if (!rc && given && !strcmp(given, "cpu") && strcmp(precision_of(cli), "fp32"))
        rc = mc_fail(err, MC_EUSAGE, "--precision %s is for a GPU, and --device cpu is none",
                     precision_of(cli));
    return rc;
}

int mc_machine_start(const struct mc_cli *cli, struct mc_err *err)
{
    struct mc_err why;
    struct mc_device_use use;
    if (mc_device_use(cli->pool, &use))
        return 0;
    int rc = mc_device_start(cli->pool, device_of(cli), precision_of(cli), &why, err);
    if (rc)
        return rc;
    if (mc_device_use(cli->pool, &use))
        mc_console_note(cli, "computing on %s, %s, %s", mc_device_name(cli->pool), use.card,
                        use.precision);
    else if (*why.msg)
        mc_console_note(cli, "computing on the CPU: %s", why.msg);
    return 0;
}

int mc_machine_probe(const struct mc_cli *cli, bool *ret_gpu, struct mc_err *err)
{
    struct mc_err why = {0};
    int rc = mc_device_start(NULL, device_of(cli), precision_of(cli), &why, err);
    *ret_gpu = !rc && strcmp(device_of(cli), "cpu") && !*why.msg;
    return rc;
}

static json_t *on_cpu(bool *ok)
{
    json_t *list = json_array();
    struct mc_device_fallback f;
    for (int i = 0; mc_device_fallback(i, &f); i++) {
        json_t *o = json_object();
        mc_json_put(o, "op", mc_json_text(f.op_type), ok);
        mc_json_put(o, "nodes", mc_json_size(f.nodes), ok);
        mc_json_put(o, "why", mc_json_text(f.why), ok);
        mc_json_add(list, o, ok);
    }
    return list;
}

void mc_machine_put(const struct mc_cli *cli, json_t *result, bool *ok)
{
    struct mc_device_use use;
    mc_json_put(result, "device", json_string(mc_device_name(cli->pool)), ok);
    mc_json_put(result, "kernels", mc_json_text(mc_device_kernels()), ok);
    if (!mc_device_use(cli->pool, &use))
        return;
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(use.card), ok);
    mc_json_put(o, "precision", json_string(use.precision), ok);
    mc_json_put(o, "planned_bytes", mc_json_size(use.planned), ok);
    mc_json_put(o, "peak_bytes", mc_json_size(use.peak), ok);
    mc_json_put(o, "workspace_bytes", mc_json_size(use.workspace), ok);
    mc_json_put(o, "context_bytes", mc_json_size(use.context), ok);
    mc_json_put(o, "on_cpu", on_cpu(ok), ok);
    mc_json_put(result, "gpu", o, ok);
}
