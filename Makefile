# The only entry point for people and CI. `make help` lists what it can do.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.SILENT:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What binary and image are for: this, or aarch64-unknown-linux-musl. For another processor than this machine's, C is
# compiled and all is linked by zig (`pip install ziglang cargo-zigbuild`); Debian has the rest: binutils-aarch64-linux-gnu,
# and qemu-user-static to run it.
TARGET ?= x86_64-unknown-linux-musl
PROCESSOR := $(firstword $(subst -, ,$(TARGET)))
NATIVE := $(filter $(shell uname -m),$(PROCESSOR))
CARGO_BUILD ?= $(if $(NATIVE),cargo build,cargo zigbuild)
OBJCOPY ?= $(if $(NATIVE),objcopy,$(PROCESSOR)-linux-gnu-objcopy)
RUN ?= $(if $(NATIVE),,qemu-$(PROCESSOR)-static)
# As images call it; what is not of amd64 has a folder of its own.
ARCHITECTURE := $(patsubst x86_64,amd64,$(patsubst aarch64,arm64,$(PROCESSOR)))
OUT := out$(addprefix /,$(filter-out amd64,$(ARCHITECTURE)))
CA_ROOTS ?= /etc/ssl/certs/ca-certificates.crt
IMAGE ?= registry.example.com/portolan/portolan:0.1.0

