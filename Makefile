# make run    installs what is missing, builds, and starts the server on 127.0.0.1:8080
# make test   installs what is missing, and runs everything that is checked at every change
# make check  a part of that, for before each commit: format, words and unit tests, in under three minutes on a built tree
# More: make hooks, make bench, make fuzz, make lab, make soak, make format, make install.

CONFIGURATION ?= release
BUILD = swift build -c $(CONFIGURATION)
export SWIFT_BACKTRACE = enable=no

.PHONY: run test check hooks words build deps format lint bench fuzz lab soak install clean

run: build
	$$($(BUILD) --show-bin-path)/vmpoold $(ARGS)

build: deps
	$(BUILD)

deps:
	@scripts/dependencies build

test:
	scripts/test

# The longest unit tests are left to make test.
check: lint words
	swift build --build-tests
	swift test --skip-build --skip 'RandomImageTests|LedgerSimulationTests|KickStressTests|KillTests|roundsOfCreateKickDelete'

# git runs make check before each commit; git commit --no-verify goes without.
hooks:
	printf '#!/bin/sh\nexec make check\n' > "$$(git rev-parse --git-path hooks)/pre-commit"
	chmod +x "$$(git rev-parse --git-path hooks)/pre-commit"

words:
	scripts/words

lint:
	swift format lint --strict --recursive --parallel Package.swift Sources Tests

format:
	swift format --in-place --recursive --parallel Package.swift Sources Tests

bench: build
	$$($(BUILD) --show-bin-path)/vmpool bench kick
	$$($(BUILD) --show-bin-path)/vmpool bench exits
	$$($(BUILD) --show-bin-path)/vmpool bench create

# Our tests on a stock KVM host in a box, with more kicks under stress than `make test` has. Tests/Lab/run -- COMMAND runs
# anything there.
lab:
	@scripts/dependencies test
	swift build --build-tests
	VMPOOL_STRESS_KICKS=100000 Tests/Lab/run -t 3600

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
	VMPOOL_ROUNDS=5000 VMPOOL_SCHEMA_EXAMPLES=200 VMPOOL_KILLS=200 VMPOOL_TURNS=500 Tests/System/run \
	  leaks schema state promises

install: build
	install -D -m 755 $$($(BUILD) --show-bin-path)/vmpoold $(DESTDIR)/usr/bin/vmpoold
	install -D -m 755 $$($(BUILD) --show-bin-path)/vmpool $(DESTDIR)/usr/bin/vmpool
	install -D -m 644 deploy/systemd/vmpoold.service $(DESTDIR)/usr/lib/systemd/system/vmpoold.service
	install -D -m 644 deploy/systemd/vmpoold.socket $(DESTDIR)/usr/lib/systemd/system/vmpoold.socket
	[ -e $(DESTDIR)/etc/vmpool/vmpoold.yaml ] || \
	  install -D -m 644 deploy/systemd/vmpoold.yaml $(DESTDIR)/etc/vmpool/vmpoold.yaml
	install -D -m 644 deploy/systemd/vmpool.sysusers $(DESTDIR)/usr/lib/sysusers.d/vmpool.conf

clean:
	swift package clean
