# Copyright The Picket Authors
# SPDX-License-Identifier: Apache-2.0

# sudo's PATH often lacks Go's own installation directory.
GO ?= $(or $(shell command -v go),/usr/local/go/bin/go)
export GO
TOOL := $(GO) tool -modfile=internal/tools/go.mod
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BUILD := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false
LDFLAGS := -s -w
GO_SOURCES := $(shell find bpf cmd exporter extension internal processor receiver -name '*.go' -o -name '*.o' 2>/dev/null) go.mod go.sum

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: bin/picket bin/picketctl ## Build bin/picket (the collector) and bin/picketctl

_build/picket/main.go: builder-config.yaml internal/tools/go.mod
_build/picket-full/main.go: builder-config.full.yaml internal/tools/go.mod
_build/%/main.go:
	@mkdir -p _build
	$(TOOL) builder --config $< --skip-compilation --skip-strict-versioning=false
	@touch $@

bin/picket bin/picket-full: bin/%: _build/%/main.go $(GO_SOURCES)
	cd _build/$* && $(BUILD) -ldflags="$(LDFLAGS)" -mod=mod -o ../../bin/$* .

.PHONY: build-full
build-full: bin/picket-full ## Build bin/picket-full, with load balancing, Kafka and Kubernetes beside (some minutes)

bin/picketctl: $(GO_SOURCES)
	$(BUILD) -ldflags="$(LDFLAGS) -X main.version=$(VERSION)" -o bin/picketctl ./cmd/picketctl

.PHONY: run
run: need-root build ## Watch this machine and show detections; SCOPE=<pid> limits it to one process tree
	@SCOPE="$(SCOPE)" exec scripts/run

# Said before a build that takes minutes.
.PHONY: need-root
need-root:
	@[ "$$(id -u)" = 0 ] || { echo "make run: root is needed to watch the kernel: sudo make run" >&2; exit 1; }

.PHONY: test
test: build ## Run all tests; what needs root or a kernel feature is skipped without it, and listed at the end
	PICKET_BIN=$(CURDIR)/bin $(TOOL) gotestsum --format pkgname --format-hide-empty-pkg -- -timeout 15m $(TESTFLAGS) ./...

# Modules of their own, because of what they depend on: Kubernetes' types, and Kafka's receiver with a broker for tests. -count=1: Go's cache
# knows neither the manifests nor the binaries.
.PHONY: test-deployments
test-deployments: build ## Test the Kubernetes manifests, and delivery by agent, gateway and Kafka when any of them dies
	cd test/deploy/kubernetes && $(GO) test -count=1 $(TESTFLAGS) ./...
	cd test/delivery && PICKET_BIN=$(CURDIR)/bin PICKET_FULL=$(wildcard $(CURDIR)/bin/picket-full) $(GO) test -count=1 -v -timeout 15m $(TESTFLAGS) ./...

.PHONY: vet-full
vet-full: _build/picket-full/main.go ## Vet the full distribution
	cd _build/picket-full && $(GO) vet -mod=mod ./...

.PHONY: vm-test
vm-test: ## Load every BPF object in guests: kernels 5.10 and 6.12 on amd64, 6.1 on arm64 (needs qemu, see CONTRIBUTING.md)
	test/vm/smoke

.PHONY: lint
lint: ## Run golangci-lint and check formatting
	$(GO) tool -modfile=internal/tools/golangci/go.mod golangci-lint run ./...
	for m in test/rulebench test/delivery test/deploy/kubernetes; do (cd $$m && $(GO) vet ./...) || exit; done

.PHONY: generate
generate: ## Regenerate BPF objects and bindings (needs clang 16), component metadata and docs
	PATH="$$PATH:/usr/lib/llvm-16/bin" $(GO) generate ./...

.PHONY: bench
bench: ## Run the benchmarks of every stage
	$(GO) test -run '^$$' -bench . -benchmem ./internal/... ./receiver/... ./processor/... ./exporter/...

.PHONY: bench-rules
bench-rules: ## Compare rules with the same conditions in OTTL and CEL, and write the figures into docs/performance.md
	@mkdir -p _build
	$(GO) test ./internal/policy -run '^$$' -bench Match -benchmem -count 3 | tee _build/bench-rules.txt
	cd test/rulebench && $(GO) test -run '^$$' -bench . -count 3 | tee -a ../../_build/bench-rules.txt
	$(GO) run ./test/benchdoc <_build/bench-rules.txt

.PHONY: bench-system
bench-system: build ## Measure what Picket costs this machine: open+close, fork+exec, events until the first loss (needs root)
	$(GO) run ./test/benchsystem -picket bin/picket

.PHONY: bench-delivery
bench-delivery: build ## Measure what each exporter costs, and a full queue (about ten minutes)
	cd test/delivery && PICKET_BIN=$(CURDIR)/bin $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 20m .

.PHONY: validate-examples
validate-examples: build ## Check every configuration and policy below examples/
	@set -e; for f in examples/*.yaml; do \
		case $$f in examples/datadog.yaml) set -- --config examples/quickstart.yaml ;; *) set -- ;; esac; \
		echo "validate $$f"; DD_API_KEY=$${DD_API_KEY:-none} bin/picket validate "$$@" --config $$f; done
	@set -e; for f in examples/full/*.yaml; do [ -e bin/picket-full ] || { echo "no bin/picket-full (make build-full): $$f is not validated"; continue; }; \
		echo "validate $$f"; DD_API_KEY=$${DD_API_KEY:-none} bin/picket-full validate --config $$f; done
	bin/picketctl rules fmt -l examples/policies
	bin/picketctl rules check examples/policies
	bin/picketctl rules test examples/policies

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin _build _run
