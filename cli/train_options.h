/* Options of training, in groups. */
#ifndef MC_CLI_TRAIN_OPTIONS_H
#define MC_CLI_TRAIN_OPTIONS_H

#include "cli/command.h"

extern const struct mc_option_group mc_options_finetune; /* of the command */
extern const struct mc_option_group mc_options_distill;
extern const struct mc_option_group mc_options_recipe;  /* of `run` */
extern const struct mc_option_group mc_options_chain;   /* of `run`: for all its steps that train */
extern const struct mc_option_group mc_options_recover; /* --finetune, of every pass */
extern const struct mc_option_group mc_options_how;     /* mc_train_params */

#endif
