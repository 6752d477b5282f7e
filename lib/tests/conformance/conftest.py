"""The two backends, and the engines that several tests look at."""

import pytest

from conformance import models
from conformance.lab import Lab
from trtlab.backend.compat import share_profiles


@pytest.fixture(
    scope="session", params=["emulated", pytest.param("tensorrt", marks=pytest.mark.gpu)]
)
def lab(request):
    if request.param == "emulated":
        from trtlab.backend.emulated import cuda, tensorrt

        return Lab("emulated", tensorrt, cuda)
    from trtlab.backend import _real

    return Lab("tensorrt", *_real())


@pytest.fixture(autouse=True)
def _fresh(lab):
    lab.log.clear()
    yield
    lab.cuda.Context.synchronize()  # work that fails, fails in the test that queued it


@pytest.fixture(scope="session")
def plan(lab):
    """The CNN in FP32, batches 1 to 4."""
    return lab.build(models.cnn())


@pytest.fixture(scope="session")
def static_plan(lab):
    """The CNN in FP32 with a batch of 2 and no profile."""
    return lab.build(models.cnn(2), profiles=())


@pytest.fixture(scope="session")
def two_profile_plan(lab):
    """The CNN in FP32 with the profiles 1-2-4 and 5-6-8."""
    return lab.build(models.cnn(), profiles=((1, 2, 4), (5, 6, 8)))


@pytest.fixture(scope="session")
def shared_profile_plan(lab):
    """The CNN in FP32 with one profile that several contexts may use at once."""
    return lab.build(models.cnn(), prepare=lambda network, config: share_profiles(lab.trt, config))


@pytest.fixture(scope="session")
def adder_plan(lab):
    """The model with two inputs and two outputs."""
    return lab.build(models.adder())


@pytest.fixture
def engine(lab, plan):
    return lab.engine(plan)


@pytest.fixture
def context(lab, plan):
    return lab.context(plan)
