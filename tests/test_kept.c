/* test_kept.c: kernels that one process compiles and another finds. Without a GPU they are the
 * emulated device's, whose compiler is $CXX: a process that has none can only find. */
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "tests.h"
#ifdef PITH_EMULATED
#include "emulator/control.h"
#else
static int emulator_capability, emulator_nvrtc_version;
#endif

/* A chain in a process of its own: 0, or 1 where it cannot be compiled. */
static int run(const char *folder, const char *compiler, int sign)
{
    const pid_t child = fork();
    if (child == 0) {
        if (compiler) setenv("CXX", compiler, 1);
        pith_keep_kernels(folder);
        pith_store *store = pith_store_new_on(PITH_CUDA);
        pith_graph *g = pith_graph_new(store, 1);
        pith_node *x = pith_input(g, "x", PITH_F32, 3);
        pith_node *e = pith_exp(pith_neg(x)), *y = sign < 0 ? pith_neg(e) : e;
        pith_plan *p = pith_plan_new(g, 1, &y, NULL);
        if (!p) _exit(1);
        float values[3] = { 0, 0, 0 };
        pith_feed(p, x, values);
        _exit(pith_run(p) && pith_value(p, y, values) && values[2] == (float)sign ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* How many files the folder has; *path is the last one's. */
static int files(const char *folder, char path[512])
{
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') n++, snprintf(path, 512, "%.200s/%.250s", folder, e->d_name);
    closedir(d);
    return n;
}

static void kept(void **unused)
{
    (void)unused;
#ifndef PITH_EMULATED
    skip();
#endif
    char folder[256], path[512];
    snprintf(folder, sizeof folder, "%s", path_of("kernels"));
    assert_int_equal(run(NULL, "false", 1), 1);
    assert_int_equal(run(folder, NULL, 1), 0); /* a folder that is not there keeps nothing */
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(run(folder, "false", 1), 1);
    assert_int_equal(run(folder, NULL, 1), 0);
    assert_int_equal(files(folder, path), 1);
    assert_int_equal(run(folder, "false", 1), 0);  /* found */
    assert_int_equal(run(folder, "false", -1), 1); /* that is another one */

    /* nor is it one for another device, or by another compiler, older or newer */
    emulator_capability = 80;
    assert_int_equal(run(folder, "false", 1), 1);
    emulator_capability = 90;
    static const int others[] = { 131, 120 };
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        emulator_nvrtc_version = others[k];
        assert_int_equal(run(folder, "false", 1), 1);
    }
    emulator_nvrtc_version = 130;
    assert_int_equal(run(folder, "false", 1), 0);

    /* a damaged one is made anew */
    struct stat info;
    for (int k = 0; k < 3; k++) {
        assert_int_equal(stat(path, &info), 0);
        const off_t at[3] = { info.st_size / 2, info.st_size - 1, 0 };
        FILE *f = fopen(path, "rb+");
        assert_non_null(f);
        fseek(f, at[k], SEEK_SET);
        const int c = fgetc(f);
        fseek(f, at[k], SEEK_SET);
        fputc(c ^ 1, f);
        fclose(f);
        if (k == 2) assert_int_equal(truncate(path, info.st_size - 1), 0);
        assert_int_equal(run(folder, "false", 1), 1);
        assert_int_equal(run(folder, NULL, 1), 0);
        assert_int_equal(run(folder, "false", 1), 0);
    }
    assert_int_equal(files(folder, path), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(kept) };
    return cmocka_run_group_tests(tests, make_place, remove_place);
}
