# SPDX-License-Identifier: GPL-3.0-or-later
"""agitator-import: turns the TOML configuration of the first agitator, written in Go, into one of
this agitator.

`old` takes the TOML apart and gives every key the value that the Go program would have had, defaults
and all. `convert` says the same in our words, and in comments what is no longer the same. Both refuse
what has no equivalent and go on, so that everything is reported at once; only when nothing was
refused is anything written. The same file always gives the same text.

What the Go program meant is in data/doc/from-go.md, and here where it is surprising.
"""
