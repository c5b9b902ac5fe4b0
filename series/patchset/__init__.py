# SPDX-License-Identifier: GPL-2.0
"""The patch set: what the repository says, commits made of it, and back."""
