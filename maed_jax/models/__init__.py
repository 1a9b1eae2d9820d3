"""The paper's network: convolutional root, spatial-temporal encoder, kinematic topology decoder."""
