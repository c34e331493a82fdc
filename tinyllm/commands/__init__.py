"""What `python -m tinyllm` runs: the commands and their options, the quickstart, and the doctor.

`cli` has a function for each command and turns errors into one line and an exit status; `cli_options` reads the
options from the configurations' fields; `printing` is for terminals of any encoding, and for JSON. `quickstart` and
`doctor` are commands with a body of their own. What the others do is elsewhere: here it is only called and printed. The
course's command, `grade`, is in `__main__`.
"""
