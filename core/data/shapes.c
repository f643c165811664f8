/* shapes.c: draws a set by rule, so that lessons, tests and machines without a network have data:
 * pictures of one coloured shape, of a few equal ones, or of two different ones, with captions that
 * say so. Pair i depends only on (seed, i).
 *
 * One in eight pairs of colour and shape is held out of "train" and "valid": for every shape one
 * colour, and for every colour one shape. All pictures with such a pair are in the split
 * "combination".
 *
 * Twins are pairs 2k and 2k+1 of another such set: the same scene of one object, in which one of
 * size, colour, shape and ground differs, each as often as the others. Both are in one of the
 * splits "train", "valid" and "test", 80, 10 and 10 %; no combination is held out. Couple k depends
 * only on (seed, k). */
#include "parts.h"

enum { SHAPES = 8, COLOURS = 8, GROUNDS = 3 };
enum { SIDE = 4 }; /* SIDE^2 points of every pixel are looked at */

static const char *const shape_name[SHAPES] = { "circle", "square", "triangle", "diamond",
                                                "star",   "cross",  "ring",     "moon" };
static const char *const colour_name[COLOURS] = { "red",  "orange", "yellow", "green",
                                                  "blue", "purple", "pink",   "brown" };
static const double colour_rgb[COLOURS][3] = {
    { 0.88, 0.10, 0.10 }, { 1.00, 0.55, 0.05 }, { 0.96, 0.88, 0.10 }, { 0.12, 0.62, 0.20 },
    { 0.12, 0.30, 0.90 }, { 0.50, 0.12, 0.65 }, { 1.00, 0.55, 0.75 }, { 0.45, 0.27, 0.12 },
};
static const char *const ground_name[GROUNDS] = { "white", "grey", "black" };
static const double ground_level[GROUNDS] = { 1, 0.62, 0.05 };

enum { SIZE, COLOUR, SHAPE, GROUND, ATTRIBUTES }; /* of a scene of one object */
static const int values_of[ATTRIBUTES] = { 2, COLOURS, SHAPES, GROUNDS };

typedef struct {
    int shape, colour;
    double x, y, radius, cosine, sine, rgb[3];
} object;
typedef struct {
    object object[3];
    int count, ground;
} scene;
typedef struct {
    int size;
    uint64_t key;
} rule;
typedef struct {
    uint64_t key, index, draw;
} source;

static double next(source *s) { return pith_uniform_at(s->key, s->index, s->draw++); }
static double between(source *s, double low, double high) { return low + (high - low) * next(s); }
static int below(source *s, int n) { return (int)(next(s) * n); }

static bool is_held_out(int shape, int colour) { return colour == (3 * shape + 2) % COLOURS; }

/* Is (x, y) inside a shape that fills the unit circle? y points down. */
static bool is_inside(int shape, double x, double y)
{
    const double r = hypot(x, y);
    if (r > 1) return false;
    switch (shape) {
    case 0: return r < 0.9;
    case 1: return fabs(x) < 0.7 && fabs(y) < 0.7;
    case 2: return y < 0.6 && fabs(x) < (y + 1) * 0.54;
    case 3: return fabs(x) * 1.55 + fabs(y) < 1;
    case 4: { /* five points: each lies between two tilted edges */
        const double fifth = 2 * 3.14159265358979 / 5, turn = atan2(x, -y);
        const double a = fabs(turn - fifth * round(turn / fifth));
        return r * (cos(a) + 1.376 * sin(a)) < 1;
    }
    case 5: return fabs(x) < 0.28 || fabs(y) < 0.28;
    case 6: return r < 0.95 && r > 0.55;
    default: return r < 0.95 && hypot(x - 0.45, y) > 0.75;
    }
}

static void draw(const object *o, int size, double *picture)
{
    const int left = (int)fmax(0, floor((o->x - o->radius) * size)),
              top = (int)fmax(0, floor((o->y - o->radius) * size));
    const int right = (int)fmin(size, ceil((o->x + o->radius) * size)),
              bottom = (int)fmin(size, ceil((o->y + o->radius) * size));
    for (int y = top; y < bottom; y++)
        for (int x = left; x < right; x++) {
            int hits = 0;
            for (int k = 0; k < SIDE * SIDE; k++) {
                const double u = ((x + (k % SIDE + 0.5) / SIDE) / size - o->x) / o->radius;
                const double v = ((y + (k / SIDE + 0.5) / SIDE) / size - o->y) / o->radius;
                hits += is_inside(o->shape, u * o->cosine + v * o->sine,
                                  v * o->cosine - u * o->sine);
            }
            double *p = picture + 3 * ((size_t)y * (size_t)size + (size_t)x);
            for (int c = 0; c < 3; c++) p[c] += (o->rgb[c] - p[c]) * hits / (SIDE * SIDE);
        }
}

