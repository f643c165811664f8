/* loop.c: the training loop. A step is one run of a plan (program.c). There is one graph for each
 * number of tokens that batches have, built when the first such batch comes; all work on the same
 * store.
 *
 * What a step does depends only on its number and on the store, so an interrupted run goes on to
 * the same bits. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "parts.h"

enum { MOST_SKIPPED = 100 }; /* steps in a row that were not finite */

typedef struct {
    const pith_task *task;
    pith_store *store;
    const pith_train_options *o;
    pith_loader_options data;
    pith_loader *loader;
    pith_program programs[PITH_MOST_SIZES];
    int n_programs;
    int taken;                  /* the directory is this process's: a descriptor, or -1 */
    bool resumed;               /* from a checkpoint */
    bool unreached_told;        /* the log has named what is not trained */
    int steps_here;             /* on a device of its own, of this process */
    bool not_repeated_told;     /* why a step is not one launch there */
    bool pixels, second_pixels; /* which pictures the programs read */
    pith_program *next;         /* it is fed `batch`; NULL: no batch was taken yet */
    const pith_host_batch *batch;
    pith_real lr, progress;
    int step_number;
    int64_t step, saved, evaluated; /* steps done; after which step the last save, evaluation */
    int64_t skipped, in_a_row;
    double gflop, loss, best, waited, waited_before, seconds_before, start;
    pith_metrics metrics;
    pith_progress bar;
} training;

static volatile sig_atomic_t stopped;
static int terminal = -1; /* the log's descriptor */
static void stop(int number)
{
    static const char text[] = "\nending after this step; a second signal ends it at once\n";
    (void)number;
    stopped = 1;
    if (terminal >= 0) (void)!write(terminal, text, sizeof text - 1);
}

/* ---- one step ---- */

static pith_program *made(training *t, int tokens)
{
    for (int k = 0; k < t->n_programs; k++)
        if (t->programs[k].tokens == tokens) return &t->programs[k];
    return NULL;
}

static pith_program *make(training *t, int tokens)
{
    pith_program *p = &t->programs[t->n_programs++];
    const int before = pith_store_count(t->store);
    const bool good = pith_program_make(p, t->task, t->store, t->o, tokens);
    if (*p->unreached && !t->unreached_told)
        pith_progress_say(&t->bar, "not trained, since the loss does not reach it: %s",
                          p->unreached);
    t->unreached_told = true;
    if (good && t->resumed && pith_store_count(t->store) > before)
        return pith_raise("%s: its checkpoint is of another model or loss: %s is not in it",
                          t->o->directory, pith_store_at(t->store, before)->name),
               NULL;
    if (!good) return NULL;
    t->pixels |= pith_plan_input(p->plan, "pixels") != NULL;
    t->second_pixels |= pith_plan_input(p->plan, "second_pixels") != NULL;
    pith_loader_want(t->loader, t->pixels, t->second_pixels);
    return p;
}

static bool write_step(training *t, pith_program *p)
{
    int n = 0;
    p->line[n++] = (pith_metric){ "loss", t->loss };
    p->line[n++] = (pith_metric){ "norm", pith_scalar(p->plan, p->norm) };
    p->line[n++] = (pith_metric){ "lr", (double)t->lr };
    for (int k = 0; k < p->n_watched; k++)
        p->line[n++] = (pith_metric){ p->names[k], pith_scalar(p->plan, p->watched[k]) };
    p->line[n++] = (pith_metric){ "gflop", t->gflop };
    p->line[n++] = (pith_metric){ "skipped", (double)t->skipped };
    p->line[n++] = (pith_metric){ "seconds", t->seconds_before + pith_seconds() - t->start };
    return pith_metrics_write(&t->metrics, t->step, n, p->line);
}

static pith_program *program_of(training *t, int tokens)
{
    pith_program *p = made(t, tokens);
    return p ? p : make(t, tokens);
}

