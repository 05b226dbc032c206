"""A small network, and its step on meshes."""

import pytest

from handgrad.scale.step import Job, make_job, stand_in
from handgrad.training.settings import Data, Model, Optimizer, Settings, Training


@pytest.fixture(scope="session")
def settings() -> Settings:
    """6-8-8-3, trained by AdamW, with a moving average."""
    return Settings(
        name="small",
        data=Data(source="digits"),
        model=Model(hidden=(8, 8)),
        optimizer=Optimizer(
            name="adamw", learning_rate=0.01, weight_decay=0.1, average=0.9
        ),
        training=Training(epochs=3, batch_size=16),
    )


@pytest.fixture(scope="session")
def job(settings: Settings) -> Job:
    """Its step, for 6 features and 3 classes."""
    return make_job(settings, stand_in(settings, 6, 3))
