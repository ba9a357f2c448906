"""The audit trail: events, their chain, the signed artifact and its verifier. Runs without Django."""
