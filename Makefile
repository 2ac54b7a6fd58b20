# The commands of this project. CI calls only these.
#
#   make demo    build everything, run server and example app, attack it, compare
#   make test    install what is needed, lint, run every test
#   make lint    formatting, lints, docs and types; part of make test
#   make bench   measure side by side with the public agents; BENCH=--quick for a short run
#   make faults  kill, cut and starve it, and show what became of every record; FAULTS=--quick for a few
#   make server  build guard-server for use: target/release/guard-server
#   make web     develop the dashboard, with the server at GUARD_SERVER behind it (http://127.0.0.1:8400)
#   make wheel   build the Python package for use: .build/wheels/; PYTHON=python3.12 for another Python
#   make docs    build the documentation site: .build/site/
#   make setup   install the system packages that are missing (root with apt), or name them
#   make lock    renew requirements.lock from requirements.txt
#   make advisories  look up known faults of the Rust dependencies; needs GitHub
#   make clean   remove what these commands made

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .build/venv
BIN := $(CURDIR)/$(VENV)/bin
CARGO_DENY := 0.20.2
WHEELS ?= .build/wheels
SERVER := target/release/guard-server
RUST := Cargo.toml Cargo.lock $(shell find crates -name '*.rs' -o -name '*.toml' -o -name '*.css' -o -name '*.sql' -o -name '*.html')
PACKAGE := pyproject.toml python/README.md $(shell find python -name '*.py' -o -name '*.pyi' -o -name py.typed)
PYTHON_CODE := python tests examples bench
WEB := $(shell find web -path web/node_modules -prune -o -path web/dist -prune -o -type f -print)
# Node comes from the environment, never from the machine.
NPM := PATH="$(BIN):$$PATH" npm --prefix web

.PHONY: demo test lint lint-layers lint-rust lint-python lint-text lint-web deny advisories minimum-rust bench faults server web wheel docs lock clean setup tools test-tools

demo: $(SERVER) .build/package
	$(BIN)/python examples/fastapi_app/demo --server $(SERVER)

test: lint .build/package web/dist test-tools .build/e2e/guard-agent-rs/made
	$(BIN)/python tests/run.py

lint: lint-layers lint-rust lint-python lint-text lint-web deny

# The domain of guard-server knows neither HTTP, nor the command line, nor a database.
lint-layers:
	$(PYTHON) tests/layers.py

lint-rust: tools
	cargo fmt --all --check
	cargo fmt --all --check --manifest-path bench/Cargo.toml
	cargo fmt --all --check --manifest-path fuzz/Cargo.toml
	cargo fmt --all --check --manifest-path tests/e2e/guard-agent-rs/Cargo.toml
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --package guard-agent --no-default-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

lint-python: .build/package
	$(BIN)/ruff format --check $(PYTHON_CODE)
	$(BIN)/ruff check $(PYTHON_CODE)
	$(BIN)/mypy
	cd .build && $(BIN)/stubtest guard_agent._native

# Spelling, and links within the documentation.
lint-text: .build/tools docs
	$(BIN)/typos

# Formatting, lints and types of the dashboard, and how much script its first load takes.
lint-web: .build/node_modules web/dist
	$(NPM) run lint
	$(NPM) run budget

# Licences and sources of the dependencies. Building the tool takes a minute or two, once.
deny: .build/cargo/bin/cargo-deny
	.build/cargo/bin/cargo-deny --locked check licenses bans sources

# Known faults of the dependencies. Reads the database of RustSec from GitHub, so lint leaves it out.
advisories: .build/cargo/bin/cargo-deny
	.build/cargo/bin/cargo-deny --locked check advisories

.build/cargo/bin/cargo-deny:
	cargo install --locked --root .build/cargo --profile dev --no-default-features cargo-deny@$(CARGO_DENY)

# The oldest Rust that Cargo.toml promises, which rustup fetches.
minimum-rust:
	cargo +$$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) check --workspace --locked

bench:
	$(PYTHON) bench/run.py $(BENCH)

