"""What several rooms' tests need: a tiny real DP-GLOW, untrained."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import settings

from veilray.flows import Glow, GlowConfig, load_card, save_flow
from veilray.images import RULE
from veilray.methods import DPGlow, ModelCard
from veilray.methods.domain import Domain
from veilray.privacy import ModelTraining

# The same examples in every run of CI: a build fails for what changed, not for the draw. At a desk they vary.
settings.register_profile("steady", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("steady")


@pytest.fixture(scope="session")
def method(tmp_path_factory: pytest.TempPathFactory) -> DPGlow:
    flow = Glow(GlowConfig(size=8, levels=2, steps=2, width=8))
    folder = tmp_path_factory.mktemp("weights")
    save_flow(flow, folder, {})
    card = ModelCard(
        name="tiny",
        method="dp-glow",
        geometry={"size": 8, "channels": 1, "bits": 8},
        geometry_rule=RULE,
        training=ModelTraining(data="public", statement="random numbers"),
        training_images=0,
        training_patients=None,
        levels_of={"label": ("NORMAL", "PNEUMONIA")},
        weights_sha256=load_card(folder)["weights_sha256"],
    )
    return DPGlow(flow, card, Domain.of(np.arange(10.0)))
