# SPDX-License-Identifier: LGPL-2.1-or-later
# Postern. `make help` lists what can be made. Everything generated stays below $(B).

VERSION := 0.1.0
B       ?= build
# One spelling, since the compiler's lists of dependencies have it too.
override B := $(patsubst $(CURDIR)/%,%,$(abspath $(B)))
ifeq ($(origin CC),default)
CC      := gcc
endif
PREFIX  ?= /usr
DESTDIR ?=
SBIN    := $(PREFIX)/sbin
LIBEXEC := $(PREFIX)/libexec/postern
LIBDIR  ?= $(PREFIX)/lib
DATADIR := $(PREFIX)/share/postern

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-8s %s\n'
endif

# ---- flags -------------------------------------------------------------------------------------

# The braces that the generated initialisers lack are not ours.
WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
	-Wnested-externs -Wredundant-decls -Wpointer-arith -Wwrite-strings -Wvla -Walloca -Wformat=2 \
	-Wundef -Wunused-macros -Wconversion -Wdouble-promotion -Wnull-dereference \
	-Wdate-time -Wno-missing-braces
ifeq ($(findstring clang,$(shell $(CC) --version 2>/dev/null)),)
WARNINGS += -Wformat-signedness -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wjump-misses-init
endif
OPTIMISE ?= -O2 -g
HARDEN   ?= -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection -fcf-protection
CPPFLAGS += -D_GNU_SOURCE -I. -I$(B)/gen -I$(B)/include -DPOSTERN_VERSION='"$(VERSION)"' \
	$(shell pkg-config --cflags libnl-3.0)
# One object serves programs and the library; what that shows, its headers say.
MODEL    := -fPIC -fvisibility=hidden -fno-strict-aliasing -ffunction-sections -fdata-sections
CFLAGS   += -std=gnu11 $(OPTIMISE) $(WARNINGS) $(HARDEN) $(MODEL)
LDFLAGS  += -Wl,-z,relro,-z,now -Wl,--gc-sections -Wl,--as-needed
PIE      ?= -pie
STATIC   ?= -static-pie
# Relocations as a map of bits, a fiftieth of the size, which each idle process would else have in memory. What is
# linked so starts with glibc 2.36 and newer only: the program that tells whether it does is run.
RELR     := $(shell relr=-Wl,-z,pack-relative-relocs; probe=$$(mktemp) && printf 'int main(void) { return 0; }' | \
	$(CC) $(STATIC) -Wl,--fatal-warnings $$relr -x c -o $$probe - 2>/dev/null && $$probe && echo $$relr; rm -f $$probe)
LDFLAGS  += $(RELR)

ifdef SANITIZE
override B := build/asan
OPTIMISE := -O1 -g
HARDEN   :=
CFLAGS   += -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDFLAGS  += -fsanitize=address,undefined
STATIC   := -pie
endif

# ---- the protocol ------------------------------------------------------------------------------

