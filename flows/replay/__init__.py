"""Recordings as a source: reads their bytes, and puts their trades in order."""
