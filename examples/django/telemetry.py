"""The agent for the shop's own code. All handlers share the process's single agent."""

from django.conf import settings

from guard_agent import AgentConfig, guard_agent

config = settings.GUARD_SECURITY_CONFIG.to_agent_config()
assert isinstance(config, AgentConfig)
agent = guard_agent(config)
