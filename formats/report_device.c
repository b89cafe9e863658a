#include "formats/report_device.h"

#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/text.h"

const char *mc_device_where(const json_t *report, char ret[MC_DEVICE_TEXT])
{
    const char *device = mc_json_string(report, "device");
    const char *kernels = mc_json_string(report, "kernels");
    const json_t *gpu = json_object_get(report, "gpu");
    if (!device)
        return NULL;
    snprintf(ret, MC_DEVICE_TEXT, "%.60s", device);
    if (gpu)
        mc_text_add(ret, MC_DEVICE_TEXT, ", %.80s, %.20s", mc_json_string_or(gpu, "name", "?"),
                    mc_json_string_or(gpu, "precision", "?"));
    if (kernels)
        mc_text_add(ret, MC_DEVICE_TEXT, " (%.60s)", kernels);
    return ret;
}

static const char *memory(const json_t *gpu, char ret[MC_DEVICE_TEXT])
{
    char a[MC_TEXT], b[MC_TEXT], c[MC_TEXT];
    double context = mc_json_number(gpu, "context_bytes", 0);
    snprintf(ret, MC_DEVICE_TEXT, "GPU memory: planned %s, taken %s; libraries and copies %s",
             mc_text_bytes(mc_json_number(gpu, "planned_bytes", 0), a),
             mc_text_bytes(mc_json_number(gpu, "peak_bytes", 0), b),
             mc_text_bytes(mc_json_number(gpu, "workspace_bytes", 0), c));
    if (context > 0)
        mc_text_add(ret, MC_DEVICE_TEXT, ", the driver's own %s", mc_text_bytes(context, a));
    return ret;
}

const char *mc_device_sentence(const json_t *report, int i, char ret[MC_DEVICE_TEXT])
{
    const json_t *gpu = json_object_get(report, "gpu");
    const json_t *row = json_array_get(json_object_get(gpu, "on_cpu"), (size_t)(i > 0 ? i - 1 : 0));
    if (!gpu || i < 0)
        return NULL;
    if (!i)
        return memory(gpu, ret);
    if (!row)
        return NULL;
    snprintf(ret, MC_DEVICE_TEXT, "on the CPU: %.0f x %.60s: %.120s",
             mc_json_number(row, "nodes", 0), mc_json_string_or(row, "op", "?"),
             mc_json_string_or(row, "why", "?"));
    return ret;
}