static object make_object(source *s, int shape, int colour, double x, double y, double radius)
{
    const double turn = between(s, -0.2, 0.2);
    object o = { shape, colour, x, y, radius, cos(turn), sin(turn), { 0 } };
    for (int c = 0; c < 3; c++)
        o.rgb[c] = fmin(1, fmax(0, colour_rgb[colour][c] + between(s, -0.06, 0.06)));
    return o;
}

static const char *article(const char *word) { return strchr("aeiou", word[0]) ? "an" : "a"; }

/* An attribute, drawn; in twins `more` tells how many values further it is, for each attribute. */
static int drawn(source *s, int attribute, const int *more)
{
    const int n = values_of[attribute], value = below(s, n);
    return more ? (value + more[attribute]) % n : value;
}

/* Draws "a large red circle on white", anywhere in the picture, or, in twins, anywhere that a large
 * one has room: then all but what `more` changes is the same. more: NULL where there is no twin. */
static void one(source *s, scene *e, pith_pair *p, const int *more)
{
    static const char *const sizes[2] = { "small", "large" };
    const int shape = drawn(s, SHAPE, more), colour = drawn(s, COLOUR, more),
              large = drawn(s, SIZE, more);
    source same = *s; /* one random number for either radius */
    const double radius[2] = { between(&same, 0.16, 0.22), between(s, 0.34, 0.44) };
    const double edge = radius[large || more];
    const double x = between(s, edge, 1 - edge), y = between(s, edge, 1 - edge);
    e->ground = drawn(s, GROUND, more);
    e->object[e->count++] = make_object(s, shape, colour, x, y, radius[large]);
    const char *size = sizes[large], *hue = colour_name[colour], *form = shape_name[shape],
               *ground = ground_name[e->ground];
    snprintf(p->text, sizeof p->text, "a %s %s %s on %s", size, hue, form, ground);
    snprintf(p->words[0], sizeof *p->words, "a picture of a %s, %s and %s", form, size, hue);
    snprintf(p->words[1], sizeof *p->words, "one %s in %s, the ground is %s", form, hue, ground);
    snprintf(p->words[2], sizeof *p->words, "%s: %s, %s %s", ground, size, hue, form);
}

/* Draws "three green stars": equal shapes in a row, which is tilted a little. */
static void some(source *s, scene *e, pith_pair *p)
{
    static const char *const numbers[4] = { "", "", "two", "three" };
    const int shape = below(s, SHAPES), colour = below(s, COLOURS), count = 2 + below(s, 2);
    const double radius = between(s, 0.13, 0.16), start = between(s, 0.17, 0.23),
                 step = (1 - 2 * start) / (count - 1);
    const double y = between(s, 0.3, 0.7), tilt = between(s, -0.15, 0.15);
    const bool upright = next(s) < 0.5;
    for (int k = 0; k < count; k++) {
        const double along = start + k * step, across = y + tilt * (along - 0.5);
        e->object[e->count++] = make_object(s, shape, colour, upright ? across : along,
                                            upright ? along : across, radius);
    }
    const char *number = numbers[count], *hue = colour_name[colour], *form = shape_name[shape],
               *end = shape == 5 ? "es" : "s";
    snprintf(p->text, sizeof p->text, "%s %s %s%s", number, hue, form, end);
    snprintf(p->words[0], sizeof *p->words, "a picture of %s %s%s in %s", number, form, end, hue);
    snprintf(p->words[1], sizeof *p->words, "a row of %s%s, %s of them, all %s", form, end, number,
             hue);
    snprintf(p->words[2], sizeof *p->words, "%d times the same %s %s", count, hue, form);
}

/* Draws "a blue star left of a green square". */
static void two(source *s, scene *e, pith_pair *p)
{
    static const char *const relations[2] = { "left of", "above" }, *const turned[2] = { "right of",
                                                                                         "below" };
    const int way = below(s, 2), shape = below(s, SHAPES), colour = below(s, COLOURS);
    const int other = (shape + 1 + below(s, SHAPES - 1)) % SHAPES,
              hue = (colour + 1 + below(s, COLOURS - 1)) % COLOURS;
    for (int k = 0; k < 2; k++) {
        const double radius = between(s, 0.18, 0.22),
                     along = (k ? 0.75 : 0.25) + between(s, -0.03, 0.03);
        const double across = between(s, 0.3, 0.7);
        e->object[e->count++] = make_object(s, k ? other : shape, k ? hue : colour,
                                            way ? across : along, way ? along : across, radius);
    }
    const char *a = colour_name[colour], *b = colour_name[hue], *first = shape_name[shape],
               *second = shape_name[other];
    snprintf(p->text, sizeof p->text, "%s %s %s %s %s %s %s", article(a), a, first, relations[way],
             article(b), b, second);
    snprintf(p->words[0], sizeof *p->words, "%s %s %s %s %s %s %s", article(b), b, second,
             turned[way], article(a), a, first);
    snprintf(p->words[1], sizeof *p->words, "a picture of two things: %s %s and %s %s", a, first, b,
             second);
    snprintf(p->words[2], sizeof *p->words, "the %s is %s, the %s is %s", first, a, second, b);
}

