/* room.c: memory for making a plan. Where there is none left, making it ends at once, wherever it
 * stands: so the pages that make plans ask for memory without looking at what they get. */
#include "inside.h"

typedef struct piece {
    struct piece *before, *after;
    max_align_t memory[];
} piece;

static _Thread_local pith_room *current;

bool pith_room_run(pith_room *room, bool (*make)(void *), void *context)
{
    pith_room *volatile outer = current; /* volatile: as it was, also when longjmp comes here */
    current = room;
    const bool good = setjmp(room->no_memory) ? pith_raise("no memory for a plan") : make(context);
    current = outer;
    return good;
}

void *pith_room_get(size_t count, size_t size)
{
    piece *p = calloc(1, sizeof *p + (count ? count : 1) * size);
    if (!p) longjmp(current->no_memory, 1);
    p->after = current->pieces;
    if (p->after) p->after->before = p;
    current->pieces = p;
    return p->memory;
}

void pith_room_return(void *memory)
{
    if (!memory) return;
    piece *p = (piece *)((char *)memory - offsetof(piece, memory));
    if (p->before) p->before->after = p->after;
    else current->pieces = p->after;
    if (p->after) p->after->before = p->before;
    free(p);
}

void pith_room_empty(pith_room *room)
{
    for (piece *p = room->pieces, *next; p; p = next) next = p->after, free(p);
    room->pieces = NULL;
}
