# What a contributor calls; needs cargo, python3 and make, and `fuzz` a C++ compiler.

.PHONY: test test-packages test-all test-airflow forward-auth differential conformance editor page \
	observability guides charts image image-test pod simulation fuzz bench flood soak fmt lint clean-airflow

# Everything there is, with a table at the end of what ran and what did not.
test:
	python3 tests/checks.py

# What a few tests need of Debian: a browser, clients of HTTP/2, openssl, a Kerberos KDC and what Airflow's
# extra for Kerberos is compiled with, what builds and runs images, what makes a pod of processes. As root;
# without it they are listed as NOT RUN.
test-packages:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
		chromium curl openssl nghttp2-client krb5-kdc krb5-admin-server krb5-user libkrb5-dev python3-dev \
		buildah podman crun iproute2 qemu-user-static

# The promises about every release of Airflow; writes the table of docs/compatibility.md.
test-all:
	python3 tests/airflow/setup.py all
	python3 tests/airflow/compatibility.py begin
	cargo test --profile ci --features airflow-releases --test airflow
	python3 tests/airflow/compatibility.py write

# The promises about real Airflow alone, against an Airflow built once below target/airflow.
test-airflow:
	python3 tests/airflow/setup.py
	cargo test --profile ci --features airflow-tests --test airflow

# Forward-auth: an nginx and an Envoy ask airside and forward to a real Airflow.
forward-auth:
	python3 tests/airflow/setup.py
	python3 tests/airflow/proxies.py
	cargo test --profile ci --features proxy-tests --test airflow proxies::

# 50,000 tokens, good and bent, judged by airside and by three JWT libraries; `COUNT=` and `SEED=`.
differential:
	cargo build --profile ci
	python3 tests/differential/main.py $(COUNT:%=--count=%) $(SEED:%=--seed=%)

# What airside answers, read by peers that forgive nothing: docs/conformance.md.
conformance:
	cargo build --profile ci
	python3 tests/conformance/main.py
	python3 tests/conformance/main.py --programs

# The schema of configurations as editors read it: the YAML language server, and a validator.
editor:
	python3 tests/editor/main.py

# The status page in a real browser; leaves pictures in target/page/pictures.
page:
	cargo build --profile ci
	python3 tests/page/main.py

# Metrics, alerts, dashboard and traces, read by a Prometheus and a collector.
observability:
	cargo build --profile ci
	python3 tests/observability/main.py

# README.md and docs/, followed to the letter; `ARGS=` narrows it to some of them.
guides:
	cargo build --profile ci
	python3 tests/guides/main.py $(ARGS)

# The Helm chart, the values for Airflow's (run with real Airflows too) and kustomize's objects; with
# AIRFLOW_CHART=, a folder or package of the official chart (several with `:` between), in that too.
# `WRITE=1` writes what is made from others.
charts:
	cargo build --profile ci
	python3 tests/charts/main.py $(WRITE:1=--write)
	python3 tests/airflow/setup.py
	python3 tests/charts/main.py --pods
ifdef AIRFLOW_CHART
	AIRFLOW_CHART=$(AIRFLOW_CHART) python3 tests/charts/main.py --official
endif

# The image for both processors, below target/image; needs buildah and rustup. `ARCHS=amd64`.
image:
	python3 image/build.py $(or $(ARCHS),amd64 arm64)

# What is in it, whether it runs, and whether all of it is the same when it is compiled once more.
image-test: image
	python3 tests/image/main.py --again $(or $(ARCHS),amd64 arm64)

# The image in a pod beside a real Airflow, as a kubelet and a Service treat it; as root.
pod:
	python3 tests/airflow/setup.py
	python3 image/build.py $(if $(filter aarch64,$(shell uname -m)),arm64,amd64)
	python3 tests/pod/main.py

# Years of key stores' lives in minutes; `DAYS=` and the first `SEED=`.
simulation:
	AIRSIDE_SIMULATION_DAYS=$(or $(DAYS),5000) AIRSIDE_SIMULATION_SEED=$(or $(SEED),1) \
		cargo test --profile ci --lib jwks::simulation -- --nocapture

# Mutated inputs for each parser until one breaks a promise, ten minutes each; `SECONDS=`, `TARGETS=`.
fuzz:
	python3 fuzz/run.py $(SECONDS:%=--seconds=%) $(TARGETS)

# What the steps of a request cost; with `HARNESS=`, the folder of a harness that compares proxies by the
# processor time of a request (its `run.py`, with a subject `airside`), that comparison too.
bench:
	cargo bench --bench steps
ifdef HARNESS
	cargo build --release
	cd $(HARNESS) && BENCH_AIRSIDE=$(CURDIR)/target/release/airside python3 run.py \
		--subjects nginx-plain,airside --base nginx-plain --scenarios O,B,C,D,E,F,G,H $(ARGS)
endif

# What valid traffic feels of floods of refused requests; needs Linux with two processors and chrt.
flood:
	cargo bench --profile ci --bench flood

# Ten minutes of everything at once, while Airflow dies and comes back: does anything grow, leak or
# get lost? `SECONDS=`.
soak:
	cargo bench --profile ci --bench soak -- $(or $(SECONDS),600)

fmt:
	cargo fmt
	cargo fmt --manifest-path fuzz/Cargo.toml

lint:
	cargo fmt --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --profile ci --all-targets --all-features -- -D warnings

# The next test run builds Airflow anew.
clean-airflow:
	rm -rf target/airflow
