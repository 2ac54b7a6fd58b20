"""Runs each case alternately on the peers and on our agent, and prints the results as a table."""
