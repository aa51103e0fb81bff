"""veilray."""
