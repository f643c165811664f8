/* scratch.h: a temporary folder for commands that compile a loss or an op, or pack data, and have
 * no run's directory for it. */
#ifndef PITH_SCRATCH_H
#define PITH_SCRATCH_H
const char *scratch_directory(void); /* removed when the program ends */
#endif
