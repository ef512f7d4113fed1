"""One model behind one engine: bytes of an image → scores. No HTTP, no Ray."""
