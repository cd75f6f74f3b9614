# Minigun: build, test, install.   make help   lists the targets.

LUA        ?= lua5.4
# 5.4 or 5.5, as the interpreter says: where the module goes, and whose lua.h it is built with.
LUA_VERSION := $(or $(shell $(LUA) -e 'io.write(_VERSION:match "%d.%d")' 2>/dev/null),5.4)

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib/lua/$(LUA_VERSION)
LUADIR     ?= $(PREFIX)/share/lua/$(LUA_VERSION)
BINDIR     ?= $(PREFIX)/bin
MANDIR     ?= $(PREFIX)/share/man
DESTDIR    ?=

BUSTED     ?= /usr/bin/busted
LUACHECK   ?= luacheck
CPPCHECK   ?= cppcheck
CLANG      ?= clang
VALGRIND   ?= valgrind
INSTALL    ?= install
PKG_CONFIG ?= pkg-config
SPECS      ?= spec

# The user's flags come last, so that they win; the project's own are kept apart from them.
CFLAGS     ?= -O2 -g
LDFLAGS    ?=

# The directory that holds lua.h: pkg-config's answer, else the first of the usual places.
ifndef LUA_INC
LUA_INC := $(firstword $(patsubst -I%,%,$(shell $(PKG_CONFIG) --cflags-only-I lua$(LUA_VERSION) 2>/dev/null || \
             $(PKG_CONFIG) --cflags-only-I lua-$(LUA_VERSION) 2>/dev/null)) \
             $(patsubst %/lua.h,%,$(wildcard $(addsuffix /lua.h,/usr/include/lua$(LUA_VERSION) \
             /usr/local/include/lua$(LUA_VERSION) /usr/local/include /usr/include))) /usr/include/lua$(LUA_VERSION))
endif

BUILD ?= build

SRC := src/codec/codec.c src/codec/codec_collide.c src/codec/codec_copy.c src/codec/codec_decode.c \
       src/codec/codec_encode.c src/codec/codec_join.c src/codec/codec_message.c src/codec/codec_object.c \
       src/codec/codec_pack.c src/core/attach.c src/core/byte_ring.c src/core/channel.c src/core/clock.c \
       src/core/command.c src/core/event.c src/core/heap.c src/core/job.c src/core/keeper.c src/core/ledger.c \
       src/core/ledger_blocks.c src/core/ledger_dispatch.c src/core/ledger_events.c src/core/ledger_limits.c \
       src/core/ledger_queue.c src/core/ledger_seats.c src/core/listen.c src/core/pool.c src/core/proc.c \
       src/core/relay.c src/core/screen.c src/core/shm.c src/core/signals.c src/core/slot.c src/core/slot_events.c \
       src/core/sys.c src/core/sys_file.c src/core/sys_process.c src/core/sys_server.c src/core/sys_table.c \
       src/core/sys_view.c src/core/sys_wait.c src/core/wait.c src/core/worker.c src/lua/lua_accept.c \
       src/lua/lua_alloc.c src/lua/lua_answer.c src/lua/lua_array.c src/lua/lua_block.c src/lua/lua_board.c \
       src/lua/lua_chain.c src/lua/lua_chain_emit.c src/lua/lua_chain_kept.c src/lua/lua_chain_row.c \
       src/lua/lua_chain_run.c src/lua/lua_channel.c src/lua/lua_codec.c src/lua/lua_command.c \
       src/lua/lua_connection.c src/lua/lua_core.c src/lua/lua_feed.c src/lua/lua_kept.c src/lua/lua_ledger.c \
       src/lua/lua_limit.c src/lua/lua_lines.c src/lua/lua_mg.c src/lua/lua_piece.c src/lua/lua_place.c \
       src/lua/lua_poll.c src/lua/lua_pool.c src/lua/lua_process.c src/lua/lua_protocol.c src/lua/lua_reader.c \
       src/lua/lua_round.c src/lua/lua_screen.c src/lua/lua_seat.c src/lua/lua_server.c src/lua/lua_service.c \
       src/lua/lua_signal.c src/lua/lua_slot.c src/lua/lua_source.c src/lua/lua_spool.c src/lua/lua_step.c \
       src/lua/lua_strings.c src/lua/lua_terminate.c src/lua/lua_threads.c src/lua/lua_through.c src/lua/lua_work.c \
       src/lua/lua_worker.c src/lua/lua_writer.c src/source/csv.c src/source/cut.c src/source/piece.c \
       src/source/reader.c src/store/crc.c src/store/spool.c src/test/faults.c src/test/lua_faults.c \
       src/test/miscount.c
