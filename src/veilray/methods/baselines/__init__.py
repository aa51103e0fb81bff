"""Published systems whose claim does not hold, rebuilt to be measured. **Quarantined: none of this may release.**

Nothing here is a `Method`, is in `METHODS`, can be saved as a MODEL folder, or carries a guarantee; its noise is that
of `numpy.random`. Only studies and the audit's broken gallery may import it (import-linter and the tests see to it).
"""

from veilray.methods.baselines.cadp_as_published import (
    CADPAsPublished,
    published_clip,
    published_noise_scale,
    published_radius,
    published_release,
)
from veilray.methods.baselines.cadp_network import AS_CONFIGURED, AS_RUN, CADPConfig, CADPNetwork

__all__ = [
    "AS_CONFIGURED",
    "AS_RUN",
    "CADPAsPublished",
    "CADPConfig",
    "CADPNetwork",
    "published_clip",
    "published_noise_scale",
    "published_radius",
    "published_release",
]
