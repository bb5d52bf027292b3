# What can be done with this checkout; `make` lists it. SWIFT and BUILD_DIR can be set.
SHELL := /bin/bash
SWIFT ?= swift
BUILD_DIR ?= .build
NODES ?= 3
FUZZ_SECONDS ?= 60
SEEDS ?= 200
ROUNDS ?= 34
RUNS ?= 100
swift_flags := --scratch-path $(BUILD_DIR)
export SWIFT BUILD_DIR

.DEFAULT_GOAL := help
.PHONY: help packages up down lab lab-down lab-kills storage-kills hot-plugs build build-tests test sim lint fuzz schemathesis tls-scan bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r target text; do \
	  printf '  make %-14s %s\n' "$$target" "$$text"; done

up: ## from this checkout to a first virtual machine; harmless to repeat
	@scripts/up

down: ## stop what `make up` started; guests run on, unless GUESTS=1
	@GUESTS=$(GUESTS) scripts/down

lab: ## a cloud of NODES (3) nodes in network namespaces of this machine; needs root
	@scripts/lab up --nodes $(NODES)

lab-kills: build-tests ## kill every part of a lab's cloud during ROUNDS (34) times three creates and deletes
	ALOFT_KILL_ROUNDS=$(ROUNDS) $(SWIFT) test $(swift_flags) --skip-build --disable-xctest --filter '^LabTests\..*KillTests'

storage-kills: build-tests ## kill agent, libvirtd, QEMU, aloftd and PostgreSQL while volumes are worked on: RUNS (100) seeds from SEED (1)
	ALOFT_KILL_RUNS=$(RUNS) ALOFT_KILL_SEED=$(SEED) $(SWIFT) test $(swift_flags) --skip-build --disable-xctest \
	  --filter '^EndToEndTests\..*StorageKillTests'

hot-plugs: build-tests ## plug a volume into a guest that runs, and out again, RUNS (100) times; in Ceph too where that is installed
	ALOFT_PLUG_ROUNDS=$(RUNS) $(SWIFT) test $(swift_flags) --skip-build --disable-xctest --filter '^EndToEndTests\.StorageEndToEnd/VolumeTests'

lab-down: ## end the lab and remove all of it
	@scripts/lab down

packages: ## install the Debian packages that are missing
	@scripts/install-packages

build: packages ## build aloftd, aloft-inspect, aloft-agent, aloft-rbd and aloft (release)
	@for product in aloftd aloft-inspect aloft-agent aloft-rbd aloft; do \
	  $(SWIFT) build $(swift_flags) -c release --product $$product || exit; done

build-tests: packages ## build everything for tests (debug)
	$(SWIFT) build $(swift_flags) --build-tests

test: build-tests ## run all tests
	scripts/test

sim: build-tests ## run SEEDS (200) histories of a whole cloud in virtual time; SEED=n runs one and prints its trace
	ALOFT_SIM_SEEDS=$(SEEDS) ALOFT_SIM_SEED=$(SEED) $(SWIFT) test $(swift_flags) --skip-build --disable-xctest \
	  --filter '^SimulationTests\.SimulationTests/histories'

lint: packages ## check format, the API's contract, what is depended on, and docker/
	swift format lint --strict --recursive Package.swift Sources Tests
	$(SWIFT) run $(swift_flags) contract-lint openapi/aloft.yaml
	scripts/check-dependencies
	docker/check

fuzz: packages ## feed the HTTP parsers with random input for FUZZ_SECONDS (60)
	scripts/fuzz $(FUZZ_SECONDS)

schemathesis: ## call a private aloftd with all that its contract allows and much that it forbids (MAX_EXAMPLES=20)
	@scripts/install-packages schemathesis
	@for product in aloftd aloft-inspect; do $(SWIFT) build $(swift_flags) --product $$product || exit; done
	scripts/schemathesis

tls-scan: ## let testssl.sh grade the TLS of a private aloftd
	@scripts/install-packages tls-scan
	@for product in aloftd aloft-inspect; do $(SWIFT) build $(swift_flags) --product $$product || exit; done
	scripts/tls-scan

bench: packages ## measure beside nginx, pgbench and libvirt; ONLY="http place" runs some sections
	@scripts/install-packages bench
	@for product in aloftd aloft-inspect aloft-agent aloft-rbd aloft-bench placement-bench; do \
	  $(SWIFT) build $(swift_flags) -c release --product $$product || exit; done
	@ONLY="$(ONLY)" scripts/bench

clean: ## remove what was built; .aloft stays
	rm -rf $(BUILD_DIR) .build-*
