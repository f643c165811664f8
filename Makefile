# pith: `make` builds build/pith and the lessons; `make demo` and `make test` also install what they need.
#   V=float|double|asan   the variant built below build/V; double is what the tests check gradients in
#   ARCH=native           the processor built for; x86-64-v3 for packages
V := float
ARCH := native
CC := gcc
BUILD := build/$(V)
WARN := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Werror
# No contraction and no fast-math: a number never depends on its place in a vector or a tile.
NUMBERS := -O3 -march=$(ARCH) -ffp-contract=off -fno-math-errno -fno-trapping-math -fopenmp
CFLAGS := -g -fPIC
VARIANT_double := -DPITH_DOUBLE
VARIANT_asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DPITH_SLOW
VARIANT_fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DPITH_SLOW
ONEDNN := $(shell echo '\#include <dnnl.h>' | $(CC) -E - >/dev/null 2>&1 && echo yes)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. -Icore $(WARN) $(NUMBERS) $(CFLAGS) $(VARIANT_$(V)) \
	$(if $(ONEDNN),-DPITH_ONEDNN) -DPITH_ROOT='"$(CURDIR)"'
FONTS_CFLAGS = $(shell pkg-config --cflags freetype2 harfbuzz)
LIBS := $(if $(ONEDNN),-ldnnl) -lopenblas -ljansson -lpng -ljpeg -lz -lutf8proc -lm -ldl -lpthread
LDFLAGS := -fopenmp -rdynamic $(VARIANT_$(V))

LIBRARY := $(wildcard core/*.c core/base/*.c core/look/*.c core/files/*.c core/text/*.c core/pictures/*.c core/data/*.c core/train/*.c core/neighbours/*.c ops/*.c models/*.c losses/*.c)
PROGRAM := $(wildcard examples/pith/*.c)
LESSONS := $(wildcard examples/*.c)
TESTS := $(wildcard tests/test_*.c)
BENCH := $(wildcard bench/*.c)
OBJECTS := $(LIBRARY:%.c=$(BUILD)/%.o)

comma := ,
.SECONDARY:
.PHONY: all deps test tests demo bench evidence evidence-full fuzz libs clean
all: build/pith $(LESSONS:examples/%.c=build/%)

# A user's own loss or op finds every public function in the program, so the library goes in whole.
WHOLE := -Wl,--whole-archive $(BUILD)/libpith.a -Wl,--no-whole-archive

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "cc $< ($(V))"
	@$(CC) $(ALL_CFLAGS) $(if $(findstring examples/pith,$<),$(FONTS_CFLAGS)) -MMD -MP -c $< -o $@

$(BUILD)/libpith.a: $(OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/pith: $(PROGRAM:%.c=$(BUILD)/%.o) $(BUILD)/libpith.a
	@$(CC) $(LDFLAGS) $(PROGRAM:%.c=$(BUILD)/%.o) $(WHOLE) $(LIBS) $(shell pkg-config --libs freetype2 harfbuzz) -o $@

build/pith: build/float/pith
	@cp $< $@

$(LESSONS:examples/%.c=build/%): build/%: build/float/examples/%.o build/float/libpith.a
	@$(CC) $(LDFLAGS) $^ $(LIBS) -o $@

# The linker is the registry: the tests read the list of ops from the library.
$(BUILD)/ops_list.h: $(BUILD)/libpith.a
	@nm -g --defined-only $< | sed -n 's/.* [RD] \(pith_op_[a-z0-9_]*\)$$/\1/p' | sort -u | \
	awk '{ print "extern const pith_op " $$1 ";"; all = all " &" $$1 "," } \
	     END { print "static const pith_op *const every_op[] = {" all " NULL };" }' > $@
$(BUILD)/tests/test_ops.o: $(BUILD)/ops_list.h
$(BUILD)/tests/test_ops.o: CFLAGS += -I$(BUILD)

$(BUILD)/%: $(BUILD)/tests/%.o $(BUILD)/libpith.a
	@$(CC) $(LDFLAGS) $< $(WHOLE) $(LIBS) -lcmocka -o $@

# Memory that runs out when the test says so.
$(BUILD)/test_memory: LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=%,malloc calloc realloc aligned_alloc)

$(BUILD)/pith-bench: $(BENCH:%.c=$(BUILD)/%.o) $(BUILD)/libpith.a
	@$(CC) $(LDFLAGS) $^ $(LIBS) -o $@

tests: $(TESTS:tests/%.c=$(BUILD)/%)

deps:
	@.ci/install

test: deps
	@$(MAKE) --no-print-directory -j$$(nproc) all tests
	@$(MAKE) --no-print-directory -j$$(nproc) V=double tests
	@tests/run.sh

demo: deps
	@$(MAKE) --no-print-directory -j$$(nproc) build/pith
	@build/pith demo runs/demo

# Hostile files and words, each target for SECONDS_EACH (15) seconds.
fuzz:
	@PITH_MORE_PACKAGES="clang libomp-dev libclang-rt-dev" .ci/install
	@tests/fuzz/run.sh

libs:
	@echo $(LIBS) $(shell pkg-config --libs freetype2 harfbuzz)

bench: deps
	@$(MAKE) --no-print-directory -j$$(nproc) build/float/pith-bench
	@bench/run.sh

# A comparison of the papers' first claims on the demo's data; cells that stand in the table are not run again.
evidence: deps
	@$(MAKE) --no-print-directory -j$$(nproc) build/pith
	@build/pith compare bench/evidence.json --out runs/evidence --results bench/evidence.tsv

# All questions of bench/evidence: many hours, which may be interrupted, and go on from the table of finished cells.
evidence-full: deps
	@$(MAKE) --no-print-directory -j$$(nproc) build/pith
	@build/pith compare bench/evidence/[0-9]*.json --out runs/evidence-full --results bench/evidence/results.tsv

clean:
	rm -rf build

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/tests/*.d $(BUILD)/examples/*.d $(BUILD)/examples/pith/*.d $(BUILD)/bench/*.d)
