"""How training varies images: crops, and strong views."""
