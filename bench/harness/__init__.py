"""Runs each case on the peers and on ours in turn, and tables what was measured."""
