# make demo     set up a shop on this machine and watch an agent buy something in it (PORT=8000; ONCE=1 ends by itself;
#               STORY=declined plays one of the stories of what can go wrong, STORY=list lists them, STORY=all plays all)
# make serve    the same shop without the agent
# make test     set up and run the tests (Python 3.11 or later is all it needs)
# make check    the further checks: lint, types, import contracts, migrations, wheel
# make bench    the benchmark on PostgreSQL (DATABASE_URL), with its peers
PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
BENCH ?=
PORT ?= 8000
ONCE ?=
STORY ?=
export PYTHONWARNINGS ?= default

.PHONY: demo serve test check bench clean

demo serve: export SITE_URL = http://localhost:$(PORT)
demo serve: export LOG_DIRECTORY ?= $(CURDIR)/demo-log

demo: $(VENV)/ready
	@$(VENV)/bin/python manage.py demo $(if $(ONCE),--once) $(if $(STORY),--story $(STORY))

serve: $(VENV)/ready
	@$(VENV)/bin/python manage.py demo --no-agent

test: $(VENV)/ready
	$(VENV)/bin/python -m pytest $(PYTEST)

check: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	DJANGO_SETTINGS_MODULE=tests.settings $(VENV)/bin/python -m django makemigrations --check --dry-run
	$(VENV)/bin/python -m build --wheel --outdir dist .
	$(VENV)/bin/python .ci/wheel_contents.py dist/*.whl

bench: $(BENCH_VENV)/ready
	$(BENCH_VENV)/bin/python -m benchmarks $(BENCH)

# A folder made by another Python, or older than what it should hold, is made anew.
$(VENV)/ready: requirements/base.txt requirements/dev.txt requirements/postgres.txt requirements/celery.txt requirements/pkcs11.txt
	@echo "Setting up $(VENV), which takes a minute or so."
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@PYTHONWARNINGS=ignore $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	@touch $@

$(BENCH_VENV)/ready: requirements/base.txt requirements/dev.txt requirements/postgres.txt requirements/celery.txt requirements/pkcs11.txt requirements/bench.txt
	rm -rf $(BENCH_VENV)
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet -r requirements/bench.txt
	touch $@

clean:
	rm -rf $(VENV) $(BENCH_VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