# Built tools are kept here, each under a hash of what it was made from.
CACHE := $(or $(PORTOLAN_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/portolan)
DEBUG := $(or $(CARGO_TARGET_DIR),target)/debug
BUILT := $(or $(CARGO_TARGET_DIR),target)/$(TARGET)/release/portolan

CARGO_DENY_VERSION := 0.20.2
CARGO_DENY = $(CACHE)/cargo-deny/$(shell echo $(CARGO_DENY_VERSION) `rustc -Vv 2>/dev/null` | sha256sum | cut -c1-16)

CARGO_CYCLONEDX_VERSION := 0.5.9
CARGO_CYCLONEDX = $(CACHE)/cargo-cyclonedx/$(shell echo $(CARGO_CYCLONEDX_VERSION) `rustc -Vv` | sha256sum | cut -c1-16)
# 12 MiB.
IMAGE_LIMIT := 12582912

CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ = $(CACHE)/cargo-fuzz/$(shell echo $(CARGO_FUZZ_VERSION) `rustc -Vv` | sha256sum | cut -c1-16)
# How long `make fuzz` tries each target, and which.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= reference table patch inventory import

# How long each fault of `make faults` lasts.
FAULT_SECONDS ?= 30
# How long `make soak` goes on.
SOAK_SECONDS ?= 1800

CARGO_MUTANTS_VERSION := 27.1.0
CARGO_MUTANTS = $(CACHE)/cargo-mutants/$(shell echo $(CARGO_MUTANTS_VERSION) `rustc -Vv` | sha256sum | cut -c1-16)
# Which of the pure rooms `make mutants` changes; FILES='src/lock.rs src/lock/**' makes it shorter.
FILES ?= $(foreach room,image lock review rewrite table inventory,src/$(room).rs src/$(room)/**)

# What tests, bench and binary need beside Rust and Go, by Debian's names.
PACKAGES := binutils busybox-static ca-certificates containerd containernetworking-plugins docker-registry gcc \
	libc6-dev libfaketime musl-tools runc skopeo wrk

# The steps of `make test`, cheap ones first.
STEPS := check-format check-pure clippy deny test-unit test-model test-allocations test-it test-doc
ifneq ($(wildcard tests/cluster/main.rs),)
STEPS += control-plane helm registries test-demo binary image-size test-cluster
endif

.PHONY: help
help: ## Lists the targets
	sed -n 's/^\([a-z][a-z-]*\):.* ## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | sort | column -t -s "$$(printf '\t')"

.PHONY: build
build: ## Builds the command for this machine, unoptimised
	cargo build --locked

.PHONY: demo
demo: demo-needs ## Shows the main job on a real Kubernetes API server; with KEEP=1 it keeps running
	cargo build --locked --bin portolan --example demo
	tests/cluster/control-plane/build >/dev/null
	export PORTOLAN_BINARY="$(abspath $(DEBUG)/portolan)"
	exec "$(DEBUG)/examples/demo" $(if $(filter-out 0 no,$(KEEP)),--keep)

# What the demo needs beside Rust and Go is installed if it can be; else this says what is missing, all of it at once.
.PHONY: demo-needs
demo-needs:
	is_ready=yes
	missing() {
		echo "error: \`$$1\` is not installed, or not on the PATH" >&2
		echo "hint: $$2" >&2
		is_ready=no
	}
	command -v cargo >/dev/null || missing cargo "install Rust by https://rustup.rs; the version is in rust-toolchain.toml"
	# From 1.21 on Go fetches the release that go.mod asks for by itself.
	printf '%s\n' go1.21 "$$(go env GOVERSION 2>/dev/null)" | sort --version-sort --check=quiet ||
		missing "go" "install Go 1.25 or newer from https://go.dev/dl and add its folder bin to the PATH"
	packages=""
	command -v cc >/dev/null || packages+=" gcc libc6-dev"
	command -v docker-registry >/dev/null || packages+=" docker-registry"
	if [ $$is_ready = yes ] && [ -n "$$packages" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		$(MAKE) packages PACKAGES="$$packages"
	else
		for package in $$packages; do
			missing "$$package" "run make demo as root, or as root: apt-get update && apt-get install --no-install-recommends $$package"
		done
	fi
	[ $$is_ready = yes ] || exit 2

.PHONY: fmt
fmt: ## Formats the sources
	cargo fmt

.PHONY: lint
lint: check-format check-pure clippy ## Checks the format, that the pure rooms compile alone, and clippy

.PHONY: check-format
check-format:
	cargo fmt --check

.PHONY: check-pure
check-pure:
	cargo check --lib --no-default-features --locked

.PHONY: clippy
clippy:
	cargo clippy --all-targets --locked -- -D warnings

.PHONY: deny
deny: $(CARGO_DENY)/bin/cargo-deny ## Checks licences, sources and banned or doubled crates
	"$<" --locked check bans licenses sources

# The tool that the target's file is, in the version given; built in a folder of its own and renamed, so that two runs side
# by side do not disturb each other.
define cargo-install
	mkdir -p "$(CACHE)/$(@F)"
	folder="$$(mktemp -d "$(CACHE)/$(@F)/building.XXXXXX")"
	trap 'rm -rf "$$folder"' EXIT
	CARGO_TARGET_DIR="$$folder/target" cargo install --locked --root "$$folder/built" "$(@F)@$(1)"
	mv -T "$$folder/built" "$(patsubst %/bin,%,$(@D))" || test -x "$@"
endef

$(CARGO_DENY)/bin/cargo-deny:
	$(call cargo-install,$(CARGO_DENY_VERSION))

.PHONY: bench
bench: ## Measures what an admission costs, beside two servers that do less; BENCH="--rounds 2" makes it shorter
	cargo bench --locked --target $(TARGET) --bench admission -- $(BENCH)

# In memory where there is /dev/shm: what a disk costs is not the tools'.
.PHONY: bench-transfer
bench-transfer: ## Moves 200 images from one registry to another by Portolan, skopeo, crane and regctl; BENCH="--megabytes 200" makes it shorter
	export TMPDIR="$${TMPDIR:-$$(test -w /dev/shm && echo /dev/shm || echo /tmp)}"
	cargo bench --locked --target $(TARGET) --bench transfer -- $(BENCH)

# A few seconds of each fault are in `make test`. ONLY='429' runs the faults with that text in their names.
.PHONY: faults
faults: binary ## Breaks a registry in thirty ways under load, FAULT_SECONDS for each, and writes the table in docs/reliability.md
	PORTOLAN_BINARY="$(abspath out/portolan)" PORTOLAN_FAULT_SECONDS="$(FAULT_SECONDS)" PORTOLAN_FAULT_ONLY="$(ONLY)" \
		PORTOLAN_FAULT_PAGE="$(if $(ONLY),,$(CURDIR)/docs/reliability.md)" cargo test --test cluster --locked -- faults::

# Two minutes of it are in `make test`.
.PHONY: soak
soak: binary ## Has a registry fail at random under load for SOAK_SECONDS: memory, files and threads stay what they were
	PORTOLAN_BINARY="$(abspath out/portolan)" PORTOLAN_SOAK_SECONDS="$(SOAK_SECONDS)" \
		cargo test --test cluster --locked -- faults::soak

.PHONY: fuzz
fuzz: $(CARGO_FUZZ)/bin/cargo-fuzz ## Looks for inputs that break a property, FUZZ_SECONDS for each target
	command -v c++ >/dev/null || { echo "error: libFuzzer is built with a C++ compiler: install g++" >&2; exit 2; }
	# What is found is kept beside the built tools; what shows a defect goes to fuzz/corpus by hand, with its mending.
	for target in $(FUZZ_TARGETS); do
		mkdir -p "$(CACHE)/fuzz/$$target"
		CARGO_TARGET_DIR="$(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/fuzz" "$<" run -s none "$$target" \
			"$(CACHE)/fuzz/$$target" "fuzz/corpus/$$target" -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 \
			$$(! test -f "fuzz/$$target.dict" || echo "-dict=fuzz/$$target.dict")
	done

$(CARGO_FUZZ)/bin/cargo-fuzz:
	$(call cargo-install,$(CARGO_FUZZ_VERSION))

# Survivors are listed in out/mutants/mutants.out/missed.txt; what is known of them is in docs/mutants.md.
# A change compiles in half the time without debug information, and an example that a property fails for need not be
# made smaller.
.PHONY: mutants
mutants: export CARGO_INCREMENTAL := 1
mutants: export CARGO_PROFILE_DEV_DEBUG := 0
mutants: export PROPTEST_MAX_SHRINK_ITERS := 0
mutants: export INSTA_UPDATE := no
mutants: $(CARGO_MUTANTS)/bin/cargo-mutants ## Changes the pure rooms bit by bit and lists what no test notices; takes hours, FILES='src/lock/**' fewer
	mkdir -p out/mutants
	"$<" mutants --jobs 1 --output out/mutants $(foreach file,$(FILES),--file '$(file)')

$(CARGO_MUTANTS)/bin/cargo-mutants:
	$(call cargo-install,$(CARGO_MUTANTS_VERSION))

.PHONY: test
test: ## Runs everything: format, lints, deny, unit, integration, documentation and real-cluster tests
	times=""
	for step in $(STEPS); do
		if [ "$$step" = "$(lastword $(STEPS))" ]; then printf '\nSeconds of the steps until here:\n%s' "$$times"; fi
		printf '\n== %s\n' "$$step"
		started=$$SECONDS
		$(MAKE) "$$step"
		taken=$$((SECONDS - started))
		if [ "$$step" != "$(lastword $(STEPS))" ]; then echo "== $$step: $$taken s"; fi
		times+="$$(printf '%6d  %s' "$$taken" "$$step")"$$'\n'
	done

.PHONY: test-unit
test-unit:
	cargo test --lib --locked

# Prints how often everything was hit; PORTOLAN_MODEL_SEED and PORTOLAN_MODEL_CASES make it another run.
.PHONY: test-model
test-model:
	cargo test --test model --locked -- --nocapture

# In a binary of its own, whose allocator counts.
.PHONY: test-allocations
test-allocations:
	cargo test --test allocations --locked

.PHONY: test-it
test-it:
	cargo test --test it --locked

.PHONY: test-doc
test-doc:
	cargo test --doc --locked

.PHONY: control-plane
control-plane:
	tests/cluster/control-plane/build

.PHONY: helm
helm:
	tests/cluster/helm/build

# Other projects' registries, and a token server that is not ours.
.PHONY: registries
registries:
	tests/cluster/registries/build

.PHONY: test-demo
test-demo:
	if command -v docker-registry >/dev/null || [ "$${CI:-}" = true ]; then
		$(MAKE) demo KEEP=
	else
		echo "skipped: docker-registry is not installed (Debian: docker-registry)"
	fi

.PHONY: test-cluster
test-cluster:
	PORTOLAN_BINARY="$(abspath out/portolan)" cargo test --test cluster --locked

# One after the other, so that none takes time from another; each prints its rows of the table in docs/reliability.md.
.PHONY: e2e-full
e2e-full: binary ## Runs the bad days in their long forms, about 20 minutes, and prints what became of every Pod
	PORTOLAN_LONG=1 PORTOLAN_BINARY="$(abspath out/portolan)" cargo test --test cluster --locked -- bad_days:: --test-threads 1

.PHONY: reference
reference: ## Writes the pages under docs/reference anew, from the code
	PORTOLAN_WRITE_REFERENCE=1 cargo test --test it --locked reference::

# The chart is where they are written. The base mounts a certificate; certs/ has what stands in its place, and the rights
# of each way are in the base.
.PHONY: manifests
manifests: ## Writes manifests/base, manifests/install.yaml and the certificates in certs/cert-manager anew, from manifests/chart
	helm="$$(tests/cluster/helm/build)/helm"
	render() {
		"$$helm" template portolan manifests/chart --namespace portolan --show-only "templates/$$1.yaml" "$${@:3}" |
			awk 'NR == 1 { print "# Made by `make manifests` from manifests/chart."; next } /^# Source: / { next } { sub(/ +$$/, ""); print }' >"$$2/$$1.new"
		mv "$$2/$$1.new" "$$2/$$1.yaml"
	}
	for name in deployment poddisruptionbudget service table webhook; do
		render "$$name" manifests/base --set certificate.source=secret
	done
	render rbac manifests/base --set certificate.source=self
	render certificates certs/cert-manager --set certificate.source=cert-manager
	{
		echo '# Made by `make manifests`: manifests/base in one file.'
		for name in namespace rbac table deployment service poddisruptionbudget webhook; do
			echo '---'
			sed '/^# Made by /d' "manifests/base/$$name.yaml"
		done
	} >manifests/install.yaml.new
	mv manifests/install.yaml.new manifests/install.yaml

.PHONY: docs
docs: ## Builds the library's documentation
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

.PHONY: binary
binary: ## Builds the static release binary: out/portolan, its debug information and the CA roots beside it
	$(CARGO_BUILD) --release --locked --target $(TARGET) --bin portolan
	mkdir -p "$(OUT)"
	$(OBJCOPY) --only-keep-debug "$(BUILT)" "$(OUT)/portolan.debug"
	(cd "$(OUT)" && $(OBJCOPY) --strip-all --add-gnu-debuglink=portolan.debug "$(abspath $(BUILT))" portolan.new)
	mv "$(OUT)/portolan.new" "$(OUT)/portolan"
	cp "$(CA_ROOTS)" "$(OUT)/ca-certificates.crt"

# By the last commit's time, so that it is the same each time; and without the name of the folder that it was made in.
.PHONY: sbom
sbom: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
sbom: $(CARGO_CYCLONEDX)/bin/cargo-cyclonedx ## Writes what the binary is made of, as CycloneDX: out/portolan.cdx.json
	mkdir -p "$(OUT)"
	# It writes beside Cargo.toml, and nowhere else.
	trap 'rm -f "portolan-$(ARCHITECTURE).cdx.json"' EXIT
	PATH="$(<D):$$PATH" cargo cyclonedx --format json --spec-version 1.5 --target $(TARGET) --no-build-deps \
		--override-filename "portolan-$(ARCHITECTURE).cdx" --quiet
	sed 's|file://$(CURDIR)|file:///portolan|g' "portolan-$(ARCHITECTURE).cdx.json" >"$(OUT)/portolan.cdx.json"
	# Cargo's own word on what is linked into it.
	cargo tree --locked --target $(TARGET) --edges normal,no-proc-macro --prefix none --format '{p}' |
		sed -n 's/^\([^ ]*\) v\([^ ]*\).*/\1@\2/p' | sort -u | while read -r crate; do
			grep -q "pkg:cargo/$$crate[\"?]" "$(OUT)/portolan.cdx.json" || { echo "error: it lacks $$crate" >&2; exit 1; }
		done

$(CARGO_CYCLONEDX)/bin/cargo-cyclonedx:
	$(call cargo-install,$(CARGO_CYCLONEDX_VERSION))

# Compressed as registries keep and nodes pull it.
.PHONY: image-size
image-size:
	size="$$(tar --create --directory "$(OUT)" portolan ca-certificates.crt $$(cd "$(OUT)" && ls portolan.cdx.json 2>/dev/null) | gzip | wc -c)"
	echo "image: $$size bytes compressed, $(IMAGE_LIMIT) at the most"
	test "$$size" -le $(IMAGE_LIMIT)

# From the start of the process to the first 200 of /readyz, a few milliseconds of which are those of the asking; with a
# certificate of its own and the table of the examples.
.PHONY: ready
ready: ## Starts the binary ten times and says after how many milliseconds it was ready
	folder="$$(mktemp -d)"
	trap 'kill $$pid 2>/dev/null || true; rm -rf "$$folder"' EXIT
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		begun="$$(date +%s%N)"
		$(RUN) "$(OUT)/portolan" serve --table examples/table.yaml --tls-self="$$folder/ca.crt" --listen 127.0.0.1:29443 \
			--ops-listen 127.0.0.1:29441 --status-listen 127.0.0.1:29442 --audit-log "$$folder/audit" 2>"$$folder/log" &
		pid=$$!
		until curl --silent --fail --output /dev/null http://127.0.0.1:29441/readyz; do
			kill -0 $$pid || { cat "$$folder/log" >&2; exit 1; }
		done
		echo "$$((($$(date +%s%N) - begun) / 1000000)) ms"
		kill -TERM $$pid; kill -TERM $$pid 2>/dev/null || true
		wait $$pid || true
	done

.PHONY: image
image: binary sbom image-size ## Builds the container image with docker or buildah
	if docker info >/dev/null 2>&1; then
		docker build --network none --platform "linux/$(ARCHITECTURE)" --build-arg OUT="$(OUT)" --tag "$(IMAGE)" .
	elif command -v buildah >/dev/null; then
		buildah build --network none --platform "linux/$(ARCHITECTURE)" --build-arg OUT="$(OUT)" --tag "$(IMAGE)" .
	else
		echo "error: no engine to build an image with: neither a running docker nor buildah was found" >&2
		exit 2
	fi

# `buildah manifest push --all IMAGE docker://IMAGE` brings it to a registry.
.PHONY: image-index
image-index: ## Builds the images of both processors with buildah, joined by one index
	command -v buildah >/dev/null || { echo "error: buildah is not installed: it joins images without a registry" >&2; exit 2; }
	buildah manifest rm "$(IMAGE)" 2>/dev/null || true
	for target in x86_64-unknown-linux-musl aarch64-unknown-linux-musl; do
		$(MAKE) image-into-index TARGET="$$target"
	done

.PHONY: image-into-index
image-into-index: binary sbom image-size
	buildah build --network none --platform "linux/$(ARCHITECTURE)" --build-arg OUT="$(OUT)" --manifest "$(IMAGE)" .

.PHONY: packages
packages: ## Installs what the tests need on a Debian-like machine, as root
	missing=""
	for package in $(PACKAGES); do
		case "$$(dpkg-query --show --showformat '$${db:Status-Status}' "$$package" 2>/dev/null)" in
			installed) ;;
			*) missing+=" $$package" ;;
		esac
	done
	if [ -n "$$missing" ]; then
		apt-get update
		DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $$missing
	fi
