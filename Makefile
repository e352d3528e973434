# pgporter. `make help` lists what there is.

ifeq ($(origin CC),default)
CC := gcc
endif
CFLAGS ?= -O2 -g
comma := ,
BUILD := build
STD := -std=gnu11 -I. -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wno-unused-parameter \
	-fno-strict-aliasing -fstack-protector-strong -D_FORTIFY_SOURCE=2
ifdef DEV
STD += -Werror
endif
# The program is compiled as a whole: a tenth fewer instructions a transaction. Its objects can be linked without that, too.
LTO := -flto=auto -ffat-lto-objects
ifdef SAN
LTO :=
BUILD := build/$(subst $(comma),-,$(SAN))
STD := $(filter-out -D_FORTIFY_SOURCE=2,$(STD)) -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
LDFLAGS += -fsanitize=$(SAN)
endif


LIBS := -levent -levent_pthreads -lssl -lcrypto -lpg_query -lprotobuf-c -lpthread
SRC := $(wildcard parser/*.c state/*.c auth/*.c server/*.c)
OBJ := $(SRC:%.c=$(BUILD)/%.o)
TESTS := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZERS := $(patsubst fuzz/%.c,%,$(wildcard fuzz/fuzz_*.c))

.PHONY: all help clean deps check test demo bench bench-tenants instructions tracking fuzz unit replay pg red san sim regress sim versions contract differential

all: $(BUILD)/pgporter ## build build/pgporter (DEV=1: warnings are errors; SAN=address,undefined: in a build folder of its own)

help: ## this list
	@awk -F '## ' '/^[a-z-]+:.*## / { split($$1, t, ":"); printf "  make %-12s %s\n", t[1], $$2 }' Makefile

$(BUILD)/pgporter: $(OBJ)
	$(CC) $(LTO) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(STD) $(LTO) $(CFLAGS) -MMD -MP -c -o $@ $<

# A unit test or harness names in its first line what it links: `/* links: parser/buf.c auth/md5.c -lcrypto */`. Nothing else is linked, so a hidden dependency
# fails here; one module in several files may be named by a pattern (state/session*.c). The objects are the program's own.
links = $(wildcard $(filter %.c,$(links_said))) $(filter -l%,$(links_said))
links_said = $(shell sed -n '1s,^/\* links: \(.*\) \*/$$,\1,p' $(1))
linked = $(patsubst %.c,$(BUILD)/%.o,$(filter %.c,$(call links,$(1))))
libraries = $(filter -l%,$(call links,$(1)))
HEADERS := $(wildcard parser/*.h state/*.h auth/*.h server/*.h tests/*.h)
.SECONDEXPANSION:

$(BUILD)/unit/%: tests/unit/%.c $$(call linked,tests/unit/$$*.c) $(HEADERS) $(wildcard tests/unit/*.h)
	@mkdir -p $(@D)
	$(CC) $(STD) -fno-lto $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.o,$^) $(call libraries,$<) -lcmocka

$(BUILD)/sim: tests/sim/sim.c $$(call linked,tests/sim/sim.c) $(HEADERS) $(wildcard tests/sim/*.h)
	@mkdir -p $(@D)
	$(CC) $(STD) $(LTO) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.o,$^) $(call libraries,$<)

$(BUILD)/bench/%: tests/bench/%.c $(wildcard tests/bench/*.[ch] parser/*.[ch] auth/*.[ch])
	@mkdir -p $(@D)
	$(CC) $(STD) $(CFLAGS) $(LDFLAGS) -o $@ $< $(filter %.c,$(call links,$<)) $(filter -l%,$(call links,$<))

# The same harness twice: with its own main, which replays files given to it, and as a libFuzzer program (clang).
$(BUILD)/replay/%: fuzz/%.c fuzz/replay.c $$(call linked,fuzz/$$*.c) $(HEADERS)
	@mkdir -p $(@D)
	$(CC) $(STD) -fno-lto $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.o,$^) $(call libraries,$<)

build/fuzz/%: fuzz/%.c $(wildcard parser/*.[ch] state/*.[ch] auth/*.[ch] server/*.[ch])
	@mkdir -p $(@D)
	clang -std=gnu11 -I. -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-o $@ $< $(filter %.c,$(call links,$<)) $(filter -l%,$(call links,$<))

# Unit tests and corpora, each program's own closing line at its end.
unit: $(TESTS)
	@set -e; for t in $(TESTS); do $$t; done

replay: $(FUZZERS:%=$(BUILD)/replay/%)
	@set -e; for f in $(FUZZERS); do $(BUILD)/replay/$$f fuzz/corpus/$$f; done

check: unit replay ## units, fuzz corpora, layering, option tables: no PostgreSQL, under a minute
	@tests/check_layers.sh
	@/usr/bin/python3 tests/check_options.py
	@/usr/bin/python3 tests/check_options.py --used

SIM_COUNT ?= 300000
sim: $(BUILD)/sim ## sessions, pools and backends against a model of PostgreSQL: SIM_COUNT seeds from SIM_SEED on
	@$(BUILD)/sim $(wildcard tests/sim/seeds/*.txt)
	@$(BUILD)/sim --seed $(or $(SIM_SEED),1) --count $(SIM_COUNT)

# Two processes, each with a PostgreSQL of its own and whole files to play.
PYTEST := /usr/bin/python3 -B -m pytest -q -p no:cacheprovider -n 2 --dist loadfile

pg: all ## real PostgreSQL and real drivers: the same scenario directly and through pgporter
	@PGPORTER=$(abspath $(BUILD)/pgporter) $(PYTEST) tests/pg

red: all ## the same with carrying switched off: every row of the contract must turn a test red
	@PGPORTER=$(abspath $(BUILD)/pgporter) /usr/bin/python3 -B tests/pg/rows_red.py

VERSIONS ?= 13 14 15 16 17 18
versions: all ## the contract's scenarios on PostgreSQL 13 to 18 (VERSIONS="13 18"; QUICK=1: each once)
	@PGPORTER=$(abspath $(BUILD)/pgporter) /usr/bin/python3 -B tests/pg/contract.py $(if $(QUICK),--quick) $(VERSIONS)

contract: all ## the same, and the table of what holds where into docs/contract.md
	@PGPORTER=$(abspath $(BUILD)/pgporter) /usr/bin/python3 -B tests/pg/contract.py --write $(if $(QUICK),--quick) $(VERSIONS)

differential: all ## random programs directly and through pools of 1 to 3 (PROGRAMS=10000, or SECONDS=40; SEED, POOL: one again)
	@PGPORTER=$(abspath $(BUILD)/pgporter) /usr/bin/python3 -B tests/pg/differential_random.py $(if $(PROGRAMS),--programs $(PROGRAMS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(POOL),--pool $(POOL))

FUZZ_SECONDS ?= 15
fuzz: $(FUZZERS:%=build/fuzz/%) ## each parser of input for FUZZ_SECONDS under ASan and UBSan, two at a time
	@tests/fuzz.sh $(FUZZ_SECONDS) $(FUZZERS)

SAN_TESTS := test_protocol.py test_prepared.py test_pooling.py
san: ## units, corpora and the tests that stress most, under AddressSanitizer and UndefinedBehaviorSanitizer, and threads under ThreadSanitizer
	@$(MAKE) --no-print-directory SAN=address,undefined all unit replay
	@$(MAKE) --no-print-directory SAN=address,undefined SIM_COUNT=10000 sim
	@$(MAKE) --no-print-directory SAN=thread all
	@WORKERS=3 PGPORTER=$(abspath build/thread/pgporter) $(PYTEST) tests/pg/test_workers.py tests/pg/test_cut.py
	@WORKERS=1 PGPORTER=$(abspath build/address-undefined/pgporter) $(PYTEST) $(SAN_TESTS:%=tests/pg/%) -k "not pool2"

deps: ## install what is missing on Debian 12, as root or with sudo
	@tests/deps.sh

test: ## all tests, what they need installed: check, sim, instructions, pg, red, fuzz and differential for a short while, san
	@tests/deps.sh build test fuzz instructions
	@$(MAKE) --no-print-directory DEV=1 all
	@$(MAKE) --no-print-directory DEV=1 check
	@$(MAKE) --no-print-directory DEV=1 sim
	@$(MAKE) --no-print-directory DEV=1 instructions
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory DEV=1 san
	@$(MAKE) --no-print-directory DEV=1 red
	@$(MAKE) --no-print-directory DEV=1 SEED=1 PROGRAMS=100 differential
	@$(MAKE) --no-print-directory DEV=1 pg

demo: ## a real Django on two server connections (POOLER=pgporter, pgbouncer or direct; KEEP=1: leave it up)
	@tests/deps.sh build demo $(if $(filter pgbouncer,$(POOLER)),bench)
	@$(if $(filter pgbouncer direct,$(POOLER)),,$(MAKE) --no-print-directory all)
	@/usr/bin/python3 tests/demo/demo.py

BENCH := $(patsubst %,$(BUILD)/bench/%,stub load relay)
bench: ## CPU, throughput, latency, calls, memory beside PgBouncer's (WORKLOADS SERVERS POOLERS ROUNDS DURATION; WRITE=1: into docs/bench.md)
	@tests/deps.sh build bench
	@$(MAKE) --no-print-directory all $(BENCH)
	@/usr/bin/python3 -B tests/bench/bench.py $(if $(WRITE),--write)

instructions: ## user instructions a request under callgrind, held against tests/bench/instructions.txt (WRITE=1: into it; PROFILE=25: by function)
	@tests/deps.sh build instructions
	@$(MAKE) --no-print-directory all $(BENCH)
	@/usr/bin/python3 -B tests/bench/instructions.py $(if $(WRITE),--write)

tracking: $(BUILD)/bench/tracking ## what reading a statement costs, in nanoseconds
	@$<

regress: ## PostgreSQL's own regression suite directly and through pgporter, compared (WRITE=1: figures into docs/regress.md)
	@tests/deps.sh build regress
	@$(MAKE) --no-print-directory all
	@nice /usr/bin/python3 -B tests/regress/run.py

bench-tenants: ## a tenant a request by SET LOCAL, with and without clients that never set it (DURATION=8; WRITE=1: into docs/bench.md)
	@tests/deps.sh build bench
	@$(MAKE) --no-print-directory all
	@/usr/bin/python3 tests/bench/tenants.py $(if $(WRITE),--write)

clean: ## remove everything built
	rm -rf build

-include $(OBJ:.o=.d) $(wildcard $(BUILD)/tests/sim/*.d)
