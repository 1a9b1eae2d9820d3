"""The ablation of the paper's Table 2: every row trained, measured and compared."""
