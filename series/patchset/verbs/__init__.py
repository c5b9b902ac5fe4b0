# SPDX-License-Identifier: GPL-2.0
"""The verbs of series/series, a module each: its docstring is the help, arguments() what it takes, work() does it."""
