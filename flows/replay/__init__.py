"""Recordings as a source: how their bytes are read, and in which order their trades come."""
