"""What an alert rule may watch: the numbers of a pair, and those of a symbol."""

PAIR_METRICS = ("zscore", "correlation", "adf_pvalue", "coint_pvalue", "broken")
SYMBOL_METRICS = ("price", "volume_ratio", "volatility_ratio", "staleness")
