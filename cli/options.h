/* Options shared by commands, in groups; the defaults live here. */
#ifndef MC_CLI_OPTIONS_H
#define MC_CLI_OPTIONS_H

#include "cli/command.h"

extern const struct mc_option_group mc_options_general; /* --json, -q, -v, --help */
extern const struct mc_option_group mc_options_bench;
extern const struct mc_option_group mc_options_report; /* --report */
extern const struct mc_option_group mc_options_run; /* --threads, --seed, --device, --precision */
extern const struct mc_option_group mc_options_device; /* --device, --precision */
extern const struct mc_option_group mc_options_data; /* --data, --preprocess, --output, --samples */
extern const struct mc_option_group mc_options_outputs; /* --rtol, --atol, --save-outputs */
extern const struct mc_option_group mc_options_gate;    /* --max-drop, --min-sqnr, --require */
extern const struct mc_option_group mc_options_write;   /* -o, --dry-run, … */
extern const struct mc_option_group mc_options_calib;   /* --calib, --calib-count */
extern const struct mc_option_group mc_options_batch;   /* -o, -j, limits, … */
extern const struct mc_option_group mc_options_search; /* --target, --auto, --time, --choices, … */
extern const struct mc_option_group mc_options_help;

#endif
