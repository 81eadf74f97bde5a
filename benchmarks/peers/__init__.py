"""Parity with other toolkits and speed in turns with them; `setup.sh` makes the environment, `.peers/run` enters it."""
