/* progress.c: how far a run has come: on a terminal one line that is drawn over and over, elsewhere
 * a new line every ten seconds. */
#include <stdarg.h>
#include <unistd.h>
#include "parts.h"

void pith_progress_start(pith_progress *p, const pith_train_options *o, int64_t first, int batch)
{
    *p = (pith_progress){ .file = o->log,
                          .title = o->title ? o->title : "train",
                          .first = first,
                          .steps = o->steps,
                          .batch = batch };
    p->terminal = o->log && isatty(fileno(o->log));
    p->start = p->shown = pith_seconds();
}

static void clear(pith_progress *p)
{
    if (p->drawn) fputs("\r\033[K", p->file);
    p->drawn = false;
}

void pith_progress_show(pith_progress *p, int64_t step, double loss, double waited)
{
    enum { WIDTH = 24 };
    const double now = pith_seconds(), seconds = now - p->start + 1e-9;
    if (!p->file || now - p->shown < (p->terminal ? 0.2 : 10)) return;
    p->shown = now;
    const double steps_per_second = (double)(step - p->first) / seconds;
    const int64_t left = (int64_t)((double)(p->steps - step) / steps_per_second);
    const int filled = (int)(WIDTH * step / p->steps);
    clear(p);
    fprintf(p->file, "%s ", p->title);
    if (p->terminal)
        fprintf(p->file, "[%.*s%*s] ", filled, "########################", WIDTH - filled, "");
    fprintf(p->file,
            "%lld/%lld  loss %.4f  %.0f pairs/s  %lld:%02lld left  %.0f %% waiting for data",
            (long long)step, (long long)p->steps, loss, steps_per_second * p->batch,
            (long long)left / 60, (long long)left % 60, 100 * waited / seconds);
    if (!p->terminal) fputc('\n', p->file);
    p->drawn = p->terminal;
    fflush(p->file);
}

void pith_progress_say(pith_progress *p, const char *format, ...)
{
    if (!p->file) return;
    va_list list;
    va_start(list, format);
    clear(p);
    fprintf(p->file, "%s ", p->title);
    vfprintf(p->file, format, list);
    fputc('\n', p->file);
    fflush(p->file);
    va_end(list);
}

void pith_progress_end(pith_progress *p)
{
    if (!p->file) return;
    clear(p);
    fflush(p->file);
}
