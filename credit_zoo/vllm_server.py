"""`python -m credit_zoo.vllm_server`: see `credit_zoo.rollout.vllm_server`."""

import sys

from credit_zoo.rollout import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
