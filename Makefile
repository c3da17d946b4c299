# catcached: build, test, demo. `make help` lists the targets.
# BUILD holds everything made; each sanitizer has a folder of its own in it.

ifeq ($(origin CC),default)
CC       = gcc
endif
SAN     ?=
comma    = ,
BUILD   ?= build$(if $(SAN),/san-$(subst $(comma),-,$(SAN)))

PKGS     = libevent libevent_pthreads hiredis libcjson yaml-0.1 libpq sqlite3 libsystemd libb2 libxxhash
WARN     = -std=c11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla
HARDEN   = -fPIE -fstack-protector-strong -fstack-clash-protection
LDHARDEN = -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed
ifeq ($(SAN),)
OPT      = -O2 -g -D_FORTIFY_SOURCE=2 $(FAT)
else
OPT      = -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined)
LDHARDEN += -fsanitize=$(SAN)
endif

# The daemon is optimised as a whole, which takes 3 to 7 % off a hit. The tests are linked from the same objects without,
# so that each takes no longer to link. (Objects for both are gcc's alone.)
ifeq ($(findstring clang,$(CC))$(SAN),)
FAT      = -flto=auto -ffat-lto-objects
LTO      = -fno-lto
$(BUILD)/catcached: LTO = -O2 -flto=auto
endif

ALL_CFLAGS  = $(WARN) $(HARDEN) $(OPT) -D_GNU_SOURCE -MMD -MP $(shell pkg-config --cflags $(PKGS)) $(CFLAGS)
ALL_LDFLAGS = $(LDHARDEN) $(LTO) $(LDFLAGS)
LIBS        = $(shell pkg-config --libs $(PKGS)) -lpthread -lm

# Sources, a line a folder, from the ground up. Each list has everything but main.
PROTO  = buf request request_batch reply reply_scan
CTL    = ctl_text ctl_json ctl_advice ctl_link ctl ctl_any ctl_value ctl_figures ctl_show ctl_screen ctl_top ctl_warm ctl_config
CONF   = conf succession rules schema kind url sql yaml
DAEMON = clock histogram exposition recent log json hashkey value key keymap keyset fence worker errand check rows \
         breaker fetch fetch_call process sqlite_conn pg_lib pg_target pg_link fetch_sqlite fetch_postgres fetch_exec fetch_assemble \
         memory_entry memory_table memory_drop memory_order memory redis_reply redis_link lookup redis_dial tracking redis_op redis redis_lease redis_fill redis_transaction tiers history clears replay flight flight_wait flight_try flight_read flight_lease flight_fetch \
         catalog catalog_watch catalog_reload catalog_set catalog_write catalog_pass catalog_invalidate catalog_cascade catalog_explain catalog_stats snapshot catalog_snapshot \
         out parked client_request client server warm notify reload command_table command_keys glob command command_connection command_clients command_read command_options command_set command_expire command_write command_pass command_keyspace command_transaction command_exec command_server command_syntax command_docs metrics status admin

OBJS   = $(PROTO:%=$(BUILD)/proto/%.o) $(CONF:%=$(BUILD)/conf/%.o) $(DAEMON:%=$(BUILD)/daemon/%.o) $(BUILD)/daemon/status_html.o
UNIT   = $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
SUITES = $(patsubst tests/daemon/%.c,$(BUILD)/tests/daemon/%,$(wildcard tests/daemon/test_*.c))

.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/catcached $(BUILD)/catcachectl  ## build the daemon and the client

