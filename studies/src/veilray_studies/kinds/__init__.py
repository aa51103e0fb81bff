"""Registered study kinds, one a file."""
