"""The benchmarks: one per file, named as the file; `credit_zoo.questions.benchmark` says what each one offers."""