PROTOS    := $(wildcard proto/*.proto)
MESSAGES  := $(PROTOS:proto/%.proto=$(B)/gen/%.pb-c.c)
TEST_PROTOS := $(wildcard tests/unit/*.proto)
GENERATED := $(MESSAGES) $(B)/gen/messages.h $(B)/gen/methods.rows $(B)/gen/fields.h $(B)/gen/services.c \
	$(TEST_PROTOS:tests/unit/%.proto=$(B)/gen/%.pb-c.c)

# Else make takes some of them for intermediate files, and removes them after use.
.SECONDARY: $(GENERATED)

.PHONY: all
all: agent host

$(B)/gen/%.pb-c.c: proto/%.proto
	$(say) PROTOC $<
	$(Q)mkdir -p $(@D)
	$(Q)protoc-c -Iproto --c_out=$(B)/gen $<

$(B)/gen/%.pb-c.c: tests/unit/%.proto
	$(say) PROTOC $<
	$(Q)mkdir -p $(@D)
	$(Q)protoc-c -Itests/unit --c_out=$(B)/gen $<

$(B)/gen/messages.h: $(PROTOS) Makefile
	$(say) GEN $@
	$(Q)mkdir -p $(@D)
	$(Q)printf '#pragma once\n' > $@
	$(Q)printf '#include "%s.pb-c.h"\n' $(basename $(notdir $(PROTOS))) >> $@

$(B)/gen/methods.rows: $(filter-out %/topics.rows,$(wildcard agent/methods/*.rows)) Makefile
	$(say) GEN $@
	$(Q)mkdir -p $(@D)
	$(Q)printf '#include "%s"\n' $(filter %.rows,$^) > $@

# What policy rules can ask of parameters, for the broker, which has no descriptors.
$(B)/gen/fields.h: proto/fields.awk $(PROTOS)
	$(say) GEN $@
	$(Q)mkdir -p $(@D)
	$(Q){ printf '#pragma once\n'; awk -f proto/fields.awk $(PROTOS) pass=2 $(PROTOS); } > $@

# Every service of every .proto, so that a client knows all schemas without a second list.
$(B)/gen/services.c: $(PROTOS) Makefile
	$(say) GEN $@
	$(Q)mkdir -p $(@D)
	$(Q){ printf '#include "messages.h"\n#include "proto/client/services.h"\n'; \
	printf 'const ProtobufCServiceDescriptor *const postern_services[] = {\n'; \
	sed -n 's/^service \([A-Za-z]*\) *{.*/\1/p' $(PROTOS) | sed 's/\(.\)\([A-Z]\)/\1_\2/g' | \
	tr A-Z a-z | sed 's/.*/\t\&postern__v1__&__descriptor,/'; printf '\tNULL,\n};\n'; } > $@

# ---- objects -----------------------------------------------------------------------------------

