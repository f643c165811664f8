/* tests.h: what the test programs share. */
#ifndef PITH_TESTS_H
#define PITH_TESTS_H
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include "core.h"
#include "inside.h"
#include <cmocka.h>

static inline int pith_results_of(const pith_op *op) { return pith_results(op); }
static inline node *pith_graph_node(pith_graph *g, int id) { return g->nodes[id]; }

/* Errors are kept for pith_error(), not printed: tests look at them. */
static inline void test_handler(const char *message, void *context) { (void)message, (void)context; }
#endif
