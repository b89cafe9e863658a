#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/census.h"
#include "cli/command.h"
#include "cli/deliver.h"
#include "cli/models.h"
#include "cli/packed.h"
#include "formats/onnx_about.h"
#include "graph/infer.h"
#include "graph/summary.h"

enum { LARGEST = 5 };

/* {name, type, shape} of an input or output as declared. */
static json_t *value(const struct mc_value *v, bool *ok)
{
    const struct mc_type *t = &v->type;
    json_t *o = json_object(), *dims = json_array();
    mc_json_put(o, "name", mc_json_text(v->name), ok);
    mc_json_put(o, "type",
                json_string(t->kind == MC_TYPE_TENSOR     ? mc_dtype_name(t->dtype)
                            : t->kind == MC_TYPE_SEQUENCE ? "sequence"
                            : t->kind == MC_TYPE_OPTIONAL ? "optional"
                            : t->kind == MC_TYPE_OTHER    ? "not a tensor"
                                                          : "undeclared"),
                ok);
    if (t->kind == MC_TYPE_TENSOR && t->ranked) {
        for (int i = 0; i < t->rank; i++)
            mc_json_add(dims,
                        t->dim[i].value >= 0 ? json_integer(t->dim[i].value)
                                             : mc_json_text(t->dim[i].param),
                        ok);
        mc_json_put(o, "shape", dims, ok);
    } else {
        json_decref(dims);
        mc_json_put(o, "shape", json_null(), ok);
    }
    return o;
}

static json_t *values(struct mc_value *const *list, size_t n, bool *ok)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        if (!list[i]->tensor || list[i]->is_output)
            mc_json_add(a, value(list[i], ok), ok);
    return a;
}

static json_t *opsets(const struct mc_model *m, bool *ok)
{
    json_t *o = json_object();
    for (size_t i = 0; i < m->n_opsets; i++) {
        json_t *domain = mc_json_text(*m->opsets[i].domain ? m->opsets[i].domain : "ai.onnx");
        const char *name = json_string_value(domain);
        mc_json_put(o, name ? name : "", json_integer(m->opsets[i].version), ok);
        json_decref(domain);
    }
    return o;
}

/* {"float": {tensors, elements, bytes}, …} */
static json_t *weights(const struct mc_census *c, bool *ok)
{
    json_t *o = json_object();
    for (size_t i = 0; i < c->n_tensors; i++) {
        const struct mc_tensor *t = c->tensors[i].tensor;
        const char *type = mc_dtype_name(t->dtype);
        if (!json_object_get(o, type))
            mc_json_put(o, type, json_object(), ok);
        json_t *row = json_object_get(o, type);
        double elements = mc_json_number(row, "elements", 0) + (double)mc_tensor_count(t);
        double bytes = mc_json_number(row, "bytes", 0) + (double)t->bytes;
        mc_json_put(row, "tensors", json_integer((json_int_t)mc_json_number(row, "tensors", 0) + 1),
                    ok);
        mc_json_put(row, "elements", mc_json_size((uint64_t)elements), ok);
        mc_json_put(row, "bytes", mc_json_size((uint64_t)bytes), ok);
    }
    return o;
}

static json_t *largest(const struct mc_census *c, bool *ok)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_tensors && i < LARGEST; i++) {
        const struct mc_tensor *t = c->tensors[i].tensor;
        json_t *o = json_object(), *dims = json_array();
        for (int k = 0; k < t->shape.rank; k++)
            mc_json_add(dims, json_integer(t->shape.dim[k]), ok);
        mc_json_put(o, "name", mc_json_text(c->tensors[i].name), ok);
        mc_json_put(o, "type", json_string(mc_dtype_name(t->dtype)), ok);
        mc_json_put(o, "shape", dims, ok);
        mc_json_put(o, "bytes", mc_json_size(t->bytes), ok);
        mc_json_add(list, o, ok);
    }
    return list;
}

