# `make check` is what every commit must pass; it stops at the first step that fails.
.NOTPARALLEL:
.PHONY: check format-check lint types layers test static format reference

check: static test

static: format-check lint types layers

format-check:
	ruff format --check .

lint:
	ruff check .

types:
	mypy

layers:
	lint-imports

test:
	pytest -m "not slow and not gpu"

# The pages in documentation/reference that are made from the code.
reference:
	python -m documentation.generator

format:
	ruff format .
	ruff check --fix .
