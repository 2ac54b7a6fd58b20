/** Two days of a shop: visitors, the usual noise of scanners, and an attack that goes on. */
import type { Sent } from './app';

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** What an attacker would put into a field. It must never run, and never be markup. */
export const PAYLOAD = `"><img src=x onerror="window.hacked=1"><script>window.hacked=1</script>`;

/** The addresses that attack at the end, and what their events share. */
export const ATTACKERS = ['203.0.113.7', '198.51.100.23', '2001:db8:52::9'] as const;
export const BEHAVIOUR = 'login-sqli/7f3a';

/** Numbers that look random, and are the same in each run. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

interface Kind {
  share: number;
  event: Sent;
}

/** What the guard of a shop sees on a quiet day. */
const NOISE: readonly Kind[] = [
  {
    share: 5,
    event: {
      event_type: 'rate_limited',
      action_taken: 'request_blocked',
      reason: 'Rate limit exceeded: 3 requests per 60s',
      endpoint: '/login',
      method: 'POST',
      status_code: 429,
      user_agent: 'python-requests/2.32',
    },
  },
  {
    share: 4,
    event: {
      event_type: 'user_agent_blocked',
      action_taken: 'request_blocked',
      reason: 'Blocked user agent: sqlmap',
      endpoint: '/search',
      method: 'GET',
      status_code: 403,
      user_agent: 'sqlmap/1.8#stable (https://sqlmap.org)',
    },
  },
  {
    share: 4,
    event: {
      event_type: 'penetration_attempt',
      action_taken: 'request_blocked',
      reason: 'Path traversal: ../../etc/passwd',
      endpoint: '/wp-admin/setup.php',
      method: 'GET',
      status_code: 400,
      user_agent: 'curl/8.5',
      pattern_matched: '(?:\\.\\./){2,}',
    },
  },
  {
    share: 3,
    event: {
      event_type: 'country_blocked',
      action_taken: 'request_blocked',
      reason: 'Country not allowed: KP',
      endpoint: '/api/export',
      method: 'GET',
      status_code: 403,
      country: 'KP',
      user_agent: 'Go-http-client/2.0',
    },
  },
  {
    share: 6,
    event: {
      event_type: 'pattern_detected',
      action_taken: 'logged_only',
      reason: 'XSS: script tag',
      endpoint: '/api/items/{id}',
      method: 'GET',
      status_code: 200,
      user_agent: 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
      metadata: { 'guard.rule.id': 'xss-7', 'guard.threat_score': 40 },
    },
  },
  {
    share: 5,
    event: {
      event_type: 'suspicious_request',
      action_taken: 'logged_only',
      reason: 'Payload looks like a template injection',
      endpoint: '/api/reviews',
      method: 'POST',
      status_code: 201,
      user_agent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)',
      metadata: { 'guard.rule.id': 'ssti-2', 'guard.threat_score': 30 },
    },
  },
];
const COUNTRIES = ['DE', 'FR', 'US', 'CN', 'RU', 'BR', 'IN', null];

/** One of the kinds, by their shares. */
function pick(random: number): Sent {
  const all = NOISE.reduce((sum, { share }) => sum + share, 0);
  let at = random * all;
  for (const { share, event } of NOISE) {
    at -= share;
    if (at < 0) return event;
  }
  return {};
}

/** Events of the two days before `now`, which end with an attack of a quarter of an hour. */
export function events(now: number): Sent[] {
  const random = dice(7);
  const sent: Sent[] = [];
  const at = (time: number) => new Date(time).toISOString();
  for (let time = now - 2 * DAY; time < now; time += 90_000 * (0.4 + random())) {
    // More at noon than at night.
    const hour = new Date(time).getUTCHours() + 0.01;
    if (random() > 0.35 + 0.6 * Math.sin((hour / 24) * Math.PI)) continue;
    const host = 1 + Math.floor(random() * random() * 60);
    const address = random() < 0.8 ? `192.0.2.${host}` : `2001:db8:7::${host.toString(16)}`;
    const country = COUNTRIES[Math.floor(random() * COUNTRIES.length)] ?? null;
    sent.push({ country, ...pick(random()), ip_address: address, timestamp: at(time) });
  }
  return [...sent, ...attack(now, random)];
}

function attack(now: number, random: () => number): Sent[] {
  const sent: Sent[] = [];
  const begin = now - 15 * MINUTE;
  const shared = { 'guard.behavior.correlation_key': BEHAVIOUR };
  const injection: Sent = {
    event_type: 'penetration_attempt',
    action_taken: 'request_blocked',
    reason: 'SQL injection: union select',
    endpoint: '/login',
    method: 'POST',
    status_code: 400,
    user_agent: 'sqlmap/1.8#stable (https://sqlmap.org)',
    pattern_matched: 'union\\s+(all\\s+)?select',
    metadata: { 'guard.rule.id': 'sqli-3', 'guard.threat_score': 95, ...shared },
  };
  for (let time = begin; time < now - 2000; time += 1400) {
    const roll = random();
    const [ip_address, country] =
      roll < 0.6 ? [ATTACKERS[0], 'RU'] : roll < 0.85 ? [ATTACKERS[1], 'CN'] : [ATTACKERS[2], 'US'];
    const timestamp = new Date(time + 1000 * random()).toISOString();
    sent.push({ ...injection, ip_address, country, timestamp });
  }
  const banned = {
    event_type: 'ip_banned',
    action_taken: 'banned',
    method: null,
    metadata: shared,
  };
  for (const [index, ip_address] of ATTACKERS.entries()) {
    const timestamp = new Date(begin + (index + 2) * 2 * MINUTE).toISOString();
    sent.push({ ...banned, ip_address, reason: '10 detections in 5 minutes', timestamp });
  }
  return sent;
}

/** One response time and one request a minute, slower during the attack. */
export function metrics(now: number): Sent[] {
  const random = dice(11);
  const sent: Sent[] = [];
  for (let time = now - 2 * DAY; time < now; time += MINUTE) {
    const timestamp = new Date(time).toISOString();
    const tags = { endpoint: '/search', method: 'GET', status: '200' };
    const slow = now - time < 15 * MINUTE ? 3 : 1;
    const value = slow * (0.012 + 0.06 * random() ** 4);
    sent.push({ metric_type: 'response_time', value, endpoint: '/search', tags, timestamp });
    sent.push({ metric_type: 'request_count', value: 1, endpoint: '/search', tags, timestamp });
  }
  return sent;
}

/** Events whose every field holds an attack on whoever looks at them. */
export function hostileEvents(now: number): Sent[] {
  return Array.from({ length: 30 }, (_, index) => ({
    timestamp: new Date(now - index * 20_000).toISOString(),
    event_type: `type ${PAYLOAD}`,
    ip_address: index % 2 ? PAYLOAD : '203.0.113.66',
    country: PAYLOAD,
    user_agent: PAYLOAD,
    action_taken: index % 3 ? 'logged_only' : PAYLOAD,
    reason: PAYLOAD,
    endpoint: `/?q=${PAYLOAD}`,
    method: PAYLOAD,
    status_code: 200,
    decorator_type: PAYLOAD,
    rule_type: PAYLOAD,
    pattern_matched: PAYLOAD,
    handler_name: PAYLOAD,
    metadata: { [PAYLOAD]: PAYLOAD, nested: { [PAYLOAD]: [PAYLOAD] } },
    [PAYLOAD]: PAYLOAD,
  }));
}