/* The program comes before the batch: its plan decides whether the batch needs pictures. */
static bool take_batch(training *t)
{
    pith_program *p = program_of(t, pith_loader_tokens(t->loader));
    t->batch = p ? pith_loader_next(t->loader, &t->waited) : NULL;
    if (!t->batch || !pith_feed_batch(p->plan, t->batch)) return false;
    t->next = p;
    return true;
}

/* While a device of its own does the step, the next batch is taken and travels there. A program
 * that is still to be made would take the memory in which this step's values lie. */
static bool go_ahead(training *t)
{
    if (pith_store_device(t->store) == PITH_CPU || t->step == t->o->steps ||
        !made(t, pith_loader_tokens(t->loader)))
        return true;
    return take_batch(t) && pith_prefetch(t->next->plan);
}

/* The bytes once a step has been recorded, and so all memory is taken. */
static void tell_device(training *t, const pith_plan *p)
{
    if (pith_store_device(t->store) == PITH_CPU) return;
    const char *why = t->not_repeated_told ? NULL : pith_not_repeated(p);
    if (why)
        pith_progress_say(&t->bar,
                          "a step is not repeated as one launch, but each of its parts is "
                          "launched: %s",
                          why);
    t->not_repeated_told |= why != NULL;
    if (++t->steps_here != 2) return;
    const pith_device_bytes b = pith_store_bytes(t->store);
    pith_progress_say(&t->bar,
                      "on CUDA: %.1f MB of weights and what the optimizer keeps, %.1f MB of a "
                      "step's values, %.1f MB of all others and the driver",
                      (double)b.tensors / 1e6, (double)b.values / 1e6, (double)b.others / 1e6);
}

static bool train_step(training *t)
{
    const pith_train_options *o = t->o;
    if (!t->next && !take_batch(t)) return false;
    pith_program *p = t->next;
    t->lr = (pith_real)pith_lr(o->schedule, o->lr, t->step, o->warmup, o->steps);
    const double done = (double)(o->before + t->step);
    t->progress = (pith_real)(done / (double)(o->whole ? o->whole : o->steps));
    t->step_number = (int)(o->before + t->step);
    const pith_loop_value loop_values[] = {
        { "lr", &t->lr }, { "step", &t->step_number }, { "progress", &t->progress }, { NULL, NULL }
    };
    if (!pith_feed_rest(p->plan, t->batch, loop_values, t->task) || !pith_run(p->plan))
        return false;
    t->step++;
    t->next = NULL;
    const bool good = go_ahead(t);
    tell_device(t, p->plan);
    t->gflop += p->gflop;
    t->loss = pith_scalar(p->plan, p->loss);
    const bool ok = pith_scalar(p->plan, p->ok) != 0;
    t->in_a_row = ok ? 0 : t->in_a_row + 1;
    t->skipped += !ok;
    if (!write_step(t, p)) return false;
    if (t->in_a_row == MOST_SKIPPED)
        return pith_raise("step %" PRId64
                          ": %d steps in a row had no finite gradient or update, the loss is %g; "
                          "a run with PITH_NAN=1 in the environment tells where",
                          t->step, MOST_SKIPPED, t->loss);
    pith_progress_show(&t->bar, t->step, t->loss, t->waited - t->waited_before);
    return good;
}

/* ---- now and then ---- */

static bool evaluate(training *t)
{
    char path[PITH_PATH], text[800] = "";
    pith_metric m[PITH_MOST_METRICS];
    t->evaluated = t->step;
    if (!t->task->evaluate) return true;
    const int n = t->task->evaluate(t->task->context, m);
    if (n < 0 || !pith_metrics_write(&t->metrics, t->step, n, m)) return false;
    for (int k = 0; k < n && strlen(text) < 700; k++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "  %.60s %.4g", m[k].name,
                 m[k].value);
    pith_progress_say(&t->bar, "%" PRId64 "/%" PRId64 "  loss %.4f%s", t->step, t->o->steps,
                      t->loss, text);
    if (n < 1 || m[0].value <= t->best || isnan(m[0].value)) return true;
    t->best = m[0].value;
    pith_path(path, "%s/best", t->o->directory);
    const int why = pith_make_own(path);
    if (why) return pith_raise("%s: cannot be made: %s", path, strerror(why));
    return !t->task->export_model || t->task->export_model(t->task->context, path);
}

