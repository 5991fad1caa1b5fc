# make help lists the targets. Go and make are all that is needed: root gets
# the rest by apt where it is missing, a normal user's tests skip and count.

GO     ?= go
ROOT   := $(filter 0,$(shell id -u))
PREFIX ?= $(if $(ROOT),/usr/local,$(HOME)/.local)
BINDIR := $(DESTDIR)$(PREFIX)/bin
# Only root may install programs and make accounts.
SETUP  := $(if $(ROOT),testdata/setup.sh,@:)
LINT   := $(GO) tool -modfile=.ci/tools.mod golangci-lint

# What is built depends on nothing but the sources.
export CGO_ENABLED := 0
BUILDFLAGS := -trimpath -buildvcs=false -ldflags="-s -w"

# PKGS, TESTFLAGS, BENCHFLAGS, CONFORMANCEFLAGS and RUN narrow or change what a target does.
PKGS ?= ./...
RUN  ?= run hello

.PHONY: build
build: ## one static file, bin/airplant, and the link bin/airplant-oci
	@mkdir -p bin
	$(GO) build $(BUILDFLAGS) -o bin/whole ./cmd/airplant
	@$(GO) run -buildvcs=false ./internal/pack bin/whole cmd/airplant/whole.bin && rm bin/whole
	$(GO) build $(BUILDFLAGS) -tags small -o bin/airplant ./cmd/airplant
	@ln -sfn airplant bin/airplant-oci

.PHONY: run
run: ## build, and run a container that needs no registry (as root: under airplant-test)
	@$(SETUP) run
	@$(MAKE) --no-print-directory build
	@$(if $(ROOT),testdata/setup.sh as airplant-test) bin/airplant $(RUN)

.PHONY: test
test: ## run the tests (AIRPLANT_TEST_REQUIRE=all: a skip fails)
	@$(SETUP) test
	@$(MAKE) --no-print-directory build
	@skips=$$(mktemp) && trap 'rm -f "$$skips"' EXIT && chmod 666 "$$skips" && \
	status=0 && export AIRPLANT_SKIPS="$$skips" AIRPLANT_BIN="$(CURDIR)/bin/airplant" && \
	$(GO) test -buildvcs=false -count=1 -timeout 20m $(TESTFLAGS) $(PKGS) || status=$$?; \
	echo "skipped: $$(wc -l <"$$skips") tests"; \
	cut -f1,3 "$$skips" | sort | uniq -c | sed 's/\.test\t/: /'; \
	exit $$status

# FLAVOURS narrows which machines boot; CHECKS which of their checks run.
FLAVOURS ?= plain apparmor selinux
CHECKS   ?= *
.PHONY: test-vm
test-vm: ## boot virtual machines (qemu, no KVM needed; root) and run testdata/vm/checks in them
	@$(SETUP) vm
	@$(MAKE) --no-print-directory build
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && cp bin/airplant "$$dir" && \
	$(GO) test -buildvcs=false -c -o "$$dir/cgroup.test" ./lifecycle/cgroup && \
	status=0; for flavour in $(FLAVOURS); do \
		rm -rf "$$dir/checks" && mkdir "$$dir/checks" && \
		cp testdata/vm/checks/$$flavour/$(CHECKS).sh "$$dir/checks" && \
		testdata/vm/run.sh "$$dir" $$flavour || { echo "vm: $$flavour failed" >&2; status=1; }; \
	done; exit $$status

.PHONY: test-engines
test-engines: ## podman, containerd, buildah with airplant, crun and runc (as root; ENGINES, RUNTIMES, ONLY)
	@$(SETUP) engines
	@$(MAKE) --no-print-directory build
	testdata/engines/run.sh bin/airplant $(ENGINES)

.PHONY: lint
lint: ## check form and meaning of the code, for amd64 and arm64
	$(LINT) run --allow-parallel-runners $(PKGS)
	GOARCH=arm64 $(GO) build -buildvcs=false -o /dev/null ./cmd/airplant
	GOARCH=arm64 $(GO) vet -buildvcs=false $(PKGS)

.PHONY: fmt
fmt: ## format the code
	$(LINT) fmt

.PHONY: bench
bench: ## measure airplant and its peers side by side
	@$(SETUP) bench
	@$(MAKE) --no-print-directory build
	$(GO) run -buildvcs=false ./internal/bench $(BENCHFLAGS)

.PHONY: conformance
conformance: ## run the public validation suite with airplant and its peers (as root)
	@$(SETUP) conformance
	@$(MAKE) --no-print-directory build
	$(GO) run -buildvcs=false ./internal/conformance $(CONFORMANCEFLAGS)

.PHONY: install
install: build ## install to PREFIX (~/.local, or /usr/local for root) below DESTDIR
	install -d "$(BINDIR)"
	install -m 755 bin/airplant "$(BINDIR)/airplant"
	ln -sfn airplant "$(BINDIR)/airplant-oci"

.PHONY: uninstall
uninstall: ## remove what install made
	rm -f "$(BINDIR)/airplant" "$(BINDIR)/airplant-oci"

.PHONY: clean
clean: ## remove what was built
	rm -rf bin cmd/airplant/whole.bin

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
