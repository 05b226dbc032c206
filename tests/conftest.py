"""What all tests share: hypothesis draws the same examples on every machine."""

from hypothesis import settings

settings.register_profile("handgrad", derandomize=True, deadline=None, max_examples=20)
settings.load_profile("handgrad")
