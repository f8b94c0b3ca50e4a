"""Importing this module defines, and so registers, every family. `mld.models.base.find` does it."""

import mld.models.evaluators.eval272  # noqa: F401
import mld.models.evaluators.guo  # noqa: F401
import mld.models.evaluators.tmr  # noqa: F401
import mld.models.motiongpt  # noqa: F401
import mld.models.motiongpt3  # noqa: F401
import mld.models.tokenizers.vae  # noqa: F401
import mld.models.tokenizers.vqvae  # noqa: F401