SYS := $(filter src/core/sys%,$(SRC))
OBJ := $(SRC:src/%.c=$(BUILD)/obj/%.o)
LIB := $(BUILD)/minigun/core.so
LUA_MODULES = $(shell find lua -name '*.lua' 2>/dev/null)
LUA_DIRS    = $(sort $(dir $(LUA_MODULES:lua/%=%)))

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion
# Fortified libc calls need an optimising compiler, and a level that the user has chosen stays.
FORTIFY = $(if $(filter -O1 -O2 -O3 -Os -Ofast -Oz,$(CFLAGS)), \
            $(if $(findstring _FORTIFY_SOURCE,$(CPPFLAGS) $(CFLAGS)),,-D_FORTIFY_SOURCE=2))
MG_CFLAGS  = -std=gnu11 -fPIC -fvisibility=hidden $(WARNINGS) $(FORTIFY) -fstack-protector-strong \
             -I$(LUA_INC) -Isrc $(VARIANT)
MG_LDFLAGS = -shared -Wl,-z,relro,-z,now $(VARIANT)
COMPILE    = $(CC) $(MG_CFLAGS) $(CPPFLAGS) $(CFLAGS)
LINK       = $(CC) $(MG_LDFLAGS) $(CFLAGS) $(LDFLAGS)

# As many jobs as there are processors; -j on the command line wins, and so does a make around this one. Several goals
# are reached one after another: for "make clean test", and because nothing may run beside the benchmarks.
ifneq ($(word 2,$(MAKECMDGOALS)),)
.NOTPARALLEL:
else ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 1)
endif

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: lint lint-lua lint-c lint-gcc lint-clang
.PHONY: all help test check surroundings faults install uninstall clean bench asan sanitized gcstress tsan \
        valgrind fuzz model storm cluster-chaos
.PHONY: view-storm redis mutants docs pictures site FORCE

all: $(LIB)

help:
	@echo 'make            build $(LIB)'
	@echo 'make test       build, run every spec (SPECS=spec/x_spec.lua for one); "check" is the same'
	@echo '                MINIGUN_LONG=1: each test as often as is worthwhile; MINIGUN_TIMES=1: the slowest'
	@echo 'make install    into $$(DESTDIR)$$(PREFIX); also: uninstall, clean'
	@echo 'make lint       luacheck, cppcheck, a build that takes warnings for errors'
	@echo 'make asan       the specs under AddressSanitizer and UBSan; also: tsan, valgrind'
	@echo 'make gcstress   the same with full collections of Lua at arbitrary allocations, one in about COLLECT=100'
	@echo 'make surroundings  the specs of deaths where SIGCHLD is ignored, system calls are refused, ...'
	@echo 'make storm      kill workers at random moments, SIGNALS=10000 times, and compare what arrives'
	@echo 'make cluster-chaos  the same with all parts of a cluster, ITEMS=600000'
	@echo 'make view-storm  random keys, sizes, stops and ends for the live view, SECONDS=600 of them'
	@echo 'make mutants    N=100 small faults put into the sources one by one: which ones no spec notices'
	@echo 'make fuzz       build and run the fuzz targets (libFuzzer);  make model   check the models with spin'
	@echo 'make bench      the benchmarks;  make docs   the reference from the sources'
	@echo 'make REDIS=1    builds minigun.redis too, for clusters (needs libhiredis-dev, libssl-dev)'
	@echo 'make site       README, docs/ and examples/ as pages for a browser (needs mkdocs)'

$(LIB): $(OBJ) $(BUILD)/flags
	@mkdir -p $(@D)
	$(LINK) -o $@.new $(OBJ) && mv $@.new $@  # a program that has the old one loaded keeps it

$(BUILD)/obj/%.o: src/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c -o $@ $<

# Written only when compiler or flags differ from the last build's: then everything is built again.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(COMPILE) | $(LINK) | $(SRC)' | cmp -s - $@ || printf '%s\n' '$(COMPILE) | $(LINK) | $(SRC)' > $@

-include $(OBJ:.o=.d)

# The second module, for clusters, where it is asked for: make REDIS=1.
REDIS_LIB := $(BUILD)/minigun/redis.so
REDIS_SRC := src/redis/link.c src/redis/lua_redis.c
redis: $(REDIS_LIB)
ifdef REDIS
all: $(REDIS_LIB)
endif

