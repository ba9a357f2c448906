"""Canonical bytes, sealing, commitments, tokens and signatures of sessions. Runs without Django."""
