/** The pages of a project, in the order of the navigation. */
import type { Component } from 'svelte';
import Address from './Address.svelte';
import Agents from './Agents.svelte';
import Alerts from './Alerts.svelte';
import Events from './Events.svelte';
import Overview from './Overview.svelte';
import Passive from './Passive.svelte';
import Rules from './Rules.svelte';
import Settings from './Settings.svelte';
import Story from './Story.svelte';

export interface PageEntry {
  path: string;
  title: string;
  component: Component;
  /** The second key of its shortcut, after `g`. */
  key?: string;
  /** Whether it is in the navigation. */
  listed: boolean;
}

export const PAGES: readonly PageEntry[] = [
  { path: 'overview', title: 'Overview', component: Overview, key: 'o', listed: true },
  { path: 'events', title: 'Events', component: Events, key: 'e', listed: true },
  { path: 'rules', title: 'Rules', component: Rules, key: 'r', listed: true },
  { path: 'passive', title: 'Passive', component: Passive, key: 'p', listed: true },
  { path: 'agents', title: 'Agents', component: Agents, key: 'a', listed: true },
  { path: 'alerts', title: 'Alerts', component: Alerts, key: 'l', listed: true },
  { path: 'settings', title: 'Settings', component: Settings, key: 's', listed: true },
  { path: 'address', title: 'Address', component: Address, listed: false },
  { path: 'story', title: 'Story', component: Story, listed: false },
];
