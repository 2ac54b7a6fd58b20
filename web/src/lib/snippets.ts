/** What to paste into an app so that its guard reports to this server. */

export interface Snippet {
  name: string;
  install: string;
  code: string;
}

/** The address of this server as an app on the same network reaches it. */
export function endpoint(): string {
  return new URL('.', document.baseURI).href.replace(/\/$/, '');
}

export function snippets(key: string, server: string): Snippet[] {
  const settings = [
    'enable_agent=True',
    'enable_dynamic_rules=True',
    `agent_api_key="${key}"`,
    `agent_endpoint="${server}"`,
  ];
  const config = settings.map((it) => `    ${it},`).join('\n');
  return [
    {
      name: 'FastAPI',
      install: 'pip install fastapi-guard fastapi-guard-agent',
      code: `from fastapi import FastAPI
from guard import SecurityConfig, SecurityMiddleware

config = SecurityConfig(
${config}
    enable_redis=False,
)

app = FastAPI()
app.add_middleware(SecurityMiddleware, config=config)`,
    },
    {
      name: 'Flask',
      install: 'pip install flaskapi-guard fastapi-guard-agent',
      code: `from flask import Flask
from flaskapi_guard import FlaskAPIGuard, SecurityConfig

config = SecurityConfig(
${config}
    enable_redis=False,
)

app = Flask(__name__)
FlaskAPIGuard(app, config=config)`,
    },
    {
      name: 'Django',
      install: 'pip install djapi-guard fastapi-guard-agent',
      code: `# at the end of settings.py
from guard_core import SecurityConfig

MIDDLEWARE.insert(0, "djangoapi_guard.DjangoAPIGuard")

GUARD_SECURITY_CONFIG = SecurityConfig(
${config}
    enable_redis=False,
)`,
    },
    {
      name: 'Rust',
      install: 'cargo add guard-agent',
      code: `use guard_agent::{Agent, SecurityEvent};

let agent = Agent::builder("${key}")
    .endpoint("${server}")
    .build()?;
agent.send_event(&SecurityEvent::new("ip_banned").ip_address("192.0.2.7"))?;`,
    },
  ];
}
