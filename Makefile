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
LDHARDEN = -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifeq ($(SAN),)
OPT      = -O2 -g -D_FORTIFY_SOURCE=2
else
OPT      = -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined)
LDHARDEN += -fsanitize=$(SAN)
endif

ALL_CFLAGS  = $(WARN) $(HARDEN) $(OPT) -D_GNU_SOURCE -MMD -MP $(shell pkg-config --cflags $(PKGS)) $(CFLAGS)
ALL_LDFLAGS = $(LDHARDEN) $(LDFLAGS)
LIBS        = $(shell pkg-config --libs $(PKGS)) -lpthread -lm

# Sources, a line a folder, from the ground up. Each list has everything but main.
PROTO  = buf request reply
CONF   = conf schema yaml
DAEMON = clock log json hashkey value worker rows \
         fetch fetch_sqlite fetch_postgres fetch_exec fetch_assemble

OBJS   = $(PROTO:%=$(BUILD)/proto/%.o) $(CONF:%=$(BUILD)/conf/%.o) $(DAEMON:%=$(BUILD)/daemon/%.o)
UNIT   = $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
SUITES = $(patsubst tests/daemon/%.c,$(BUILD)/tests/daemon/%,$(wildcard tests/daemon/test_*.c))

.DELETE_ON_ERROR:
.SECONDARY:

all: $(BUILD)/catcached $(BUILD)/catcachectl  ## build the daemon and the client

$(BUILD)/catcached: $(BUILD)/daemon/main.o $(OBJS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/catcachectl: $(BUILD)/proto/catcachectl.o $(PROTO:%=$(BUILD)/proto/%.o)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# A unit test is tests/unit/test_<source>.c: a Check program linked with everything but main.
$(BUILD)/tests/unit/test_%: $(BUILD)/tests/unit/test_%.o $(OBJS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(shell pkg-config --libs check) $(LIBS)

# A daemon test is tests/daemon/test_<area>.c: a Check program that drives $(BUILD)/catcached.
$(BUILD)/tests/daemon/test_%: $(BUILD)/tests/daemon/test_%.o $(BUILD)/tests/daemon/harness.o $(OBJS)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(shell pkg-config --libs check) $(LIBS)

tests-built: all $(UNIT) $(SUITES)

clean:  ## remove everything made
	rm -rf build

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 16

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.PHONY: all clean help tests-built
