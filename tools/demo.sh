#!/usr/bin/env bash
# Makes a virtual environment, trains the demo, and says where its pictures are.
# Further arguments go to train.py.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/environment.sh
environment .venv requirements.txt
python train.py --config demo "$@"
