#include "cli/command.h"

#include <stddef.h>
#include <string.h>

#include "base/nearest.h"
#include "cli/options.h"
#include "cli/train_options.h"

static const struct mc_command commands[] = {
    {"info",
     "MODEL",
     1,
     1,
     "what a model holds: shapes, sizes, operators, weights",
     "mcompress info models/fashion-mlp.onnx",
     {&mc_options_report, &mc_options_general},
     false,
     mc_cmd_info},
    {"eval",
     "MODEL [REFERENCE]",
     1,
     2,
     "run a model on samples: accuracy, and agreement with a reference",
     "mcompress eval small.onnx models/fashion-mlp.onnx --data fashion-mnist:test",
     {&mc_options_data, &mc_options_outputs, &mc_options_gate, &mc_options_run, &mc_options_report,
      &mc_options_general},
     true,
     mc_cmd_eval},
    {"bench",
     "MODEL",
     1,
     1,
     "how fast a model runs, what its nodes cost, and the memory it takes",
     "mcompress bench models/fashion-cnn.onnx --batch 64 --runs 20",
     {&mc_options_bench, &mc_options_device, &mc_options_report, &mc_options_general},
     true,
     mc_cmd_bench},
    {"finetune",
     "MODEL",
     1,
     1,
     "train a model further on samples, from the start, or for other classes",
     "mcompress finetune small.onnx --train fashion-mnist:train --epochs 2 -o better.onnx",
     {&mc_options_finetune, &mc_options_write, &mc_options_data, &mc_options_gate, &mc_options_how,
      &mc_options_run, &mc_options_report, &mc_options_general},
     true,
     mc_cmd_step},
    {"distill",
     "TEACHER",
     1,
     1,
     "train a smaller model to answer as a larger one does",
     "mcompress distill large.onnx --student small.onnx --train fashion-mnist:train -o out.onnx",
     {&mc_options_distill, &mc_options_write, &mc_options_data, &mc_options_gate, &mc_options_how,
      &mc_options_run, &mc_options_report, &mc_options_general},
     true,
     mc_cmd_step},
    {"run",
     "RECIPE MODEL",
     2,
     2,
     "a chain of steps: passes, finetune, distill; from a text or a file",
     "mcompress run svd:keep=0.2,finetune:epochs=2 model.onnx --train SPEC -o out.onnx",
     {&mc_options_recipe, &mc_options_chain, &mc_options_write, &mc_options_calib, &mc_options_data,
      &mc_options_gate, &mc_options_how, &mc_options_run, &mc_options_report, &mc_options_general},
     true,
     mc_cmd_run},
    {"batch",
     "RECIPE DIR",
     2,
     2,
     "compress every .onnx below a folder; one failure does not stop the rest",
     "mcompress batch svd:keep=0.3 models --data '{dir}/{stem}.npz' -o small -j 4 --report "
     "all.html",
     {&mc_options_batch, &mc_options_chain, &mc_options_calib, &mc_options_data, &mc_options_gate,
      &mc_options_how, &mc_options_run, &mc_options_report, &mc_options_general},
     true,
     mc_cmd_batch},
    {"list",
     "passes|operators|formats|devices",
     1,
     1,
     "what this program knows",
     "mcompress list passes",
     {&mc_options_general},
     false,
     mc_cmd_list},
    {"help",
     "[COMMAND]",
     0,
     1,
     "how to use a command",
     "mcompress help svd",
     {&mc_options_help, &mc_options_general},
     false,
     mc_cmd_help},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

/* Every pass runs through this one; its name, summary, example and own options come from the pass. */
static const struct mc_command pass_command = {
    NULL,
    "MODEL",
    1,
    1,
    NULL,
    NULL,
    {&mc_options_write, &mc_options_search, &mc_options_calib, &mc_options_data, &mc_options_gate,
     &mc_options_recover, &mc_options_how, &mc_options_run, &mc_options_report,
     &mc_options_general},
    true,
    mc_cmd_step};

const struct mc_command *mc_command_at(size_t i, const struct mc_pass **ret_pass)
{
    const struct mc_pass *pass = i < N_COMMANDS ? NULL : mc_pass_at(i - N_COMMANDS);
    if (ret_pass)
        *ret_pass = pass;
    return i < N_COMMANDS ? &commands[i] : pass ? &pass_command : NULL;
}

int mc_command_find(const char *name, const struct mc_command **ret,
                    const struct mc_pass **ret_pass, struct mc_err *err)
{
    struct mc_nearest near = {.word = name};
    const struct mc_command *c;
    const struct mc_pass *pass;
    for (size_t i = 0; (c = mc_command_at(i, &pass)); i++) {
        const char *known = pass ? pass->name : c->name;
        if (!strcmp(known, name)) {
            *ret = c;
            *ret_pass = pass;
            return 0;
        }
        mc_nearest_offer(&near, known);
    }
    if (near.name)
        return mc_fail(err, MC_EUSAGE, "unknown command '%s'; did you mean %s?", name, near.name);
    return mc_fail(err, MC_EUSAGE, "unknown command '%s'; 'mcompress help' lists them", name);
}

const char *mc_cli_operand(const struct mc_cli *cli, size_t i)
{
    return json_string_value(json_array_get(json_object_get(cli->values, "operands"), i));
}
