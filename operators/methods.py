"""The methods that a hedge ratio can be computed by, and the longest windows that they bear."""

METHODS = ("ols", "kalman", "huber", "theil_sen", "tls")
MOST_ROWS = {"theil_sen": 30_000}  # of a window: what is measured at every bar is to take less than 50 ms; the others bear 100,000
MOST_LAGS = 200  # of a test of 100,000 rows, for the same reason; Schwert's rule asks for 68 there
