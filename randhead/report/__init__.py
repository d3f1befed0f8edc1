"""Pictures, pages and cards made from figures."""
