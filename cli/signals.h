/* Signals: Ctrl-C asks the running work to stop, a second one ends the program at once. */
#ifndef MC_CLI_SIGNALS_H
#define MC_CLI_SIGNALS_H

void mc_signals_install(void);

#endif