static void make_scene(source *s, scene *e, pith_pair *p)
{
    const double kind = next(s);
    *e = (scene){ 0 };
    if (kind < 0.5) one(s, e, p, NULL);
    else if (kind < 0.7) some(s, e, p);
    else two(s, e, p);
}

/* Paints the scene of a pair, and fills in what follows from it. */
static void finish(const rule *r, const scene *e, pith_pair *s)
{
    const size_t values = 3 * (size_t)r->size * (size_t)r->size;
    double *picture = malloc(sizeof(double) * values);
    s->caption = s->text;
    s->source = s->name;
    s->label = e->object[0].shape * COLOURS + e->object[0].colour;
    if (e->count == 2 && e->object[0].shape != e->object[1].shape) s->label = -1;
    if (!picture) {
        s->state = PITH_UNREADABLE;
        snprintf(s->why, sizeof s->why, "no memory");
        return;
    }
    for (size_t k = 0; k < values; k++) picture[k] = ground_level[e->ground];
    for (int k = 0; k < e->count; k++) draw(&e->object[k], r->size, picture);
    for (size_t k = 0; k < values; k++) s->rgb[k] = (uint8_t)lround(255 * picture[k]);
    free(picture);
}

static void make_pair(const void *context, int i, pith_pair *s)
{
    const rule *r = context;
    source random = { r->key, (uint64_t)i, 0 };
    const double share = next(&random);
    const bool held = share < 0.1;
    scene e;
    bool found;
    do { /* draws until the scene belongs to the split: one in six is held out */
        make_scene(&random, &e, s);
        found = false;
        for (int k = 0; k < e.count; k++)
            found = found || is_held_out(e.object[k].shape, e.object[k].colour);
    } while (found != held);
    snprintf(s->name, sizeof s->name, "shape-%06d", i);
    s->split = held ? "combination" : share < 0.2 ? "valid" : "train";
    for (int k = 0; k < 3; k++) s->list[k] = s->words[k];
    s->list[3] = NULL;
    if (!strcmp(s->split, "train")) s->synthetic = s->list;
    finish(r, &e, s);
}

/* Both twins are drawn with the same random numbers. They have no synthetic captions, for of those
 * none tells all attributes. */
static void make_twin(const void *context, int i, pith_pair *s)
{
    const rule *r = context;
    source random = { r->key, (uint64_t)(i / 2), 0 };
    const double share = next(&random);
    const int attribute = below(&random, ATTRIBUTES),
              further = 1 + below(&random, values_of[attribute] - 1);
    int more[ATTRIBUTES] = { 0 };
    scene e = { 0 };
    if (i % 2) more[attribute] = further;
    one(&random, &e, s, more);
    snprintf(s->name, sizeof s->name, "twin-%06d", i);
    s->split = share < 0.1 ? "test" : share < 0.2 ? "valid" : "train";
    finish(r, &e, s);
}

/* ---- sets ---- */

static bool pack_all(const char *out, int count, pith_maker *make, const rule *r)
{
    pith_pack_report report = { 0 };
    pith_packer *p = pith_packer_new(out, r->size);
    if (!p) return false;
    if (pith_pack_all(p, r->size, count, make, r, &report) &&
        (report.read == count || pith_raise("%s: %s", out, report.first_bad)))
        return pith_packer_finish(p);
    pith_packer_drop(p);
    return false;
}

bool pith_pack_shapes(const char *out, int size, int count, uint64_t seed)
{
    const rule r = { size, pith_hash("shapes", seed) };
    return pack_all(out, count, make_pair, &r);
}

bool pith_pack_twins(const char *out, int size, int count, uint64_t seed)
{
    const rule r = { size, pith_hash("twins", seed) };
    if (count % 2)
        return pith_raise("%s: twins come in twos: expected an even number of pictures, found %d",
                          out, count);
    return pack_all(out, count, make_twin, &r);
}
