"""What was kept and what was lost, measured."""
