"""The plugin file for ms-swift's `--external_plugins`; `credit_zoo.hosts.ms_swift` says what it does."""

from credit_zoo.hosts import register_ms_swift_trainer

ShapedGRPOTrainer = register_ms_swift_trainer()
