"""Certificates of a consortium. The package is the place of the PKI and holds no code yet."""
