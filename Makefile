# pith: `make` builds build/pith and the lessons; `make demo` and `make test` also install what they need.
#   build/12_kernel, the lesson on CUDA kernels, is built by its name and by `make test`
#   V=float|double|asan|cuda|emulated   the variant built below build/V; double is what the tests check gradients in,
#                         cuda has the CUDA pages, by nvcc; emulated has them run by the small machine in tests/emulator/
#   ARCH=native           the processor built for; x86-64-v3 for packages
comma := ,
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
VARIANT_emulated := -DPITH_WITH_CUDA -DPITH_EMULATED
VARIANT_cuda := -DPITH_WITH_CUDA
VARIANT_fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DPITH_SLOW
ONEDNN := $(shell echo '\#include <dnnl.h>' | $(CC) -E - >/dev/null 2>&1 && echo yes)
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -I. -Icore $(WARN) $(NUMBERS) $(CFLAGS) $(VARIANT_$(V)) \
	$(if $(ONEDNN),-DPITH_ONEDNN) -DPITH_ROOT='"$(CURDIR)"'
FONTS_CFLAGS = $(shell pkg-config --cflags freetype2 harfbuzz)
LIBS := $(if $(ONEDNN),-ldnnl) -lopenblas -ljansson -lpng -ljpeg -lz -lutf8proc -lm -ldl -lpthread
LDFLAGS := -fopenmp -rdynamic $(VARIANT_$(V))

