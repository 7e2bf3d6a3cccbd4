"""Results and tasks of nnDetection and nnU-Net, read without either installed, and written for them. Knows no torch."""
