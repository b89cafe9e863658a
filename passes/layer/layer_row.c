#include "passes/layer/layer_row.h"

#include "base/json.h"

json_t *mc_layer_row(const struct mc_node *n, const char *done, const char *reason, bool *ok)
{
    json_t *o = json_object();
    mc_json_put(o, "name", mc_json_text(mc_node_label(n)), ok);
    mc_json_put(o, "op", mc_json_text(n->op_type), ok);
    mc_json_put(o, "action", json_string(reason ? "left" : done), ok);
    mc_json_put(o, "reason", mc_json_text(reason), ok);
    return o;
}

json_t *mc_layer_row_left(const struct mc_node *n, const char *reason, bool *ok)
{
    json_t *o = mc_layer_row(n, "", reason, ok);
    mc_json_put(o, "action", json_string("left"), ok); /* even without a reason */
    mc_json_put(o, "bytes_before", mc_json_size(0), ok);
    mc_json_put(o, "bytes_after", mc_json_size(0), ok);
    return o;
}
