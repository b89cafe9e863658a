#include "cli/command.h"
#include "cli/chain.h"

int mc_cmd_step(struct mc_cli *cli, struct mc_err *err)
{
    struct mc_chain c = {0};
    int rc = mc_chain_add(&c, cli, cli->command, cli->pass, cli->values, err);
    if (!rc)
        rc = mc_chain_run(cli, &c, err);
    mc_chain_free(&c);
    return rc;
}
