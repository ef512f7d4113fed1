"""What training and serving share: one definition of image, preprocessing, model and bundle.

Knows no HTTP, no Ray and no training loop. Importing it does nothing; torch and OpenVINO are imported by the modules
that need them, so that a replica which serves through OpenVINO never loads torch.
"""