objects  = $(patsubst %.c,$(B)/obj/%.o,$(1))
messages := $(MESSAGES:$(B)/gen/%.c=$(B)/obj/gen/%.o)
services := $(B)/obj/gen/services.o
sources  = $(wildcard $(addsuffix /*.c,$(1)))

# What objects are made with: another compiler or optimisation makes them anew, another prefix the one
# that knows it.
$(B)/flags: export FLAGS = $(CC) $(VERSION) $(OPTIMISE) $(HARDEN) $(MODEL) $(WARNINGS) $(SANITIZE)
$(B)/places: export FLAGS = $(SBIN) $(LIBEXEC) $(DATADIR)
$(B)/flags $(B)/places: force
	$(Q)mkdir -p $(@D)
	$(Q)printf '%s\n' "$$FLAGS" | cmp -s - $@ || printf '%s\n' "$$FLAGS" >$@

CFLAGS_proto/places := -DPOSTERN_SBIN_DIR='"$(SBIN)"' -DPOSTERN_LIBEXEC_DIR='"$(LIBEXEC)"' \
	-DPOSTERN_DATA_DIR='"$(DATADIR)"'
$(B)/obj/proto/places.o: $(B)/places

.PHONY: force
force:

$(B)/obj/%.o: %.c $(B)/flags | $(GENERATED)
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$*) -MMD -MP -c -o $@ $<

$(B)/obj/gen/%.o: $(B)/gen/%.c $(B)/flags | $(GENERATED)
	$(say) CC $<
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/libproto.a: $(call objects,$(call sources,proto proto/copy proto/forward proto/perf))
$(B)/libmessages.a: $(messages)
$(B)/libclient.a: $(call objects,$(call sources,proto/client)) $(services)
$(B)/%.a:
	$(say) AR $@
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

pkg = $(shell pkg-config --libs $(1))

# ---- programs: what each is made of ------------------------------------------------------------

# Libraries of which an agent program needs a small part are linked in: a worker is linked anew for each
# request, and what is linked in costs no look-up then, and no pages of its own.
agent_static = $(if $(filter -static%,$(STATIC)),$(patsubst -l%,-l:lib%.a,$(call pkg,$(1))),$(call pkg,$(1)))

agent_common := $(call objects,agent/inner.c agent/hook_event.c agent/init_kind.c agent/row.c agent/sandbox/confine.c \
	agent/sandbox/families.c agent/touch.c)

judging := agent/methods/judge.c agent/methods/judging.c agent/policy/condition.c agent/policy/field_part.c

posternd_OBJECTS := $(agent_common) $(call objects,$(call sources,agent/broker agent/config agent/policy))
postern-session_OBJECTS := $(agent_common) $(call objects,$(call sources,agent/session agent/methods/session) \
	agent/methods/call.c agent/methods/job_message.c agent/methods/sample.c)
postern-session_LINK = $(STATIC)
postern-session_LIBS = $(call agent_static,libprotobuf-c)
postern-watch_OBJECTS := $(agent_common) $(call objects,$(call sources,agent/watch agent/methods/watch) \
	agent/methods/call.c agent/methods/mount_entry.c agent/methods/mount_text.c agent/methods/sample.c)
postern-watch_LIBS = $(call pkg,mount) $(call agent_static,libnl-3.0 libprotobuf-c)
postern-worker_OBJECTS := $(agent_common) $(call objects,$(call sources,agent/worker agent/methods/worker) \
	agent/methods/account.c agent/methods/call.c agent/methods/grant_message.c $(judging) \
	agent/methods/mount_entry.c agent/methods/mount_path.c agent/methods/mount_text.c agent/methods/remote.c agent/notify.c agent/zygote.c \
	kmod-helpers/types.c)
postern-worker_LIBS = $(call pkg,mount) $(call agent_static,libnl-3.0 libprotobuf-c libmd) -ldl

postern-kmod_OBJECTS := $(call objects,$(call sources,kmod-helpers))
postern-kmod_LIBS = $(call pkg,libkmod)
postern-init_OBJECTS := $(call objects,$(call sources,agent/init))
postern-ctl_OBJECTS := $(call objects,$(call sources,agent/ctl agent/config agent/policy) agent/init_kind.c \
	agent/methods/judge.c agent/row.c)
postern-ctl_ARCHIVES := $(B)/libclient.a
postern-ctl_LIBS = $(call pkg,libprotobuf-c jansson)

postern-job_OBJECTS := $(agent_common) $(call objects,$(call sources,agent/job agent/methods/job) \
	agent/methods/account.c agent/methods/call.c agent/methods/grant_message.c agent/methods/job_message.c \
	$(judging) agent/methods/mount_path.c agent/methods/mount_text.c \
	agent/methods/remote.c agent/notify.c agent/zygote.c)
postern-job_LIBS = $(call agent_static,libprotobuf-c)

AGENT := posternd postern-session postern-watch postern-worker postern-job postern-kmod postern-init postern-ctl

# The host: one archive is libpostern; each program takes from it what it needs.
$(B)/libhost.a: $(call objects,$(call sources,host/lib host/common host/initramfs host/vmm) \
	kmod-helpers/boot.c) $(call objects,$(call sources,proto/client)) $(services)
postern_OBJECTS := $(call objects,$(call sources,host/cli))
postern_ARCHIVES := $(B)/libhost.a
postern_LIBS = $(call pkg,libprotobuf-c jansson libmd)
postern-supervisor_OBJECTS := $(call objects,$(call sources,host/supervisor))
postern-supervisor_ARCHIVES := $(B)/libhost.a
postern-supervisor_LIBS = $(postern_LIBS) $(call pkg,libcurl)
postern-vsockd_OBJECTS := $(call objects,$(call sources,host/vsockd))

HOST := postern postern-supervisor postern-vsockd

.PHONY: agent host library
agent: $(AGENT:%=$(B)/%)
host: $(HOST:%=$(B)/%) $(if $(SANITIZE),,library)

define program
$(B)/$(1): $$($(1)_OBJECTS) $$($(1)_ARCHIVES) $(B)/libproto.a $(B)/libmessages.a
	$$(say) LD $$@
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) $$(or $$($(1)_LINK),$$(PIE)) -o $$@ $$($(1)_OBJECTS) \
		$$($(1)_ARCHIVES) $(B)/libproto.a $(B)/libmessages.a $$($(1)_LIBS)
endef
$(foreach name,$(AGENT) $(HOST),$(eval $(call program,$(name))))

# ---- libpostern --------------------------------------------------------------------------------

# What a program outside needs: these headers, and what libpostern.map names. A change that breaks who
# is linked with it is a new number.
ABI         := 0
LIB_SO      := libpostern.so.$(ABI)
LIB_MAP     := host/lib/libpostern.map
LIB_HEADERS := $(addprefix $(B)/include/postern/,postern.h disks.h client.h channel.h ride.h subscribe.h text.h)
LIB_OBJECTS := $(call objects,$(call sources,host/lib proto/client))
LIB_PARTS   := $(LIB_OBJECTS) $(B)/libhost.a $(B)/libproto.a $(B)/libmessages.a

library: $(B)/$(LIB_SO) $(B)/libpostern.so $(B)/libpostern.a $(LIB_HEADERS)

$(B)/$(LIB_SO): $(LIB_PARTS) $(LIB_MAP)
	$(say) LD $@
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-z,defs -Wl,-soname,$(LIB_SO) -Wl,--version-script=$(LIB_MAP) \
		-o $@ $(LIB_PARTS) $(postern_LIBS)

$(B)/libpostern.so: $(B)/$(LIB_SO)
	$(Q)ln -sf $(LIB_SO) $@

# One object, in which all that is not for outside is local: no name of ours meets one of the program's.
$(B)/libpostern.a: $(LIB_PARTS)
	$(say) AR $@
	$(Q)$(CC) -r -nostdlib -o $(B)/libpostern.o $(LIB_PARTS)
	$(Q)objcopy --localize-hidden $(B)/libpostern.o
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $(B)/libpostern.o

vpath %.h host/lib proto/client
$(B)/include/postern/%.h: %.h
	$(Q)mkdir -p $(@D)
	$(Q)sed 's,#include "\(proto/client\|host/lib\)/,#include ",' $< >$@

# Programs of somebody else, as far as they go: they see the headers as they are installed.
EXAMPLES := $(patsubst host/examples/%.c,$(B)/examples/%,$(wildcard host/examples/*.c))
.PHONY: examples
examples: $(EXAMPLES)
$(B)/examples/%: $(B)/obj/host/examples/%.o $(B)/libpostern.so
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(PIE) -o $@ $< -L$(B) -lpostern -Wl,-rpath,'$$ORIGIN/..'
$(EXAMPLES:$(B)/examples/%=$(B)/obj/host/examples/%.o): | $(LIB_HEADERS)

# What programs that are built today rely on; the tests compare with it.
.PHONY: abi
abi: library
	abidw --headers-dir $(B)/include/postern --drop-private-types --no-corpus-path --no-comp-dir-path \
		--no-show-locs --no-elf-needed --no-write-default-sizes --exported-interfaces-only \
		--out-file tests/abi/libpostern.abi $(B)/$(LIB_SO)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# ---- tests ---------------------------------------------------------------------------------------

$(B)/py/.made: $(PROTOS) $(wildcard tests/lib/*.proto)
	$(say) PROTOC $(B)/py
	$(Q)mkdir -p $(@D)
	$(Q)protoc -Iproto -Itests/lib --python_out=$(@D) $^
	$(Q)touch $@

# A unit test says in its first lines what it is linked with: needs (sources, or a folder) and libs.
UNIT_SOURCES := $(wildcard tests/unit/test_*.c)
UNIT         := $(UNIT_SOURCES:tests/unit/%.c=$(B)/tests/unit/%)
unit_words    = $(shell sed -n '1,10s,^/\* $(2): \([^*]*\).*,\1,p' $(1))
unit_sources  = $(foreach word,$(call unit_words,$(1),needs),$(if $(filter %.c,$(word)),$(word),\
	$(filter-out %/main.c,$(wildcard $(word)/*.c))))

define unit_test
$(B)/tests/unit/$(1): $(B)/obj/tests/unit/$(1).o $(call objects,$(call unit_sources,tests/unit/$(1).c)) \
		$(B)/libhost.a $(B)/libclient.a $(B)/libproto.a $(B)/libmessages.a
	$$(say) LD $$@
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) $$(PIE) $$(call unit_words,tests/unit/$(1).c,flags) -o $$@ \
		$$(filter %.o,$$^) $$(filter %.a,$$^) $$(call pkg,cmocka libprotobuf-c jansson libmd libcurl \
		$$(call unit_words,tests/unit/$(1).c,libs))
endef
$(foreach test,$(UNIT:$(B)/tests/unit/%=%),$(eval $(call unit_test,$(test))))

.PHONY: unit
unit: $(UNIT)

# The tests run the agent itself, which is root's; and a virtiofsd of QEMU 7.2 has to be root, too.
.PHONY: need-root
need-root:
	$(Q)[ "$$(id -u)" = 0 ] || { echo 'this needs root, for the agent under test and for virtiofsd:' \
		'sudo make $(MAKECMDGOALS)' >&2; exit 1; }

# Everything that the tests need, then all rungs; RUNGS="unit flow" runs some.
.PHONY: check check-build
check: $(if $(filter-out unit,$(or $(RUNGS),all)),need-root) setup-test
	$(Q)$(MAKE) --no-print-directory check-build
	$(Q)tests/run --build $(B) $(RUNGS)

check-build: guest generic debian openrc unit examples $(B)/py/.made $(B)/tests/witness $(B)/tests/breaker $(B)/bench/vsock_server

# What the test guests run besides the agent: static, so that it runs in any of them.
$(B)/tests/witness $(B)/tests/breaker: $(B)/tests/%: tests/vm/%.c
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu11 -O2 $(WARNINGS) -static -o $@ $<

# ---- the small guest -----------------------------------------------------------------------------

GUEST_ETC := $(B)/guest/etc/postern

.PHONY: guest
guest: all $(GUEST_ETC)/policy.d/50-default.policy
	$(Q)packaging/setup guest $(B)/guest

# One whose kernel has 9p, which the small guest's has not.
.PHONY: generic
generic:
	$(Q)packaging/setup guest $(B)/generic amd64

.PHONY: debian openrc
debian openrc:
	$(Q)packaging/setup $@ $(B)/$@

$(GUEST_ETC)/policy.d/50-default.policy: packaging/policy/50-default.policy
	$(Q)mkdir -p $(@D)
	$(Q)cp $< $@

.PHONY: setup-build setup-run setup-test
setup-build setup-run setup-test:
	$(Q)packaging/setup $(@:setup-%=%)

.PHONY: demo
demo: need-root setup-run
	$(Q)packaging/setup workload
	$(Q)$(MAKE) --no-print-directory guest
	$(Q)B=$(B) tests/demo/demo.sh

# ---- figures -------------------------------------------------------------------------------------

BENCH_HOST  := $(addprefix $(B)/bench/,roundtrip vsock_load)
BENCH_GUEST := $(addprefix $(B)/bench/,forkexec memory init relay vsock_server)

$(BENCH_GUEST): BENCH_STATIC := -static
$(BENCH_HOST) $(BENCH_GUEST): $(B)/bench/%: tests/bench/%.c
	$(say) LD $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) -std=gnu11 -O2 $(WARNINGS) $(BENCH_STATIC) -o $@ $<

.PHONY: bench
bench: need-root setup-test
	$(Q)$(MAKE) --no-print-directory check-build $(BENCH_HOST) $(BENCH_GUEST)
	$(Q)/usr/bin/python3 tests/bench/bench.py --build $(B)

# ---- checks of the source ------------------------------------------------------------------------

SOURCES := $(shell git ls-files '*.c' '*.h' 2>/dev/null)
SCRIPTS := packaging/setup packaging/openrc/posternd.initd .ci/run tests/demo/demo.sh tests/demo/workload \
	tests/nested/start
PYTHON  := $(shell git ls-files '*.py' tests/run tests/flow/changing_worker 2>/dev/null)
TIDY    := $(patsubst %.c,$(B)/tidy/%,$(filter %.c,$(SOURCES)))
# Jobs for what starts make below make: as many as asked for, else one a processor.
JOBS     = $(or $(filter -j%,$(MAKEFLAGS)),-j$(shell nproc))

.PHONY: lint format asan lint-all lint-format lint-cppcheck lint-scripts lint-python
lint:
	$(Q)packaging/setup lint
	$(Q)$(MAKE) --no-print-directory $(JOBS) CC=clang B=build/clang lint-all
	@echo 'lint: nothing found'

lint-all: all unit $(TIDY) lint-format lint-cppcheck lint-scripts lint-python

.PRECIOUS: $(B)/obj/%.o
# After its object, so that a changed header brings it back.
$(B)/tidy/%: $(B)/obj/%.o .clang-tidy tests/.clang-tidy tests/lint/analyzer.h
	$(say) TIDY $*.c
	$(Q)mkdir -p $(@D)
	$(Q)clang-tidy --quiet $*.c -- $(CPPFLAGS) $(CFLAGS_$*) -std=gnu11 -include tests/lint/analyzer.h 2>$@.log || \
		{ cat $@.log; exit 1; }
	$(Q)touch $@

lint-format:
	$(say) FORMAT
	$(Q)clang-format --dry-run -Werror $(SOURCES)

lint-cppcheck: $(GENERATED)
	$(say) CPPCHECK
	$(Q)mkdir -p $(B)/cppcheck
	$(Q)cppcheck --quiet --error-exitcode=1 --enable=warning,portability --cppcheck-build-dir=$(B)/cppcheck \
		--library=tests/lint/cppcheck.cfg --suppressions-list=tests/lint/cppcheck -D_GNU_SOURCE -D__x86_64__ -I. -I$(B)/gen -I$(B)/include $(filter %.c,$(SOURCES))

lint-scripts:
	$(say) SHELLCHECK
	$(Q)shellcheck $(SCRIPTS)

lint-python:
	$(say) PYFLAKES
	$(Q)/usr/bin/python3 -m pyflakes $(PYTHON)

format:
	$(Q)clang-format -i $(SOURCES)

# The unit and flow tests with address, leak and undefined-behaviour sanitizers. A session cannot be
# looked through for leaks: it has no /proc, and nothing may trace it. The library that is shipped has no
# sanitizers, and is not made here.
ASAN_OPTIONS := quarantine_size_mb=1:detect_leaks=1:include_if_exists=$(CURDIR)/tests/lint/asan.%b
asan: need-root setup-test
	$(Q)$(MAKE) --no-print-directory $(JOBS) SANITIZE=1 all unit build/asan/py/.made
	$(Q)ASAN_OPTIONS=$(ASAN_OPTIONS) tests/run --build build/asan unit flow --ignore=tests/flow/test_library.py

# ---- installation --------------------------------------------------------------------------------

INSTALL := install
MANDIR  := $(PREFIX)/share/man

# $(call install_text,FILES,FOLDER): texts name our own folders, each of them as with PREFIX=/usr.
install_text = $(INSTALL) -d $(DESTDIR)$(2) && for file in $(1); do \
	sed -e 's,/usr/sbin/postern,$(SBIN)/postern,g' -e 's,/usr/libexec/postern,$(LIBEXEC),g' \
		-e 's,/usr/share/postern,$(DATADIR),g' $$file >$(DESTDIR)$(2)/$${file\#\#*/} && \
	chmod 644 $(DESTDIR)$(2)/$${file\#\#*/} || exit 1; done

.PHONY: install install-agent install-host install-library
install: install-agent install-host install-library

install-agent: agent
	$(INSTALL) -d $(DESTDIR)$(SBIN) $(DESTDIR)$(LIBEXEC)
	$(INSTALL) $(B)/posternd $(B)/postern-init $(DESTDIR)$(SBIN)
	$(INSTALL) $(filter-out %/posternd %/postern-init,$(AGENT:%=$(B)/%)) $(DESTDIR)$(LIBEXEC)
	$(call install_text,packaging/systemd/* packaging/openrc/posternd.initd,$(DATADIR))
	$(call install_text,packaging/policy/50-default.policy,/etc/postern/policy.d)
	$(call install_text,packaging/postern.conf,/etc/postern)
	$(call install_text,packaging/modules.d/local.allow,/etc/postern/modules.d)
	$(call install_text,packaging/sysusers.d/postern.conf,$(PREFIX)/lib/sysusers.d)
	$(call install_text,$(wildcard agent/*.8 agent/init/*.8 kmod-helpers/*.8),$(MANDIR)/man8)
	$(call install_text,$(wildcard proto/*.7),$(MANDIR)/man7)

# The small guest's configuration comes along: the host's own /etc/postern is another machine's.
install-host: host
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBEXEC)
	$(INSTALL) $(B)/postern $(DESTDIR)$(PREFIX)/bin
	$(INSTALL) $(B)/postern-supervisor $(B)/postern-vsockd $(DESTDIR)$(LIBEXEC)
	$(call install_text,packaging/policy/50-default.policy,$(DATADIR)/guest/etc/postern/policy.d)
	$(call install_text,packaging/tmpfiles.d/postern-host.conf,$(PREFIX)/lib/tmpfiles.d)
	$(call install_text,$(wildcard host/cli/*.1),$(MANDIR)/man1)
	$(call install_text,$(wildcard host/vsockd/*.8),$(MANDIR)/man8)

install-library: library
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/include/postern
	$(INSTALL) -m 644 $(B)/$(LIB_SO) $(B)/libpostern.a $(DESTDIR)$(LIBDIR)
	ln -sf $(LIB_SO) $(DESTDIR)$(LIBDIR)/libpostern.so
	$(INSTALL) -m 644 $(LIB_HEADERS) $(DESTDIR)$(PREFIX)/include/postern
	sed -e 's,@PREFIX@,$(PREFIX),' -e 's,@LIBDIR@,$(LIBDIR),' -e 's,@VERSION@,$(VERSION),' \
		host/lib/libpostern.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/libpostern.pc
	chmod 644 $(DESTDIR)$(LIBDIR)/pkgconfig/libpostern.pc
	$(call install_text,$(wildcard proto/*.proto),$(DATADIR)/proto)
	$(call install_text,$(wildcard host/lib/*.3),$(MANDIR)/man3)

.PHONY: help
help:
	@echo 'make                 build everything below build/ (V=1 shows commands)'
	@echo 'make demo            a guest in front of you'
	@echo 'make check           all tests (RUNGS="unit flow" runs some)'
	@echo 'make asan            unit and flow tests with sanitizers'
	@echo 'make bench           figures, in build/bench/'
	@echo 'make lint            clang build, formatter and checkers'
	@echo 'make format          lay the C files out as .clang-format says'
	@echo 'make install         DESTDIR= PREFIX=/usr; install-agent, install-host, install-library for a part'
	@echo 'make abi             what libpostern is, for the tests to compare with'
	@echo 'make setup-build     packages for building; setup-run, setup-test for more'
	@echo 'make clean'

.PHONY: clean
clean:
	rm -rf $(B)
