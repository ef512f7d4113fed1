"""HTTP: bytes of a request → images, and answers → bytes. No Ray, no model."""
