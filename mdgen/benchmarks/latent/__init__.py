"""Speed of latent space simulators: latent frames, decoded frames, and a microsecond against simulation."""
