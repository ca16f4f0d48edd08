"""Around the product: the local stack, the sandbox upstream, the doctor, the image."""
