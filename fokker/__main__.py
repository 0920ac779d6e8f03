"""`python -m fokker`: the command, also where its script is not installed, as in a job of Ray."""

from .launch.cli.process import main

main()