faults: $(SERVER) .build/package
	PYTHONPATH=tests GUARD_SERVER_BIN=$(SERVER) $(BIN)/python -m faults.run $(FAULTS)

server: $(SERVER)

web: .build/node_modules
	$(NPM) run dev

# For the Python that PYTHON names, in an environment that holds nothing but the build tool.
wheel: tools
	$(PYTHON) -m venv --clear .build/wheel
	.build/wheel/bin/pip install --quiet --disable-pip-version-check $$(grep -i '^maturin==' requirements.lock)
	.build/wheel/bin/maturin build --release --locked --interpreter $(PYTHON) --out $(WHEELS)

docs: .build/tools
	$(BIN)/zensical build --strict --config-file mkdocs.yml

$(SERVER): $(RUST) web/dist | tools
	cargo build --release --locked --package guard-server
	@touch $@

# The system packages that the commands need: installed by root with apt-get, named for everybody else.
setup: tools test-tools

# A compiler and Python, for every command.
tools:
	@for tool in cargo $(PYTHON) cc; do command -v $$tool > /dev/null || missing="$${missing:-} $$tool"; done; \
	$(PYTHON) -c 'import ensurepip' 2> /dev/null || missing="$${missing:-} python3-venv"; \
	if [ -n "$${missing:-}" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    case "$$missing" in *cargo*) echo "install Rust from https://rustup.rs first" >&2; exit 1;; esac; \
	    apt-get update -q && apt-get install -qy gcc libc6-dev python3 python3-venv; \
	  else \
	    echo "missing:$$missing; install a C compiler, Python 3.10 or later with venv, and Rust" >&2; exit 1; \
	  fi; \
	fi

# The tests run a real Redis, a real PostgreSQL, a real browser, a real proxy and a real Prometheus, and
# make certificates. Debian's PostgreSQL makes and starts a server when it is installed, unless it is told not to.
test-tools:
	@{ command -v redis-server && ls /usr/lib/postgresql/*/bin/initdb && command -v openssl && command -v chromium && command -v /usr/sbin/nginx && command -v prometheus && command -v systemd-analyze; } > /dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
	    apt-get update -q && apt-get install -qy --no-install-recommends postgresql-common && \
	    sed -i 's/^#create_main_cluster .*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf && \
	    apt-get install -qy --no-install-recommends redis-server postgresql openssl chromium nginx-light prometheus systemd; \
	  else \
	    echo "missing: redis-server, postgresql, openssl, chromium, nginx, prometheus and systemd-analyze, which the tests use; install them" >&2; exit 1; \
	  fi; \
	}

# The environment, with exactly the versions of the lock.
.build/tools: requirements.lock | tools
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@touch $@

# The program that reports with guard-agent-rs. Its TLS library takes minutes to build, too long for
# a test, which builds it again only after a change.
.build/e2e/guard-agent-rs/made: tests/e2e/guard-agent-rs/Cargo.lock tests/e2e/guard-agent-rs/src/main.rs | tools
	cargo build --quiet --locked --manifest-path tests/e2e/guard-agent-rs/Cargo.toml --target-dir $(@D)
	@touch $@

# What the dashboard is built with, with exactly the versions of its lock.
.build/node_modules: web/package-lock.json web/package.json .build/tools
	$(NPM) ci
	@touch $@

# The dashboard, which guard-server embeds.
web/dist: $(WEB) .build/node_modules
	$(NPM) run build
	@touch $@

# The package, built and installed as its users do it.
.build/package: $(filter crates/guard-wire/% crates/guard-agent/% crates/guard-agent-python/% Cargo.%,$(RUST)) $(PACKAGE) .build/tools
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .
	@touch $@

lock: | tools
	rm -rf .build/lock && $(PYTHON) -m venv .build/lock
	.build/lock/bin/pip install --quiet --requirement requirements.txt 'pydantic>=2'
	( echo "# Made by make lock from requirements.txt."; .build/lock/bin/pip freeze --exclude-editable ) > requirements.lock

clean:
	rm -rf .build target bench/target web/dist web/node_modules
