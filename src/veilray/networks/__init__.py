"""What all fitted networks share: building blocks, the training loop, and files. Nothing of privacy or images."""
