"""Ratios against a peer in the same run. No test times anything; these do."""
