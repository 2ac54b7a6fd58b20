/** Why is nothing here? Asks the server, and says what is missing. */
import { get, inProject } from './api';
import { count } from './format';
import { session } from './session.svelte';
import type { Agents, Overview, Page, Project } from './types';

export interface Check {
  done: boolean | null;
  text: string;
  hint: string;
}

interface Key {
  last_used_at: string | null;
}

/** The checks of "zero events", in the order in which a record passes them. Only admins may see the keys. */
export async function check(project: string, signal: AbortSignal): Promise<Check[]> {
  const [keys, summary, about, agents, week] = await Promise.all([
    session.may('admin') ? get<Page<Key>>(inProject(project, 'keys'), {}, signal) : null,
    get<{ wrong_keys?: number }>(inProject(project, 'summary'), {}, signal),
    get<Project>(inProject(project), {}, signal),
    get<Agents>(inProject(project, 'agents'), {}, signal),
    get<Overview>(inProject(project, 'overview'), { from: '-7d' }, signal),
  ]);
  const used = keys?.items.some((key) => key.last_used_at !== null);
  const wrong = summary.wrong_keys ?? 0;
  const refused = Object.entries(about.refused).filter(([, count]) => count > 0);
  const seen = agents.counts.total > 0;
  const error = agents.items.flatMap((agent) => agent.errors)[0];
  const { events, requests } = week.totals;
  const key = {
    done: used ?? null,
    text: used ? 'A key of this project was used.' : 'No key of this project was used yet.',
    hint: 'Set the key in the app and restart it.',
  };
  const wrongKeys = {
    done: wrong === 0,
    text: wrong
      ? `${count(wrong)} ${wrong === 1 ? 'request' : 'requests'} came with a wrong key since the server started.`
      : 'No request came with a wrong key since the server started.',
    hint: 'It may be of another app. The log of an app with a wrong key says so once.',
  };
  return [
    ...(keys ? [key] : []),
    ...(used ? [] : [wrongKeys]),
    {
      done: refused.length === 0,
      text: refused.length
        ? `Requests were refused: ${refused.map(([why]) => why.replaceAll('_', ' ')).join(', ')}.`
        : 'No request of this project was refused.',
      hint: 'The settings of the project say what agents must do.',
    },
    {
      done: seen,
      text: seen ? 'An agent reports its state.' : 'No agent was seen yet.',
      hint: 'The agent needs enable_agent=True and the address of this server, reachable from the app.',
    },
    {
      done: error === undefined,
      text: error === undefined ? 'No agent reports an error.' : `An agent reports: ${error}`,
      hint: 'The page Agents shows the errors of each agent.',
    },
    {
      done: seen ? events.count + requests.count > 0 : null,
      text: events.count
        ? 'Events arrived in the last 7 days. Choose a longer time range.'
        : requests.count
          ? 'Metrics arrive, but no events.'
          : 'Neither events nor metrics arrived in the last 7 days.',
      hint: 'Events appear when a guard blocks or detects something, and agent_enable_events must be on. Send a request such as /?q=<script> to try it.',
    },
  ];
}
