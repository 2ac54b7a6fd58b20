/** The tests of the browser: one browser for each file, and pages that keep what it complains about. */
import type { BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { expect, inject, test as base } from 'vitest';
import { launch, open, settled } from './browser';
import { App } from './world/app';
import { Guard } from './world/guard';

export { expect };

/** A bound for what happens soon, also on a slow machine. */
export const WAIT = { timeout: 60_000 };

export interface Wanted extends BrowserContextOptions {
  /** Who is signed in; null for nobody. */
  as?: string | null;
  guard?: Guard;
}

/** A page in its own browser context. */
export interface Visit {
  page: Page;
  /** Goes to a path below the server, and waits until nothing is loading. */
  go: (path: string) => Promise<void>;
  /** The path and query of the address bar, decoded. */
  path: () => string;
}

export const test = base
  // Vitest reads from this pattern which fixtures it needs.
  // eslint-disable-next-line no-empty-pattern
  .extend('browser', { scope: 'file' }, async ({}, { onCleanup }) => {
    const browser = await launch();
    onCleanup(() => browser.close());
    return browser;
  })
  /** The server that the journeys share, and the app of its shop. */
  .extend('guard', { scope: 'file' }, () => Guard.at(inject('world')))
  .extend('app', { scope: 'file' }, () => App.at(inject('world').app))
  /** Opens a page. It must give the browser nothing to complain about. */
  .extend('visit', async ({ browser, guard }, { onCleanup }) => {
    const complaints: string[] = [];
    const contexts: BrowserContext[] = [];
    onCleanup(async () => {
      await Promise.all(contexts.map((context) => context.close()));
      expect(complaints).toEqual([]);
    });
    return async ({ as = 'anna', guard: at = guard, ...options }: Wanted = {}): Promise<Visit> => {
      const viewport = { width: 1280, height: 900 };
      const context = await browser.newContext({ viewport, ...options });
      contexts.push(context);
      if (as !== null) await context.addCookies([await at.cookieOf(as)]);
      const page = await open(context, complaints);
      const base = at.address + '/';
      return {
        page,
        go: async (path) => {
          await page.goto(base + path);
          await settled(page);
        },
        path: () => decodeURIComponent(page.url().slice(base.length).replaceAll('+', ' ')),
      };
    };
  });
