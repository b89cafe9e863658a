#include "passes/search_state.h"

int mc_hunt_drop(struct mc_hunt *h, struct mc_err *err)
{
    return mc_hunt_budget(h, err);
}
