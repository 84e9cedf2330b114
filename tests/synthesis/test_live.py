"""The whole loop over loopback servers that speak both protocols, failing in between."""

import pytest
import servers
from answering import KEY, KEY_VARIABLE, Answering, assert_no_key
from design_loop import quick_verify

from qllm_jax.config import Config, LlmConfig, SynthesisConfig
from qllm_jax.llm import make_client
from qllm_jax.synthesis import generate
from qllm_jax.synthesis import loop as loop_module


@pytest.mark.parametrize("provider", ["gemini", "openai"])
def test_a_run_through_a_failing_server_ends_as_its_replay_does(
    climbing, recorded, fake_measure, tmp_path, monkeypatch, provider
):
    """Every call is refused, cut off or answered by a page first; r1c1 is told our key."""
    monkeypatch.setattr(loop_module, "verify", quick_verify)
    for variable in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(KEY_VARIABLE[provider], KEY)
    synthesis = SynthesisConfig(final_seeds=2)
    script = Answering(provider, recorded)
    with servers.Server(script) as url:
        config = Config(llm=LlmConfig(provider=provider, base_url=url), synthesis=synthesis)
        client = make_client(config.llm)
        object.__setattr__(client, "sleep", lambda seconds: None)
        live = generate(climbing, config, client, tmp_path / "live", None, fake_measure("r2c2"))
    config = Config(llm=LlmConfig(provider="recorded"), synthesis=synthesis)
    replay = generate(climbing, config, recorded, tmp_path / "replay", None, fake_measure("r2c2"))
    assert live.chosen.name == replay.chosen.name == "r2c2"
    assert live.artifact.sha256 == replay.artifact.sha256
    assert [item.verdict for item in live.candidates] == [
        item.verdict for item in replay.candidates
    ]
    assert set(script.asked.values()) == {2}
    assert sum(row.calls for row in live.costs) == len(script.asked)
    assert sum(row.failed_attempts for row in live.costs) == len(script.asked)
    assert all(row.dollars is None for row in live.costs)
    assert_no_key(tmp_path / "live")
