"""An existing Fridu-in-Xen box, read from its own files: addresses, guests, defaults. Read as data, never run."""