$(BUILD)/catcached: $(BUILD)/daemon/main.o $(OBJS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/catcachectl: $(BUILD)/proto/catcachectl.o $(CTL:%=$(BUILD)/proto/%.o) $(PROTO:%=$(BUILD)/proto/%.o)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# The status page becomes a constant of the daemon.
$(BUILD)/daemon/status_html.o: daemon/status.html Makefile
	@mkdir -p $(@D)
	{ echo '#include <stddef.h>'; echo 'extern const char status_html[]; extern const size_t status_html_len;'; \
	  echo 'const char status_html[] = {'; od -An -v -tx1 $< | sed 's/ \(..\)/0x\1,/g'; \
	  echo '}; const size_t status_html_len = sizeof(status_html);'; } >$(@:.o=.c)
	$(CC) $(WARN) $(HARDEN) -c -o $@ $(@:.o=.c)

# A unit test is tests/unit/test_<source>.c, a Check program linked with everything but
# main; a daemon test is tests/daemon/test_<area>.c, one that drives $(BUILD)/catcached.
# What else is there, they share.
RIG = $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/*.c) $(filter-out tests/unit/test_%,$(wildcard tests/unit/*.c)))
HARNESS = $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/*.c) $(filter-out tests/daemon/test_%,$(wildcard tests/daemon/*.c)))

$(BUILD)/tests/unit/test_%: $(BUILD)/tests/unit/test_%.o $(RIG) $(OBJS) $(CTL:%=$(BUILD)/proto/%.o)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(shell pkg-config --libs check) $(LIBS)

# Its source is a fake: no real one can be made to complete at chosen moments.
$(BUILD)/tests/unit/test_flight: ALL_LDFLAGS += -Wl,--wrap=fetch_start,--wrap=fetch_run_by

$(BUILD)/tests/daemon/test_%: $(BUILD)/tests/daemon/test_%.o $(HARNESS) $(OBJS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(shell pkg-config --libs check) $(LIBS)

# A chaos test is tests/chaos/test_<area>.c: one that drives a fleet under faults.
CHAOS = $(patsubst tests/chaos/%.c,$(BUILD)/tests/chaos/%,$(wildcard tests/chaos/test_*.c))
TIMED = $(filter %_stampede,$(CHAOS))
STORM = $(patsubst %.c,$(BUILD)/%.o,$(filter-out tests/chaos/test_% tests/chaos/wallclock.c,$(wildcard tests/chaos/*.c)))

$(BUILD)/tests/chaos/test_%: $(BUILD)/tests/chaos/test_%.o $(STORM) $(HARNESS) $(OBJS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(shell pkg-config --libs check) $(LIBS)

# A fuzz target is tests/fuzz/fuzz_<name>.c: linked with libFuzzer where SAN says so, else with
# a main that runs the inputs kept for it.
FUZZ = $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
REPLAY = $(if $(findstring fuzzer,$(SAN)),,$(BUILD)/tests/fuzz/replay.o)

$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(REPLAY) $(OBJS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# What looks at the daemon from outside.
WATCH = tests/watch/browser tests/watch/prometheus

# The benchmark, and the echo server that it measures as the floor.
BENCHMARK = bench contest growth hist hits load memory report server stalls strace wire

$(BUILD)/tests/bench/bench: $(BENCHMARK:%=$(BUILD)/tests/bench/%.o) $(BUILD)/proto/buf.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/bench/floor: $(BUILD)/tests/bench/floor.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^

# Preloaded into the daemon by the benchmark.
$(BUILD)/tests/bench/turns.so: tests/bench/turns.c tests/bench/turns.h Makefile
	@mkdir -p $(@D)
	$(CC) $(WARN) -O2 -fPIC -shared -D_GNU_SOURCE -o $@ $<

# A simulator of eviction, with the real memory tier in it.
$(BUILD)/tests/bench/hitratio: $(BUILD)/tests/bench/hitratio.o $(patsubst %,$(BUILD)/daemon/%.o,memory memory_entry memory_table memory_drop memory_order value key json) $(BUILD)/proto/buf.o
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Preloaded into servers, so without a sanitizer of its own.
$(BUILD)/tests/chaos/wallclock.so: tests/chaos/wallclock.c Makefile
	@mkdir -p $(@D)
	$(CC) $(WARN) -O2 -fPIC -shared -D_GNU_SOURCE -o $@ $<

tests-built: all $(UNIT) $(SUITES) $(CHAOS) $(FUZZ) $(BUILD)/tests/chaos/wallclock.so

# make again, on all processors unless the caller chose a number.
REMAKE = $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

# What runs on a fresh machine first installs what is missing, then starts over to find it.
demo:  ## build, then show the main job on real data (under a minute)
	@tests/setup demo
	@$(REMAKE) all
	@BUILD=$(BUILD) tests/demo

check:  ## build and run every test; SAN=address,undefined or SAN=thread runs them sanitized
	@tests/setup check
	@$(REMAKE) tests-built
	@BUILD=$(BUILD) tests/run $(TIMED) --alone tests/clients/run $(WATCH) $(UNIT) $(SUITES) $(FUZZ) $(filter-out $(TIMED),$(CHAOS))

chaos:  ## build and run the chaos tests at full length (under five minutes)
	@tests/setup check
	@$(REMAKE) all $(CHAOS) $(BUILD)/tests/chaos/wallclock.so
	@BUILD=$(BUILD) CHAOS=full VERBOSE=1 tests/run $(TIMED) --alone $(filter-out $(TIMED),$(CHAOS))

fuzz:  ## look for inputs that break something, FUZZ_SECONDS (60) for each target
	@tests/setup check
	@$(REMAKE) CC=clang SAN=fuzzer,address,undefined fuzz-run

fuzz-run: $(FUZZ)
	@tests/fuzz/run $(FUZZ)

bench:  ## measure beside Redis and memcached (under six minutes); BENCH=full takes long, BENCH=quick is for development
	@tests/setup bench
	@$(REMAKE) all $(BUILD)/tests/bench/bench $(BUILD)/tests/bench/floor $(BUILD)/tests/bench/turns.so
	@BUILD=$(BUILD) $(BUILD)/tests/bench/bench

clients:  ## build, then run real Redis clients against the daemon (under a minute)
	@tests/setup clients
	@$(REMAKE) all
	@BUILD=$(BUILD) tests/clients/run

watch:  ## build, then look at metrics, rules and the status page with Prometheus and Chromium (a minute)
	@tests/setup watch
	@$(REMAKE) all
	@BUILD=$(BUILD) tests/run $(WATCH)

check-unit: $(UNIT)  ## build and run the unit tests alone
	@BUILD=$(BUILD) tests/run $(UNIT)

# ---- what is installed: mode, file, place ----

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
SYSUSERDIR ?= $(PREFIX)/lib/sysusers.d
SHARE       = $(PREFIX)/share
CONFIG      = $(SYSCONFDIR)/catcached/catcached.yaml
MONITORING  = conf/catcached.rules.yaml conf/catcached.dashboard.json

INSTALLED = 755,$(BUILD)/catcached,$(PREFIX)/sbin/catcached \
	755,$(BUILD)/catcachectl,$(PREFIX)/bin/catcachectl \
	644,systemd/catcached.service,$(UNITDIR)/catcached.service \
	644,systemd/catcached.socket,$(UNITDIR)/catcached.socket \
	644,systemd/catcached.sysusers,$(SYSUSERDIR)/catcached.conf \
	644,daemon/catcached.8,$(SHARE)/man/man8/catcached.8 \
	644,conf/catcached.yaml.5,$(SHARE)/man/man5/catcached.yaml.5 \
	644,proto/catcachectl.1,$(SHARE)/man/man1/catcachectl.1 \
	644,proto/catcachectl.bash-completion,$(SHARE)/bash-completion/completions/catcachectl \
	644,conf/catcached.yaml,$(SHARE)/catcached/catcached.yaml \
	$(MONITORING:conf/%=644,conf/%,$(SHARE)/catcached/%) \
	644,README.md,$(SHARE)/doc/catcached/README.md \
	644,CHANGELOG.md,$(SHARE)/doc/catcached/CHANGELOG.md \
	644,proto/PROTOCOL.md,$(SHARE)/doc/catcached/PROTOCOL.md

install: all  ## install to PREFIX (/usr/local), below DESTDIR; a configuration that is there is left alone
	@set -e; for each in $(INSTALLED); do \
		mode=$${each%%,*}; rest=$${each#*,}; \
		install -D -m "$$mode" "$${rest%%,*}" "$(DESTDIR)$${rest#*,}"; \
	done
	@sed -i 's|/usr/local/sbin/|$(PREFIX)/sbin/|' "$(DESTDIR)$(UNITDIR)/catcached.service"
	@test -e "$(DESTDIR)$(CONFIG)" || install -D -m 644 conf/catcached.yaml "$(DESTDIR)$(CONFIG)"
	@test -n "$(DESTDIR)" || echo "installed; next: systemd-sysusers && systemctl daemon-reload && systemctl enable --now catcached"

uninstall:  ## remove what install installed, but not the configuration
	@rm -f $(foreach each,$(INSTALLED),"$(DESTDIR)$(lastword $(subst $(comma), ,$(each)))")
	@rmdir "$(DESTDIR)$(SHARE)/catcached" "$(DESTDIR)$(SHARE)/doc/catcached" 2>/dev/null || true
	@test -n "$(DESTDIR)" || echo "removed, but for $(CONFIG); stop what still runs: systemctl daemon-reload; systemctl stop catcached.socket catcached"

deb:  ## make a Debian package in BUILD
	@tests/setup package
	@$(REMAKE) all
	@BUILD=$(BUILD) systemd/debian/build

check-systemd:  ## install into a Debian of its own and run it there under a real systemd, by hand and as a package (needs root)
	@tests/setup systemd
	@$(REMAKE) all
	@$(MAKE) --no-print-directory deb
	@BUILD=$(BUILD) tests/systemd/run

sizes:  ## functions over 60 lines and files over 400
	@ctags -x --c-kinds=f --_xformat='%{end} %n %N %F' $(wildcard daemon/*.c proto/*.c conf/*.c tests/*/*.c) \
		| awk '{n = $$1 - $$2 + 1; if (n > 60) print n " lines: " $$3 " (" $$4 ")"}' | sort -rn
	@wc -l $(wildcard daemon/*.[ch] proto/*.[ch] conf/*.[ch]) | awk '$$2 != "total" && $$1 > 400 {print $$1 " lines: " $$2}' | sort -rn

clean:  ## remove everything made
	rm -rf build

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

-include $(shell find $(BUILD) -path '*/tests/systemd' -prune -o -name '*.d' -type f -print 2>/dev/null)

.PHONY: all bench chaos check check-systemd check-unit clean clients deb demo fuzz fuzz-run help install sizes tests-built uninstall watch
