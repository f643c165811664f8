/* scratch.h: where losses and ops given as files are compiled by commands that have no run of their
 * own. */
#ifndef PITH_SCRATCH_H
#define PITH_SCRATCH_H
const char *scratch_directory(void); /* gone when the program ends */
#endif
