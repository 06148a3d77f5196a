# What a contributor calls; needs cargo, python3 and make, nothing else.

.PHONY: test test-airflow fmt lint clean-airflow

# Everything there is, with a table at the end of what ran and what did not.
test:
	python3 tests/checks.py

# The promises about real Airflow alone, against an Airflow built once below target/airflow.
test-airflow:
	python3 tests/airflow/setup.py
	cargo test --profile ci --features airflow-tests --test airflow

fmt:
	cargo fmt

lint:
	cargo fmt --check
	cargo clippy --profile ci --all-targets --all-features -- -D warnings

# The next test run builds Airflow anew.
clean-airflow:
	rm -rf target/airflow
