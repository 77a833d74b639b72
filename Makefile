# make run    installs what is missing, builds, and starts the server on 127.0.0.1:8080
# make test   installs what is missing, and runs everything that is checked at every change
# make check  a part of that, for before each commit: format and unit tests, in under three minutes on a built tree
# More: make install, make uninstall, make man, make hooks, make bench, make fuzz, make lab, make soak, make format.

CONFIGURATION ?= release
# The Swift libraries are linked in: what is built runs where there is no Swift.
BUILD = swift build -c $(CONFIGURATION) --static-swift-stdlib
export SWIFT_BACKTRACE = enable=no

# Where `make install` puts things: below $(DESTDIR)$(PREFIX), and the configuration below $(DESTDIR)$(SYSCONFDIR). The
# units are changed to match. BIN: programs that are built already, in that folder; without it they are built.
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
BIN ?=
built = $(or $(BIN),$$($(BUILD) --show-bin-path))

.PHONY: run test check hooks build deps format lint bench fuzz lab soak man install uninstall clean

run: build
	$$($(BUILD) --show-bin-path)/vmpoold $(ARGS)

build: deps
	$(BUILD)

deps:
	@scripts/dependencies build

test:
	scripts/test

# The longest unit tests are left to make test.
check: lint
	swift build --build-tests
	swift test --skip-build --skip 'RandomImageTests|LedgerSimulationTests|KickStressTests|KillTests|roundsOfCreateKickDelete'

# git runs make check before each commit; git commit --no-verify goes without.
hooks:
	printf '#!/bin/sh\nexec make check\n' > "$$(git rev-parse --git-path hooks)/pre-commit"
	chmod +x "$$(git rev-parse --git-path hooks)/pre-commit"

lint:
	swift format lint --strict --recursive --parallel Package.swift Sources Tests

format:
	swift format --in-place --recursive --parallel Package.swift Sources Tests

bench: build
	$$($(BUILD) --show-bin-path)/vmpool-bench kick
	$$($(BUILD) --show-bin-path)/vmpool-bench exits
	$$($(BUILD) --show-bin-path)/vmpool-bench create
	$$($(BUILD) --show-bin-path)/vmpool-bench clone

# Our tests on a stock KVM host in a box, with more kicks under stress than `make test` has. Tests/Lab/run -- COMMAND runs
# anything there.
lab:
	@scripts/dependencies test
	swift build --build-tests
	-Tests/Lab/foreign-guests
	VMPOOL_STRESS_KICKS=100000 Tests/Lab/run -m 3072 -t 5400

# SECONDS: how long in all.
SECONDS ?= 7200
fuzz:
	Tests/Fuzz/run -t $(SECONDS)

# What takes too long for every change. KICKS: how many of each mechanism.
KICKS ?= 10000000
soak: build
	swift build --build-tests
	VMPOOL_STRESS_KICKS=$(KICKS) swift test --skip-build --filter KickStressTests
	VMPOOL_RANDOM_IMAGES=10000 swift test --skip-build --filter RandomImageTests
	VMPOOL_LEDGER_OPERATIONS=20000000 swift test --skip-build --filter LedgerSimulationTests
	VMPOOL_ROUNDS=500 swift test --skip-build --filter KillTests
	VMPOOL_ROUNDS=5000 VMPOOL_SCHEMA_EXAMPLES=200 VMPOOL_KILLS=200 VMPOOL_TURNS=500 VMPOOL_SUSTAINED_SECONDS=3600 \
	  Tests/System/run leaks sustained schema state promises

# The manual pages, from what the programs say of themselves. Tests/System fails when they are stale.
man: $(if $(BIN),,build)
	scripts/manual $(built)

root = $(DESTDIR)$(PREFIX)
programs = vmpoold vmpool vmpool-bench
units = vmpoold.service vmpoold.socket
documents = README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE docs/changing.md docs/guests.md \
  docs/kick-latency.md docs/metrics.md docs/performance.md docs/runbook.md docs/sandbox.md docs/security.md
bash = $(root)/share/bash-completion/completions
zsh = $(root)/share/zsh/site-functions
fish = $(root)/share/fish/vendor_completions.d

install: $(if $(BIN),,build)
	install -d $(root)/bin $(root)/lib/systemd/system $(root)/lib/sysusers.d $(root)/share/doc/vmpool/kick-latency \
	  $(root)/share/doc/vmpool/performance $(root)/share/doc/vmpool/examples $(root)/share/man/man1 \
	  $(root)/share/man/man8 $(bash) $(zsh) $(fish)
	for program in $(programs); do install -m 755 "$(built)/$$program" $(root)/bin/ || exit; done
	for unit in $(units); do \
	  sed 's:/usr/bin/:$(PREFIX)/bin/:g; s:/usr/share/doc/:$(PREFIX)/share/doc/:g; s:/etc/vmpool/:$(SYSCONFDIR)/vmpool/:g' \
	    deploy/systemd/$$unit >$(root)/lib/systemd/system/$$unit || exit; \
	done
	install -m 644 deploy/systemd/vmpool.sysusers $(root)/lib/sysusers.d/vmpool.conf
	[ -e $(DESTDIR)$(SYSCONFDIR)/vmpool/vmpoold.yaml ] || \
	  install -D -m 644 deploy/systemd/vmpoold.yaml $(DESTDIR)$(SYSCONFDIR)/vmpool/vmpoold.yaml
	install -m 644 $(documents) openapi/vmpool.yaml $(root)/share/doc/vmpool/
	install -m 644 docs/kick-latency/* $(root)/share/doc/vmpool/kick-latency/
	install -m 644 docs/performance/* $(root)/share/doc/vmpool/performance/
	install -m 644 deploy/systemd/vmpoold.yaml $(root)/share/doc/vmpool/examples/
	install -m 644 docs/man/*.1 $(root)/share/man/man1/
	install -m 644 docs/man/*.8 $(root)/share/man/man8/
	for program in $(programs); do \
	  "$(built)/$$program" --generate-completion-script bash >$(bash)/$$program && \
	  "$(built)/$$program" --generate-completion-script zsh >$(zsh)/_$$program && \
	  "$(built)/$$program" --generate-completion-script fish >$(fish)/$$program.fish || exit; \
	done

# The configuration and the state stay.
uninstall:
	for program in $(programs); do \
	  rm -f $(root)/bin/$$program $(bash)/$$program $(zsh)/_$$program $(fish)/$$program.fish; \
	done
	for unit in $(units); do rm -f $(root)/lib/systemd/system/$$unit; done
	rm -f $(root)/lib/sysusers.d/vmpool.conf $(patsubst docs/man/%.1,$(root)/share/man/man1/%.1,$(wildcard docs/man/*.1)) \
	  $(patsubst docs/man/%.8,$(root)/share/man/man8/%.8,$(wildcard docs/man/*.8))
	rm -rf $(root)/share/doc/vmpool

clean:
	swift package clean
