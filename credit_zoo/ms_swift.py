"""The plugin file for ms-swift's `--external_plugins`; `credit_zoo.hosts.ms_swift` says what it does."""

import sys
from pathlib import Path

# ms-swift puts a plugin's folder in front of all others, where this one's `trl` would stand for TRL.
sys.path[:] = [folder for folder in sys.path if folder != str(Path(__file__).parent)]

from credit_zoo.hosts import register_ms_swift_trainer  # noqa: E402

ShapedGRPOTrainer = register_ms_swift_trainer()
