"""What the paper draws: root network, spatial-temporal encoder, kinematic topology decoder."""
