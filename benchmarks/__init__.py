"""The benchmarks: one per file, named as the file; `credit_zoo.bench` says what each one offers."""
