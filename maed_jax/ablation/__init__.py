"""The ablation study of the paper's Table 2: trains, measures and compares its rows."""