static void put_file(json_t *r, const struct mc_model *m, const struct mc_onnx_about *a, bool *ok)
{
    json_t *producer = json_object(), *external = json_array(), *functions = json_array();
    json_t *meta = json_object();
    mc_json_put(producer, "name", mc_json_text(a->producer), ok);
    mc_json_put(producer, "version", mc_json_text(a->version), ok);
    for (size_t i = 0; i < a->n_external; i++)
        mc_json_add(external, mc_json_text(a->external[i].location), ok);
    for (size_t i = 0; i < m->n_functions; i++) {
        const struct mc_function *f = m->functions[i];
        char name[256];
        snprintf(name, sizeof name, "%s%s%s", f->domain, *f->domain ? "." : "", f->name);
        mc_json_add(functions, mc_json_text(name), ok);
    }
    for (size_t i = 0; i < m->n_meta; i++) {
        json_t *key = mc_json_text(m->meta[i].key);
        const char *name = json_string_value(key);
        mc_json_put(meta, name ? name : "", mc_json_text(m->meta[i].value), ok);
        json_decref(key);
    }
    mc_json_put(r, "ir_version", json_integer(m->ir_version), ok);
    mc_json_put(r, "opsets", opsets(m, ok), ok);
    mc_json_put(r, "producer", producer, ok);
    mc_json_put(r, "doc", mc_json_text(a->doc), ok);
    mc_json_put(r, "metadata", meta, ok);
    mc_json_put(r, "functions", functions, ok);
    mc_json_put(r, "external_files", external, ok);
}

/* Declared types that inference found wrong: exporters write such, and nothing believes them. */
static int put_contradictions(json_t *r, const struct mc_graph *g, bool *ok, struct mc_err *err)
{
    struct mc_infer *inf;
    struct mc_err unused;
    json_t *list = json_array();
    int rc = mc_infer_run(g, NULL, &inf, &unused);
    for (size_t i = 0; !rc && i < mc_infer_n_conflicts(inf) && mc_infer_conflict(inf, i); i++)
        mc_json_add(list, mc_json_text(mc_infer_conflict(inf, i)), ok);
    if (!rc)
        mc_infer_free(inf);
    mc_json_put(r, "contradictions", list, ok);
    return rc == MC_ENOMEM ? mc_fail(err, rc, "%s", unused.msg) : 0;
}

static int describe(const struct mc_cli_model *m, json_t *r, struct mc_err *err)
{
    struct mc_summary s;
    struct mc_census c = {0};
    struct mc_onnx_about a = {0};
    const struct mc_graph *g = m->model->graph;
    bool ok = true;
    int rc = mc_summary(m->model, &s, err);
    if (!rc)
        rc = mc_census_take(m->model, &c, err);
    if (!rc)
        rc = mc_onnx_about(m->path, m->model, &a, err);
    if (!rc) {
        mc_json_put(r, "mcompress", json_string(MC_VERSION), &ok);
        mc_json_put(r, "command", json_string("info"), &ok);
        mc_json_put(r, "path", mc_json_text(m->name), &ok);
        mc_json_put(r, "bytes", mc_json_size(a.bytes), &ok);
        put_file(r, m->model, &a, &ok);
        mc_json_put(r, "inputs", values(g->inputs, g->n_inputs, &ok), &ok);
        mc_json_put(r, "outputs", values(g->outputs, g->n_outputs, &ok), &ok);
        mc_json_put(r, "parameters", json_integer(s.parameters), &ok);
        mc_json_put(r, "macs", s.macs < 0 ? json_null() : mc_json_size((uint64_t)s.macs), &ok);
        mc_json_put(r, "nodes", json_integer(c.nodes), &ok);
        mc_json_put(r, "operators", json_incref(c.operators), &ok);
        mc_json_put(r, "unsupported", json_incref(c.unsupported), &ok);
        mc_json_put(r, "weights", weights(&c, &ok), &ok);
        mc_json_put(r, "largest", largest(&c, &ok), &ok);
        mc_cli_put_packed(r, m->model, &ok);
        rc = put_contradictions(r, g, &ok, err);
    }
    if (!rc) {
        rc = ok ? 0 : mc_fail(err, MC_ENOMEM, "out of memory");
    }
    mc_onnx_about_free(&a);
    mc_census_free(&c);
    return rc;
}

int mc_cmd_info(struct mc_cli *cli, struct mc_err *err)
{
    struct mc_cli_model m = {0};
    const char *name = mc_cli_operand(cli, 0);
    int rc = mc_cli_check_reports(cli, &name, 1, err);
    if (!rc)
        rc = mc_cli_read(name, &m, err);
    json_t *r = json_object();
    if (!rc)
        rc = describe(&m, r, err);
    if (!rc)
        rc = mc_cli_deliver(cli, r, false, err);
    json_decref(r);
    mc_cli_close(&m);
    return rc;
}
