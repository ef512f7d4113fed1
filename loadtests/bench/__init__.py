"""What is measured and published: Sightline beside its peers, its capacity."""
