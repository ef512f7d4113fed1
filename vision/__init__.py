"""What training and serving share: one definition of image, preprocessing, model and bundle.

No HTTP, no Ray, no training loop. Importing the package does nothing. Only the modules that need torch or OpenVINO
import them, so a replica that serves through OpenVINO never loads torch.
"""
