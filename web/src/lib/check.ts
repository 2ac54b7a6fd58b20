/** Why is nothing here? Asks the server, and says what is missing. */
import { get, inProject } from './api';
import type { Agents, Overview, Page } from './types';

export interface Check {
  done: boolean | null;
  text: string;
  hint: string;
}

interface Key {
  label: string | null;
  last_used_at: string | null;
}

/** The checks of "zero events", in the order in which a record passes them. */
export async function check(
  project: string,
  admin: boolean,
  signal: AbortSignal,
): Promise<Check[]> {
  const [keys, agents, week] = await Promise.all([
    admin ? get<Page<Key>>(inProject(project, 'keys'), {}, signal) : null,
    get<Agents>(inProject(project, 'agents'), {}, signal),
    get<Overview>(inProject(project, 'overview'), { from: '-7d' }, signal),
  ]);
  const used = keys ? keys.items.some((key) => key.last_used_at !== null) : null;
  const seen = agents.counts.total > 0;
  const refusing = agents.items.flatMap((agent) => agent.errors).slice(0, 1);
  const requests = week.totals.requests.count;
  return [
    {
      done: used,
      text:
        used === false ? 'No key of this project was used yet.' : 'A key of this project was used.',
      hint: 'Set the key in the app and restart it. If it was set, look at the log of the app: a wrong key is reported there once.',
    },
    {
      done: seen,
      text: seen ? 'An agent reports its state.' : 'No agent was seen yet.',
      hint: 'The agent needs enable_agent=True and the address of this server, reachable from the app.',
    },
    {
      done: refusing.length === 0,
      text: refusing[0] ? `An agent reports: ${refusing[0]}` : 'No agent reports an error.',
      hint: 'The page Agents shows the errors of each agent.',
    },
    {
      done: seen ? requests > 0 || week.totals.events.count > 0 : null,
      text:
        requests > 0
          ? 'Metrics arrive.'
          : week.totals.events.count > 0
            ? 'Events arrived in the last 7 days. Choose a longer range.'
            : 'Neither events nor metrics arrived in the last 7 days.',
      hint: 'Events appear when a guard blocks or detects something: agent_enable_events must be on. Send a request such as /?q=<script> to try it.',
    },
  ];
}