$(REDIS_LIB): $(REDIS_SRC) src/redis/link.h $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(MG_CFLAGS) $(CPPFLAGS) $(CFLAGS) $(MG_LDFLAGS) $(LDFLAGS) -o $@.new $(REDIS_SRC) -lhiredis -lssl -lcrypto && \
	  mv $@.new $@

# ---- tests -----------------------------------------------------------------------------------------------------

RUN_SPECS = bash spec/run

check: test

THREADED = $(BUILD)/ring_threads $(BUILD)/channel_threads

test: all faults $(THREADED)
	@$(RUN_SPECS) $(SPECS) -- $(LUA) $(BUSTED) --ignore-lua

# Two threads at the two ends of a ring, and of a connection; sys is all of the rest that they need.

$(BUILD)/ring_threads: src/core/ring.h
$(BUILD)/channel_threads: $(addprefix src/core/,channel.c channel.h byte_ring.c byte_ring.h proc.c) src/test/faults.c
$(THREADED): $(BUILD)/%: spec/threads/%.c $(SYS) $(addprefix src/core/,event.c event.h mg.h sys.h) $(BUILD)/flags
	$(COMPILE) -pthread $(LDFLAGS) -o $@ $(filter %.c,$^)

# The specs of deaths and of the program around a run, once in each of the surroundings that a program may meet.
surroundings: all faults
	@mkdir -p $(BUILD)/spec && $(CC) -O1 -Wall -Wextra -o $(BUILD)/spec/confined spec/programs/confined.c
	@CONFINED=$(BUILD)/spec/confined bash spec/surroundings $(LUA) $(BUSTED) --ignore-lua

# A build in which specs can make the Nth call of the operating system fail (see src/core/sys.h).
faults:
	@$(MAKE) --no-print-directory BUILD=build-faults VARIANT='-DMG_FAULTS -Wl,-z,nodelete' all

# Lua itself is not instrumented, so leaks are left to the specs' own checks and to valgrind. Reports go to files:
# a worker that a sanitizer has ended looks like any other dead worker to a spec that expects one.
SANITIZED     = build-asan
SANITIZER_ENV = ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:log_path=$(CURDIR)/$(SANITIZED)/report \
                UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:log_path=$(CURDIR)/$(SANITIZED)/report \
                LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)"
REPORTS       = for report in $(SANITIZED)/report.*; do \
                  if [ -e "$$report" ]; then cat "$$report" >&2; status=1; fi; \
                done; exit $$status

asan: sanitized
	@MINIGUN_BUILD=build-asan MINIGUN_UNDER=asan MINIGUN_TEST_DEADLINE=300 $(RUN_SPECS) $(SPECS) -- \
	  env $(SANITIZER_ENV) $(LUA) $(BUSTED) --ignore-lua; status=$$?; $(REPORTS)

sanitized: faults build/ring_threads build/channel_threads
	@$(MAKE) --no-print-directory BUILD=$(SANITIZED) FORTIFY= CFLAGS='-O1 -g' \
	  VARIANT='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer $(MORE)' all
	@rm -f $(SANITIZED)/report.*

# Full collections of Lua at arbitrary allocations: an object that the core uses and has not anchored is gone then, and
# AddressSanitizer says so. First a program that uses all of the binding, with a collection for every allocation or
# two, then the specs, with one for every $(COLLECT) allocations for each 64 KiB of Lua's memory.
COLLECT ?= 100

gcstress: SANITIZED = build-gcstress
gcstress: MORE = -DMG_FAULTS -Wl,-z,nodelete
gcstress: sanitized
	@$(STORM_ENV) LUA_CPATH='./$(SANITIZED)/?.so;;' env $(SANITIZER_ENV) $(LUA) spec/programs/collect.lua \
	  $(or $(SEED),1) 1 50; status=$$?; $(REPORTS)
	@MINIGUN_COLLECT=$(COLLECT) MINIGUN_BUILD=$(SANITIZED) MINIGUN_UNDER=gcstress MINIGUN_TEST_DEADLINE=600 \
	  $(RUN_SPECS) $(SPECS) -- env $(SANITIZER_ENV) $(LUA) $(BUSTED) --ignore-lua; status=$$?; $(REPORTS)