/* What a run and its checkpoints must agree on, or resuming would silently go on with another run.
 */
static json_t *identity(const training *t)
{
    char hash[17];
    return json_pack("{s:s, s:i, s:I, s:i, s:I}", "data_hash",
                     pith_hash_text(t->data.dataset->hash, hash), "stage", t->o->stage, "seed",
                     (json_int_t)t->o->seed, "batch", t->data.batch, "data_seed",
                     (json_int_t)t->data.seed);
}

static bool save(training *t)
{
    json_error_t error;
    json_t *options = json_loads(t->o->record ? t->o->record : "{}", 0, &error);
    json_t *state = identity(t);
    json_t *rest = json_pack("{s:I, s:I, s:f, s:o, s:o, s:f, s:f, s:o}", "skipped",
                             (json_int_t)t->skipped, "skipped_in_a_row", (json_int_t)t->in_a_row,
                             "gflop", t->gflop, "loss", pith_number(t->loss), "best",
                             pith_number(t->best), "seconds",
                             t->seconds_before + pith_seconds() - t->start, "waited", t->waited,
                             "options", options);
    const bool good = json_object_update(state, rest) == 0
                          ? pith_metrics_sync(&t->metrics) &&
                                pith_checkpoint_save(t->o->directory, t->step, t->o->keep, t->store,
                                                     state)
                          : pith_raise("no memory for a checkpoint");
    json_decref(rest);
    json_decref(state);
    t->saved = t->step;
    return good;
}

static bool due(int64_t every, const training *t, int64_t last)
{
    return last != t->step && (t->step == t->o->steps || (every > 0 && t->step % every == 0));
}

static bool run(training *t)
{
    /* The record is written when the first program is built: not by a run that is refused, nor by
     * one that is over. */
    bool good = t->step == t->o->steps ||
                (program_of(t, pith_loader_tokens(t->loader)) && pith_run_write(t->o, &t->data));
    while (good && t->step < t->o->steps && !stopped) {
        good = train_step(t);
        if (good && due(t->o->evaluate_every, t, t->evaluated)) good = evaluate(t);
        if (good && due(t->o->save_every, t, t->saved)) good = save(t);
    }
    if (good && t->step < t->o->steps) {
        good = t->saved == t->step || save(t);
        if (good)
            pith_progress_say(&t->bar,
                              "stopped after step %" PRId64 " of %" PRId64 ", which is saved in %s",
                              t->step, t->o->steps, t->o->directory);
        return good;
    }
    return good &&
           (!t->task->export_model || t->task->export_model(t->task->context, t->o->directory));
}

/* ---- beginning and end ---- */

/* Is this the run that the checkpoint was saved by? */
static bool same_run(const training *t, const json_t *state)
{
    const char *where = t->o->directory, *key;
    json_t *own = identity(t), *now;
    bool good = own || pith_raise("no memory for a checkpoint");
    json_object_foreach(own, key, now)
    {
        const json_t *then = json_object_get(state, key);
        const char *hash = json_string_value(then);
        if (!good || json_equal(then, now)) continue;
        good = json_is_string(now)
                   ? pith_raise("%s: its checkpoint was trained on data with the hash %s, found "
                                "data with the hash %s",
                                where, hash ? hash : "(none)", json_string_value(now))
                   : pith_raise("%s: its checkpoint has %s %lld, this run has %lld", where, key,
                                json_integer_value(then), json_integer_value(now));
    }
    json_decref(own);
    return good && (t->step <= t->o->steps || pith_raise("%s: its checkpoint is of step %" PRId64
                                                         ", but the run has %" PRId64 " steps",
                                                         where, t->step, t->o->steps));
}

