/* losses.c: pith losses: lists the losses with formula, source and options. */
#include "command.h"

int command_losses(int argc, char **argv)
{
    static const option options[] = { END_OF_OPTIONS };
    parse_options(options, "",
                  "Lists what --loss takes: a name, a name with options (affinity:scale=50), a "
                  "weighted sum\n"
                  "(affinity+0.5*clip), or a C file with a function pith_node *loss(const "
                  "pith_batch *b).",
                  0, 0, argc, argv);
    puts("u, v: unit rows of pictures and texts; s: the trained factor of cosines; u', v', s': "
         "the teacher's.\n");
    for (const pith_loss_entry *e = pith_losses; e->name; e++) {
        printf("%-12s %s%s%s\n%-12s %s\n", e->name, e->source,
               e->teacher ? "; needs a teacher" : "", e->clusters ? "; needs --clusters" : "", "",
               e->formula);
        if (*e->options) printf("%-12s options: %s\n", "", e->options);
        putchar('\n');
    }
    return 0;
}