# ThreadSanitizer sees threads, not processes: the ends of a ring are two threads here. It does not know fences,
# which event.h has on a word that is atomic anyway.
tsan:
	@$(MAKE) --no-print-directory BUILD=build-tsan FORTIFY= CFLAGS='-O1 -g' \
	  VARIANT='-fsanitize=thread -fno-omit-frame-pointer -Wno-tsan' build-tsan/ring_threads build-tsan/channel_threads
	TSAN_OPTIONS=halt_on_error=1 setarch -R build-tsan/ring_threads
	TSAN_OPTIONS=halt_on_error=1 setarch -R build-tsan/channel_threads

# Each process reports into a file of its own: what a worker does wrong must not drown in a spec that expects it to die.
# Leaks are not searched for: that would walk the whole reserved mapping in every child; the specs count what is left.
# Nor is libc asked to free its own: it would seek in files that a worker shares with the coordinator.
VALGRIND_LOGS = $(CURDIR)/$(BUILD)/valgrind

LUA_IN_VALGRIND = $(VALGRIND) -q --leak-check=no --run-libc-freeres=no --error-exitcode=99 \
                  --log-file=$(VALGRIND_LOGS)/%p $(LUA)

valgrind: all faults $(THREADED)
	@rm -rf $(VALGRIND_LOGS) && mkdir -p $(VALGRIND_LOGS)
	@MINIGUN_UNDER=valgrind MINIGUN_LUA='$(LUA_IN_VALGRIND)' MINIGUN_TEST_DEADLINE=600 $(RUN_SPECS) $(SPECS) -- \
	  $(LUA_IN_VALGRIND) $(BUSTED) --ignore-lua
	@! grep -lE 'Invalid (read|write|free)|ninitialised|Mismatched free|unaddressable' $(VALGRIND_LOGS)/*

# Signals to random workers at random moments, and deaths at each point between two stores: SIGNALS=100000 SEED=1.
SIGNALS ?= 10000
STORM_ENV = LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;'

storm: all faults
	@$(STORM_ENV) LUA_CPATH='./build-faults/?.so;;' $(LUA) spec/programs/die_at_points.lua 100
	@$(STORM_ENV) LUA_CPATH='./$(BUILD)/?.so;;' $(LUA) spec/programs/storm.lua $(SIGNALS) $(SEED)

# Deaths of all parts of a cluster, over a set of sentinels, while ITEMS=600000 go through it: SEED=1.
cluster-chaos: all redis
	@$(STORM_ENV) LUA_CPATH='./$(BUILD)/?.so;;' $(LUA) spec/programs/chaos.lua $(or $(ITEMS),600000) $(SEED)

# Random keys, sizes, stops and ends for the live view at a terminal: SECONDS=600 SEED=1.
view-storm: all
	@$(STORM_ENV) LUA_CPATH='./$(BUILD)/?.so;;' $(LUA) spec/programs/view_storm.lua $(or $(SECONDS),600) $(SEED)

# The protocols of the shared memory as models: two minutes, 6 GiB.
model:
	@CC=$(CC) spec/model/check

LUA_LIBS ?= $(shell $(PKG_CONFIG) --libs lua$(LUA_VERSION) 2>/dev/null || echo -llua$(LUA_VERSION))

# Builds the fuzz targets, and runs each for SECONDS=10. One alone: build-fuzz/slot_fuzz -max_total_time=600 CORPUS.
FUZZ = $(CLANG) -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -I$(LUA_INC) -Isrc -o build-fuzz/$@

FUZZERS = channel_fuzz cut_fuzz decode_fuzz ledger_fuzz slot_fuzz spool_fuzz

fuzz: $(FUZZERS)
	@for f in $(FUZZERS); do \
	  build-fuzz/$$f -max_total_time=$(or $(SECONDS),10) -artifact_prefix=build-fuzz/ >build-fuzz/$$f.log 2>&1 || \
	    { tail -n 40 build-fuzz/$$f.log; exit 1; }; \
	  echo "$$f: $$(tail -n 1 build-fuzz/$$f.log)"; \
	done

.PHONY: $(FUZZERS)
$(FUZZERS):
	@mkdir -p build-fuzz
	$(FUZZ) spec/fuzz/$@.c $(FUZZ_SRC)

channel_fuzz: FUZZ_SRC = $(SYS) $(addprefix src/core/,channel.c byte_ring.c event.c proc.c) src/test/faults.c
cut_fuzz:    FUZZ_SRC = $(addprefix src/source/,cut.c csv.c)
decode_fuzz: FUZZ_SRC = $(SRC) $(LUA_LIBS) -lm -ldl
ledger_fuzz: FUZZ_SRC = $(filter src/core/%,$(SRC)) src/test/faults.c -lm
slot_fuzz:   FUZZ_SRC = $(SYS) $(addprefix src/core/,slot.c slot_events.c shm.c event.c proc.c) src/test/faults.c
spool_fuzz:  FUZZ_SRC = $(SYS) $(addprefix src/store/,spool.c crc.c) src/core/proc.c src/test/faults.c

# Changes of one operator, constant, condition, call or argument at a time in lua/ and src/, and which of them no spec
# notices: N=100 SEED=1, ONLY='3 17', FILES=pattern, JOBS, ROUNDS (see spec/mutants/main.lua). Hours for hundreds.
N ?= 100

mutants: all
	@MAKEFLAGS= MAKELEVEL=0 N='$(N)' SEED='$(SEED)' ONLY='$(ONLY)' FILES='$(FILES)' JOBS='$(JOBS)' \
	  ROUNDS='$(ROUNDS)' LIST='$(LIST)' LUA_INC='$(LUA_INC)' $(LUA) spec/mutants/main.lua

# ---- other checks ----------------------------------------------------------------------------------------------

LINT_LUA = $(wildcard lua spec examples bench docs bin/minigun .luacheckrc .busted)

lint: lint-lua lint-c lint-gcc lint-clang

lint-lua:
	$(LUACHECK) --quiet $(LINT_LUA)

# shiftTooManyBitsSigned: gcc and clang define >> of a negative number as arithmetic, and the codec counts on it.
# ctuuninitvar: cppcheck 2.10 takes the encoder's struct, set field by field, for unset.
lint-c:
	$(CPPCHECK) --std=c11 --quiet --enable=warning,portability,performance --error-exitcode=1 --inline-suppr \
	  --suppress=missingIncludeSystem --suppress=shiftTooManyBitsSigned \
	  --suppress=ctuuninitvar:src/codec/codec_encode.c -I src src

lint-gcc:
	@$(MAKE) --no-print-directory BUILD=build-lint VARIANT=-Werror all

lint-clang:
	@if command -v $(CLANG) >/dev/null; then \
	  $(MAKE) --no-print-directory CC=$(CLANG) BUILD=build-lint-clang VARIANT=-Werror all; \
	else echo 'make lint: $(CLANG) is not installed, its build is left out'; fi

bench: all
	$(MAKE) -C bench run

docs:
	$(LUA) docs/generate.lua
	$(LUA) docs/generate_tutorial.lua
	$(LUA) docs/generate_command.lua

# The pictures of the pages, from runs on this machine: not at every change.
pictures: all
	$(LUA) docs/generate_pictures.lua

# README, docs/ and examples/ as pages to read in a browser: $(SITE)/html/index.html.
SITE ?= $(BUILD)/site
site:
	@rm -rf '$(SITE)' && $(LUA) docs/generate_site.lua '$(SITE)' && cd '$(SITE)' && mkdocs build -q

# ---- install ---------------------------------------------------------------------------------------------------

install: all
	$(INSTALL) -d '$(DESTDIR)$(LIBDIR)/minigun' '$(DESTDIR)$(BINDIR)' $(foreach d,$(LUA_DIRS),'$(DESTDIR)$(LUADIR)/$d')
	$(INSTALL) -m 755 $(LIB) '$(DESTDIR)$(LIBDIR)/minigun/core.so'
	@if [ -e $(REDIS_LIB) ]; then $(INSTALL) -m 755 $(REDIS_LIB) '$(DESTDIR)$(LIBDIR)/minigun/redis.so'; fi
	@for d in $(LUA_DIRS); do $(INSTALL) -m 644 "lua/$$d"*.lua '$(DESTDIR)$(LUADIR)'/"$$d" || exit 1; done
	$(INSTALL) -D -m 644 docs/minigun.1 '$(DESTDIR)$(MANDIR)/man1/minigun.1'
	@bin/install-command '$(LUA)' '$(LUADIR)' '$(LIBDIR)' '$(BINDIR)' '$(DESTDIR)'

uninstall:
	rm -f '$(DESTDIR)$(BINDIR)/minigun' '$(DESTDIR)$(MANDIR)/man1/minigun.1'
	rm -rf '$(DESTDIR)$(LIBDIR)/minigun' '$(DESTDIR)$(LUADIR)/minigun'

clean:
	rm -rf build build-*