static bool resume(training *t)
{
    json_t *state;
    if (!pith_checkpoint_load(t->o->directory, t->store, &t->step, &state, t->o->log)) return false;
    t->resumed = true;
    t->saved = t->evaluated = t->step;
    t->gflop = pith_number_of(state, "gflop", 0);
    t->loss = pith_number_of(state, "loss", (double)NAN);
    t->best = pith_number_of(state, "best", (double)-INFINITY);
    t->seconds_before = pith_number_of(state, "seconds", 0);
    t->waited = t->waited_before = pith_number_of(state, "waited", 0);
    t->skipped = pith_count_of(state, "skipped");
    t->in_a_row = pith_count_of(state, "skipped_in_a_row");
    const bool good = same_run(t, state);
    json_decref(state);
    return good;
}

static bool begin(training *t)
{
    const char *directory = t->o->directory;
    t->taken = t->o->taken > 0 ? t->o->taken : pith_take_run(directory, t->o->resume);
    if (t->taken < 0) return false;
    if (t->o->steps < 1)
        return pith_raise("a training of %" PRId64 " steps: expected at least 1", t->o->steps);
    if (t->o->warmup < 0)
        return pith_raise("a warm-up of %" PRId64 " steps: expected at least 0", t->o->warmup);
    if (t->o->before < 0 || t->o->steps > INT32_MAX || t->o->before > INT32_MAX - t->o->steps)
        return pith_raise("steps %" PRId64 " to %" PRId64 ": expected numbers from 0 to 2147483647",
                          t->o->before, (int64_t)((uint64_t)t->o->before + (uint64_t)t->o->steps));
    if (t->o->resume && !resume(t)) return false;
    t->loader = pith_loader_new(&t->data, t->o->before + t->step);
    return t->loader && pith_metrics_open(&t->metrics, directory, t->step);
}

static void end(training *t)
{
    for (int k = 0; k < t->n_programs; k++) pith_program_free(&t->programs[k]);
    pith_loader_free(t->loader);
    pith_progress_end(&t->bar);
    if (t->taken >= 0 && t->taken != t->o->taken) close(t->taken);
}

bool pith_train(const pith_task *task, pith_store *store, const pith_loader_options *data,
                const pith_train_options *options, pith_train_result *result)
{
    training t = { .task = task,
                   .taken = -1,
                   .store = store,
                   .o = options,
                   .data = *data,
                   .loss = (double)NAN,
                   .best = (double)-INFINITY,
                   .start = pith_seconds() };
    /* the handler serves once: a second signal ends the process at once */
    const struct sigaction action = { .sa_handler = stop, .sa_flags = (int)SA_RESETHAND };
    struct sigaction before[2];
    t.data.shuffle = true;
    stopped = 0;
    terminal = options->log ? fileno(options->log) : -1;
    bool good = begin(&t);
    pith_progress_start(&t.bar, options, t.step, data->batch);
    if (good) {
        sigaction(SIGINT, &action, &before[0]);
        sigaction(SIGTERM, &action, &before[1]);
        good = run(&t);
        sigaction(SIGINT, &before[0], NULL);
        sigaction(SIGTERM, &before[1], NULL);
    }
    if (!pith_metrics_close(&t.metrics)) good = false;
    *result = (pith_train_result){ .steps = t.step,
                                   .skipped = t.skipped,
                                   .gflop = t.gflop,
                                   .loss = t.loss,
                                   .seconds = t.seconds_before + pith_seconds() - t.start,
                                   .waited = t.waited,
                                   .best = isfinite(t.best) ? t.best : (double)NAN,
                                   .interrupted = good && t.step < options->steps };
    end(&t);
    return good;
}
