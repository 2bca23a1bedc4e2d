"""The wire language: framing, codec, record batches, metadata records, client connection.

The only part of the broker that other packages may import. It must never import the rest of it.
"""
