"""What verl imports by `VERL_USE_EXTERNAL_MODULES=credit_zoo.verl`; `credit_zoo.hosts.verl` says what it does."""

from credit_zoo.hosts import register_verl_trainer

ShapedTrainer = register_verl_trainer()
