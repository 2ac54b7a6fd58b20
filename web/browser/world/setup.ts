/**
 * What most journeys share, started once: a server with people of each role, a shop with a past and a running app,
 * and a project whose records attack the reader. Journeys that change something use addresses or projects of their own.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { App, send } from './app';
import { Guard, type Known } from './guard';
import { events, hostileEvents, metrics } from './history';

export interface World extends Known {
  /** Where the app of the shop listens. */
  app: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    world: World;
  }
}

/** Rules of the shop, of several kinds, and a draft. */
async function makeRules(guard: Guard): Promise<void> {
  const rules: [string, Record<string, unknown>][] = [
    ['countries', { country: 'KP', reason: 'sanctions' }],
    ['limits', { endpoint: '/login', requests: 5, window_s: 60, reason: 'password guessing' }],
    ['user-agents', { pattern: 'nikto', duration_s: 604_800, reason: 'scanner' }],
    ['bans', { ip: '192.0.2.128/25', duration_s: 86_400, reason: 'scanner network' }],
    ['bans', { ip: '203.0.113.90', duration_s: 5400, reason: 'credential stuffing' }],
    ['bans', { ip: '198.51.100.7', reason: 'SQL injection' }],
  ];
  for (const [collection, body] of rules) {
    await guard.api('POST', `projects/shop/rules/${collection}`, body);
  }
  const document = { ttl: 250, blocked_user_agents: ['masscan'] };
  await guard.api('PUT', 'projects/shop/rules/draft', { document });
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const guard = await Guard.start();
  const home = (name: string) => {
    const path = join(guard.folder, name);
    mkdirSync(path, { recursive: true });
    return path;
  };
  const shop = await guard.key('shop');
  await makeRules(guard);
  const now = Date.now();
  const [app] = await Promise.all([
    App.start(guard.url, shop, home('app')),
    send(guard.url, shop, home('past'), { events: events(now), metrics: metrics(now) }),
    guard
      .key('hostile')
      .then((key) => send(guard.url, key, home('hostile'), { events: hostileEvents(now) })),
    guard.addPerson('anna', 'admin'),
    guard.addPerson('otto', 'operator'),
    guard.addPerson('vera', 'viewer'),
  ]);
  project.provide('world', { url: guard.url, folder: guard.folder, app: app.url });
  return async () => {
    await app.stop();
    await guard.stop();
  };
}
