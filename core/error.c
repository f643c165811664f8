/* error.c: one channel for every error: a message, kept for the thread, and a handler. */
#include "inside.h"

static pith_handler *handler = pith_die;
static void *handler_context;
static _Thread_local char latest[4096];

void pith_on_error(pith_handler *f, void *context)
{
    handler = f ? f : pith_die;
    handler_context = context;
}

void pith_die(const char *message, void *context)
{
    (void)context;
    fflush(stdout);
    fprintf(stderr, "%s\n", message);
    exit(1);
}

const char *pith_error(void) { return latest; }

void pith_report(const char *message)
{
    if (message != latest) snprintf(latest, sizeof latest, "%s", message);
    handler(latest, handler_context);
}

bool pith_raise(const char *format, ...)
{
    char text[sizeof latest]; /* the arguments may be the latest message itself */
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    pith_report(text);
    return false;
}