# what plans and runs a graph, and the ops; other pages name neither by hand
ENGINE := $(wildcard core/*.c core/base/*.c core/device/*.c core/precision/*.c core/look/*.c ops/*.c)
LIBRARY := $(ENGINE) $(wildcard core/files/*.c core/text/*.c core/pictures/*.c core/data/*.c core/train/*.c core/neighbours/*.c models/*.c losses/*.c)
PROGRAM := $(wildcard examples/pith/*.c)
LESSONS := $(filter-out examples/12_kernel.c,$(wildcard examples/*.c))
TESTS := $(wildcard tests/test_*.c)
# those that the emulated device runs
DEVICE_TESTS := emulator kernels products device device_graphs ops prefetch together kept ladder train kmeans neighbours bf16 bf16_training
BENCH := $(wildcard bench/*.c)
LADDERS := $(patsubst %.cu,$(BUILD)/%.o,$(wildcard bench/ladder/*.cu))
OBJECTS := $(LIBRARY:%.c=$(BUILD)/%.o)
ifneq ($(filter cuda emulated,$(V)),)
OBJECTS += $(patsubst %.cu,$(BUILD)/%.o,$(wildcard cuda/*.cu))
endif
ifeq ($(V),emulated)
OBJECTS += $(patsubst %.cpp,$(BUILD)/%.o,$(wildcard tests/emulator/*.cpp))
endif
ifeq ($(V),cuda)
NVCC := nvcc
CUDA_ROOT := $(patsubst %/bin/,%,$(dir $(realpath $(shell command -v $(NVCC)))))
LIBS += -L$(CUDA_ROOT)/lib64 -lcudart_static -lrt
endif


.PRECIOUS: $(BUILD)/%.o $(BUILD)/tests/emulator/%.o
.PHONY: all deps test tests test-gpu test-gpu-sanitizer bench-gpu demo bench cuda evidence evidence-full fuzz libs clean
all: $(if $(filter float,$(V)),build/pith $(LESSONS:examples/%.c=build/%),$(BUILD)/pith)

# A user's own loss or op finds every public function in the program, so the library goes in whole.
WHOLE := -Wl,--whole-archive $(BUILD)/libpith.a -Wl,--no-whole-archive

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "cc $< ($(V))"
	@$(CC) $(ALL_CFLAGS) $(if $(findstring examples/pith,$<),$(FONTS_CFLAGS)) -MMD -MP -c $< -o $@

# Objects that the C linker takes: of C++ they want no library.
NVCC_FLAGS = -std=c++17 -O3 -Werror all-warnings -I. -Icore $(VARIANT_$(V)) \
	-Xcompiler -fPIC,-Wall,-Wextra,-fno-exceptions,-fno-rtti,-fno-threadsafe-statics \
	$(foreach a,75 80 90,-gencode arch=compute_$a$(comma)code=sm_$a) -gencode arch=compute_90,code=compute_90

# Pages of kernels as plain C++. The thread sanitizer's hooks are answered by the emulator, which sees every access,
# those of memcpy and the like too. An index outside a local array, which has no shadow, traps. Loops stay loops, so
# that it can tell four accesses in turn from a vector, which gcc takes apart.
CXX_FLAGS = -std=c++17 -g -fPIC -fno-exceptions -fno-rtti -fno-threadsafe-statics -Wall -Wextra -Wshadow -Werror -ffp-contract=off -I. -Icore \
	-Itests/emulator -DPITH_EMULATE -DPITH_ROOT='"$(CURDIR)"' $(VARIANT_$(V))
$(BUILD)/%.o: %.cu
	@mkdir -p $(@D)
ifeq ($(V),cuda)
	@echo "nvcc $<"
	@$(NVCC) $(NVCC_FLAGS) -MMD -MP -c $< -o $@
else
	@echo "c++ $< ($(V))"
	@$(CXX) $(CXX_FLAGS) -O1 --param max-completely-peel-times=1 -fsanitize=thread,bounds -fsanitize-undefined-trap-on-error -MMD -MP -x c++ -c $< -o $@
	@objcopy $(foreach f,memcpy memmove memset,--redefine-sym $f=__tsan_$f) $@
endif

$(BUILD)/tests/emulator/%.o: tests/emulator/%.cpp
	@mkdir -p $(@D)
	@echo "c++ $< ($(V))"
	@$(CXX) $(CXX_FLAGS) -O2 -MMD -MP -c $< -o $@

$(BUILD)/libpith.a: $(OBJECTS)
	@rm -f $@
	@ar rcs $@ $^

$(BUILD)/pith: $(PROGRAM:%.c=$(BUILD)/%.o) $(BUILD)/libpith.a
	@$(CC) $(LDFLAGS) $(PROGRAM:%.c=$(BUILD)/%.o) $(WHOLE) $(LIBS) $(shell pkg-config --libs freetype2 harfbuzz) -o $@

build/pith: build/float/pith
	@cp $< $@

$(LESSONS:examples/%.c=build/%): build/%: build/float/examples/%.o build/float/libpith.a
	@$(CC) $(LDFLAGS) $^ $(LIBS) -o $@

# The lesson on kernels has a page of them, and runs on the emulated device.
ifeq ($(V),emulated)
build/12_kernel: build/emulated/examples/12_kernel.o build/emulated/examples/12_smooth.o build/emulated/libpith.a
	@$(CC) $(LDFLAGS) $^ $(LIBS) -o $@
else
.PHONY: build/12_kernel
build/12_kernel:
	@$(MAKE) --no-print-directory V=emulated $@
endif

# The linker is the registry: the tests read the list of ops from the library.
$(BUILD)/ops_list.h: $(BUILD)/libpith.a
	@nm -g --defined-only $< | sed -n 's/.* [RD] \(pith_op_[a-z0-9_]*\)$$/\1/p' | sort -u | \
	awk '{ print "extern const pith_op " $$1 ";"; all = all " &" $$1 "," } \
	     END { print "static const pith_op *const every_op[] = {" all " NULL };" }' > $@
$(BUILD)/tests/test_ops.o $(BUILD)/tests/test_kernels.o $(BUILD)/tests/test_chains.o: $(BUILD)/ops_list.h
$(BUILD)/tests/test_ops.o $(BUILD)/tests/test_kernels.o $(BUILD)/tests/test_chains.o: CFLAGS += -I$(BUILD)

$(BUILD)/%: $(BUILD)/tests/%.o $(BUILD)/libpith.a
	@$(CC) $(LDFLAGS) $(filter %.o,$^) $(WHOLE) $(LIBS) -lcmocka -o $@

ifeq ($(V),emulated)
$(BUILD)/test_emulator: $(BUILD)/tests/emulator/planted.o
$(BUILD)/test_ladder: $(LADDERS)
endif

# Memory that runs out when the test says so.
$(BUILD)/test_memory: LDFLAGS += $(patsubst %,-Wl$(comma)--wrap=%,malloc calloc realloc aligned_alloc)

$(BUILD)/pith-bench: $(BENCH:%.c=$(BUILD)/%.o) $(BUILD)/libpith.a
	@$(CC) $(LDFLAGS) $(filter %.o,$^) $(WHOLE) $(LIBS) -o $@

# V=cuda, or V=emulated, where it checks and times nothing
$(BUILD)/ladder: $(BUILD)/bench/ladder/ladder.o $(LADDERS) $(BUILD)/libpith.a
	@$(CC) $(LDFLAGS) $^ $(LIBS) -o $@

# The same program with CUDA in it: it also runs where there is no GPU.
cuda:
	@$(MAKE) --no-print-directory V=cuda build/cuda/pith

# What the double build's test_ops writes, for those of other builds to compare with: make V=double build/examples.bin.
ifeq ($(V),double)
build/examples.bin: build/double/test_ops
	@$< >build/double/test_ops.log 2>&1 || { cat build/double/test_ops.log; rm -f $@; exit 1; }
endif

# On a day with a GPU. Nothing is built where there is none; without build/examples.bin one test is not shown.
GPU_TESTS := kernels products ops device device_graphs prefetch together train kmeans neighbours bf16 bf16_training
test-gpu:
	@tests/gpu.sh there
	-@$(MAKE) --no-print-directory -j$$(nproc) V=double build/examples.bin
	@$(MAKE) --no-print-directory -j$$(nproc) V=cuda build/cuda/pith $(GPU_TESTS:%=build/cuda/test_%)
	@TESTS="$(GPU_TESTS)" tests/gpu.sh
test-gpu-sanitizer:
	@tests/gpu_sanitizer.sh there
	@$(MAKE) --no-print-directory -j$$(nproc) V=cuda build/cuda/test_ops
	@tests/gpu_sanitizer.sh
bench-gpu:
	@$(MAKE) --no-print-directory -j$$(nproc) V=cuda build/cuda/pith-bench
	@bench/gpu.sh

tests: $(TESTS:tests/%.c=$(BUILD)/%)

deps:
	@.ci/install

test: deps
	@$(MAKE) --no-print-directory -j$$(nproc) all tests
	@$(MAKE) --no-print-directory -j$$(nproc) V=double tests
	@$(MAKE) --no-print-directory -j$$(nproc) V=emulated $(DEVICE_TESTS:%=build/emulated/test_%) build/emulated/pith build/emulated/pith-bench build/12_kernel
	@! command -v nvcc >/dev/null || $(MAKE) --no-print-directory -j$$(nproc) V=cuda build/cuda/pith build/cuda/test_chains
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

-include $(OBJECTS:.o=.d) $(wildcard $(BUILD)/tests/*.d $(BUILD)/tests/emulator/*.d $(BUILD)/examples/*.d $(BUILD)/examples/pith/*.d $(BUILD)/bench/*.d $(BUILD)/bench/ladder/*.d)
